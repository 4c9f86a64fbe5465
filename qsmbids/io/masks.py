"""Find the mask that a user supplies for a run, and bring it onto the run's grid."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from qsmbids.core.masks.mask_values import MaskReading, read_mask_values
from qsmbids.errors import InputError, SeveralVolumesError
from qsmbids.io.grids import (
    ROUNDING_MM,
    corner_distance,
    difference,
    is_same_place,
    reoriented,
)
from qsmbids.io.matching import best_matches, fits
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.io.nifti_header import Header
from qsmbids.io.runs import Run

__all__ = ["check_brightness", "conform", "find_mask", "read_mask"]

_IMAGE = (".nii", ".nii.gz")

#: Mean signal in a mask over that beside it, where the mask is useless; a brain has 3 and more.
LEAST_BRIGHTNESS = 0.4


def find_mask(source: Path, run: Run, option: str = "--mask") -> Path:
    """Return the mask of a run: an image itself, or the one in a derivative dataset.

    Parameters
    ----------
    source : Path
        A NIfTI file, or a BIDS derivative with files ``*_mask.nii[.gz]``.
    run : Run
        Every entity that a mask's name has in common with raw names must agree with it.
    option : str
        Named in errors.

    Raises
    ------
    InputError
        Nothing fits, or more than one does.
    """
    if source.is_file():
        if not source.name.endswith(_IMAGE):
            raise InputError("is not a NIfTI image", str(source), "Give a .nii or .nii.gz file.")
        return source
    if not source.is_dir():
        raise InputError("does not exist", str(source), f"Check {option}.")
    folder = source / f"sub-{run.subject}"
    masks = [p for p in sorted(folder.rglob("*_mask.nii*")) if fits(p.name, run)]
    masks = [p for p in masks if not p.name.startswith(".")]
    brain = [p for p in masks if re.search(r"_(?:label|desc)-brain(?:_|$)", p.name)]
    chosen = [p for p in brain if "_desc-mask1_" in p.name] or brain or masks
    chosen = best_matches(chosen, run)
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(p.name for p in chosen[:4])
    if chosen:
        raise InputError(
            f"several masks fit {run.label}: {names}",
            str(source),
            "Name the brain mask with desc-brain, or give the file itself.",
        )
    raise InputError(
        f"no mask fits {run.label}", str(source), f"Expected {folder.name}/**/*_mask.nii.gz there."
    )


def read_mask(path: Path, image: Header | Volume, what: str = "mask") -> MaskReading:
    """Read a mask that was made elsewhere, in the voxel order of an image.

    Parameters
    ----------
    path : Path
    image : Header or Volume
        Whose grid the mask must have.
    what : str
        Named in errors.

    Raises
    ------
    InputError
        The file cannot be read or holds several volumes, its grid is another one, or its values
        do not tell inside from outside.
    """
    try:
        volume = read_volume(path)
    except SeveralVolumesError as error:
        raise InputError(
            f"the {what} {error.problem}", str(path), "Give a mask of one 3-D volume."
        ) from error
    array = conform(volume, image, str(path), what)
    _, shape, affine = reoriented(volume.array.shape, volume.affine, image.affine)
    apart = corner_distance(shape, affine, image.affine)
    try:
        values = read_mask_values(array)
    except ValueError as error:
        raise InputError(
            f"the {what} {error}", str(path), "Make it again with 1 inside and 0 outside."
        ) from error
    if ROUNDING_MM <= apart < np.linalg.norm(image.affine[:3, :3]):
        note = f"{values.text}; {apart:.2g} mm beside the run by its affine, less than counts"
        return values._replace(text=note)
    return values


def check_brightness(inside: npt.NDArray, magnitude: npt.NDArray, path: str | Path) -> str:
    """Compare the signal in a mask with that beside it: an inverted or flipped one holds air.

    Returns
    -------
    str
        A warning, "" where all is well.

    Raises
    ------
    InputError
        The mask lies in air.
    """
    finite = np.isfinite(magnitude)
    within, beside = magnitude[inside & finite], magnitude[~inside & finite]
    if not within.any():
        raise InputError(
            "the mask lies where there is no signal", str(path), "Check its orientation."
        )
    if not beside.any():
        return ""
    ratio = float(within.mean(dtype=np.float64) / beside.mean(dtype=np.float64))
    if ratio < LEAST_BRIGHTNESS:
        raise InputError(
            f"there is {1 / ratio:.1f} times less signal in the mask than beside it",
            str(path),
            "Check that it is not inverted or flipped, and that it belongs to this run.",
        )
    return "there is less signal in the given mask than beside it: look at it" if ratio < 1 else ""


def conform(volume: Volume, image: Header | Volume, path: str, what: str = "mask") -> npt.NDArray:
    """Flip and permute a mask or field to an image's voxel order; never interpolate.

    Raises
    ------
    InputError
        Its grid is another one; ``path`` is named, and ``what`` it is.
    """
    shape = image.shape if isinstance(image, Header) else image.array.shape
    problem = difference(volume.array.shape, volume.affine, shape, image.affine)
    if problem:
        raise InputError(
            f"the {what}'s grid does not match the run's: it {problem}",
            path,
            "Resample it to the first echo's magnitude"
            + (" (nearest neighbour)." if "mask" in what else "."),
        )
    if volume.array.shape == shape and is_same_place(shape, volume.affine, image.affine):
        return np.ascontiguousarray(volume.array)
    ornt, _, _ = reoriented(volume.array.shape, volume.affine, image.affine)
    return np.ascontiguousarray(nib.orientations.apply_orientation(volume.array, ornt))
