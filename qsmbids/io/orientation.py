"""Which transform of a NIfTI header leads to the scanner, for only there is B0 along z."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from qsmbids.errors import InputError

__all__ = ["CONVERT", "angle_degrees", "scanner_affine"]

#: Angle between sform and qform [degrees] from which the user should know.
_TURN_TO_MENTION = 0.5

CONVERT = "Convert the scan again, for example with dcm2niix."


def scanner_affine(path: Path, header: Any) -> tuple[npt.NDArray[np.float64], str, str]:
    """Return the transform to scanner space, its source, and what is doubtful about it.

    Parameters
    ----------
    path : Path
        For the message.
    header : Nifti1Header or Nifti2Header

    Returns
    -------
    affine : (4, 4) ndarray
        Voxel to scanner RAS+ [mm].
    source : str
        "sform", "qform", or "none" where there is but a voxel size.
    doubt : str
        What speaks against it, "" where nothing does.

    Raises
    ------
    InputError
        No transform is finite and invertible.

    Notes
    -----
    A transform whose code says that it leads there (1) is
    believed before one to another image (2), and that before one to a template (3, 4); of two
    with equal claims the sform is taken, as everywhere.
    """
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    usable: dict[str, npt.NDArray[np.float64]] = {}
    for source in sorted((s for s in codes if codes[s] > 0), key=lambda s: _claim(codes[s])):
        try:
            affine = header.get_sform() if source == "sform" else header.get_qform()
        except (HeaderDataError, ValueError):  # an impossible quaternion
            continue
        if np.all(np.isfinite(affine)) and abs(np.linalg.det(affine[:3, :3])) > 1e-9:
            usable[source] = np.asarray(affine, dtype=np.float64)
    if usable:
        source, affine = next(iter(usable.items()))
        return affine, source, _doubt(usable, codes)
    if max(codes.values()) > 0:
        raise InputError("has an orientation that is singular or not finite", str(path), CONVERT)
    affine = np.asarray(header.get_base_affine(), dtype=np.float64)
    if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) <= 1e-9:
        raise InputError("has no orientation and no voxel size", str(path), CONVERT)
    return affine, "none", ""


def _claim(code: int) -> int:
    """Return the rank of a transform by its NIfTI code: 0 leads to the scanner for certain."""
    return {1: 0, 2: 1}.get(code, 2)


def _doubt(usable: Mapping[str, npt.NDArray[np.float64]], codes: Mapping[str, int]) -> str:
    """Return what a reader should know about the transform, the first of those usable."""
    taken = next(iter(usable))
    if _claim(codes[taken]) == 2:
        return f"the {taken} leads to a template (code {codes[taken]}), not to the scanner"
    if len(usable) < 2:
        return ""
    angle = angle_degrees(*(_b0_along_voxels(usable[name]) for name in ("sform", "qform")))
    if angle < _TURN_TO_MENTION:
        return ""
    return (
        f"sform (code {codes['sform']}) and qform (code {codes['qform']}) differ by"
        f" {angle:.1f} degrees; the {taken} is taken"
    )


def _b0_along_voxels(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return affine[2, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def angle_degrees(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the angle [degrees] between two directions of B0; their lengths do not matter."""
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
