"""Check that a run can be processed, before anything is computed.

The BIDS validator passes datasets that QSM cannot use: it neither compares the geometry of the
echoes nor asks for rising echo times.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.head_size import is_small_head
from qsmbids.core.phase.magnitude import Negatives, negatives
from qsmbids.errors import InputError, MetadataError
from qsmbids.io.grids import ROUNDING_MM, corner_distance, is_same_place
from qsmbids.io.metadata import Acquisition
from qsmbids.io.nifti_header import Header, read_header
from qsmbids.io.runs import Run

__all__ = ["check_head_size", "check_magnitude", "check_phase", "check_run"]

#: Share of all signal that may be below zero in a magnitude image; the second where values below
#: zero are as large as those above.
NEGATIVE_SHARE = (0.1, 0.01)

#: Voxels [mm] outside are in the wrong unit.
VOXEL_RANGE = (0.005, 20.0)

_EXPORT = "Export all echoes and parts of the scan again, in the same way."
#: Words of ImageType that mark a field map, in any of the vendors' spellings.
_FIELD_WORDS = {"HZ", "B0", "B0MAP", "B0_MAP", "FIELDMAP", "FIELD_MAP", "FIELDMAPHZ"}


def check_run(run: Run, acquisition: Acquisition) -> list[str]:
    """Check the headers and metadata of a run; no voxel is read.

    Parameters
    ----------
    run : Run
    acquisition : Acquisition
        Of :func:`qsmbids.io.metadata.read_acquisition`, with any overrides applied.

    Returns
    -------
    list of str
        What lowers the quality but does not forbid the processing.

    Raises
    ------
    InputError
        The images do not belong together, are no volumes or no phase.
    MetadataError
        The echo times do not rise: two are equal, or the run was not sorted.
    """
    _check_counts(run)
    warnings = _check_is_phase(run, acquisition)
    _check_rising(run, acquisition.echo_times)
    headers = {path: read_header(path) for path in run.images}
    first, reference = next(iter(headers.items()))
    apart = {p: _check_same_grid(p, header, first, reference) for p, header in headers.items()}
    low, high = VOXEL_RANGE
    if not all(low <= size <= high for size in reference.voxel_size):
        raise InputError(
            f"has voxels of {_millimetres(reference.voxel_size)}",
            str(first),
            "Convert the scan again; the unit of the header must be mm.",
        )
    return warnings + _affine_note(apart, first) + _quality_warnings(first, reference, acquisition)


def check_head_size(run: Run, acquisition: Acquisition) -> None:
    """Refuse a head too small for brain extraction, for which a mask must be given.

    Raises
    ------
    InputError
        With the size of the field of view.
    """
    extents = np.multiply(acquisition.matrix, acquisition.voxel_size)
    if is_small_head(extents):
        raise InputError(
            f"a head in {_millimetres(tuple(extents))} is too small for BET, give a mask of the"
            " brain with --mask",
            run.images[0].name,
            "BET knows human heads; everything else works with a mask.",
        )


def check_magnitude(array: npt.NDArray[np.floating], path: str | Path) -> Negatives:
    """Refuse a magnitude image without signal, or whose negative values make it none.

    Interpolation, Gibbs correction and noise correction leave shallow negative values at edges
    and in air. A phase image has about as much below zero as above.

    Returns
    -------
    Negatives
        What is below zero, to be set to zero.

    Raises
    ------
    InputError
        With the name of the file.
    """
    fix = "Check that the file is the magnitude of the right echo, and convert the scan again."
    largest, smallest = _range(array, path, fix)
    if largest <= 0:
        what = "zero everywhere" if smallest == 0 else "nowhere above zero"
        raise InputError(f"the magnitude is {what}", str(path), fix)
    below = negatives(array)
    if below.share > NEGATIVE_SHARE[0] or (below.depth > 0.5 and below.share > NEGATIVE_SHARE[1]):
        raise InputError(
            f"the magnitude has negative values ({below.n_voxels} voxels down to {smallest:g}, the"
            f" largest is {largest:g}), as a phase image or numbers that have overflowed",
            str(path),
            fix,
        )
    return below


def check_phase(array: npt.NDArray[np.floating], path: str | Path) -> None:
    """Refuse a phase image that is constant or has no finite value.

    Raises
    ------
    InputError
        With the name of the file.
    """
    fix = "Check that the file is the phase of the right echo, and convert the scan again."
    largest, smallest = _range(array, path, fix)
    if largest == smallest:
        raise InputError(f"the phase is {largest:g} everywhere", str(path), fix)


def _range(array: npt.NDArray[np.floating], path: str | Path, fix: str) -> tuple[float, float]:
    """Return the largest and smallest finite value."""
    with np.errstate(invalid="ignore"):
        largest, smallest = float(array.max()), float(array.min())
    if not np.isfinite(largest - smallest):
        finite = array[np.isfinite(array)]
        if not finite.size:
            raise InputError("has no finite value", str(path), fix)
        largest, smallest = float(finite.max()), float(finite.min())
    return largest, smallest


def _check_counts(run: Run) -> None:
    n = len(run.echoes)
    pair = (run.real, run.imag) if run.real or run.imag else (run.magnitude, run.phase)
    if not n or any(len(part) != n for part in pair):
        raise InputError(
            f"has {len(pair[0])} and {len(pair[1])} images of the two parts for {n} echoes",
            run.label,
            "Add the missing images.",
        )


def _check_is_phase(run: Run, acquisition: Acquisition) -> list[str]:
    """Refuse field maps in Hz, which some systems export among the phase images."""
    warnings = []
    for path, sidecar in zip(run.phase or run.imag, run.sidecars, strict=True):
        image_type = sidecar.get("ImageType") or []
        words = (
            {str(word).upper() for word in image_type} if isinstance(image_type, list) else set()
        )
        if acquisition.phase_units == "Hz" or words & _FIELD_WORDS:
            raise InputError(
                "is a field map in Hz, not a phase image",
                str(path),
                "Reconstruct the scan with wrapped phase images of every echo.",
            )
        if run.phase and "MAGNITUDE" in words and not words & {"PHASE", "P"}:
            warnings.append(f"{path.name}: the ImageType says magnitude, the name says phase")
    return warnings


def _check_rising(run: Run, echo_times: tuple[float, ...]) -> None:
    if any(b <= a for a, b in pairwise(echo_times)):
        listed = ", ".join(f"{1000 * te:g}" for te in echo_times)
        raise MetadataError(
            f"the echo times do not rise ({listed} ms)",
            (run.phase or run.imag)[0].name,
            "Correct EchoTime in the sidecars, or use --echo-times with one time per echo number.",
        )


def _check_same_grid(path: Path, header: Header, first: Path, reference: Header) -> float:
    """Return how far apart [mm] the like voxels of two images lie, which is next to nothing."""
    if header.shape != reference.shape:
        raise InputError(
            f"has the shape {header.shape}, but {first.name} has {reference.shape}",
            str(path),
            f"Is one of them interpolated? {_EXPORT}",
        )
    apart = corner_distance(header.shape, header.affine, reference.affine)
    if not is_same_place(header.shape, header.affine, reference.affine):
        raise InputError(
            f"lies elsewhere than {first.name} (by their affines, up to {apart:.3g} mm apart)",
            str(path),
            _EXPORT,
        )
    return apart


def _affine_note(apart: Mapping[Path, float], first: Path) -> list[str]:
    """Say that images of a run do not lie exactly on each other, as rounded affines have it."""
    farthest = max(apart, key=lambda path: apart[path])
    if apart[farthest] < ROUNDING_MM:
        return []
    return [
        f"{farthest.name} lies {apart[farthest]:.2g} mm beside {first.name} by its affine, less"
        " than counts; that of the latter is used"
    ]


def _quality_warnings(first: Path, header: Header, acquisition: Acquisition) -> list[str]:
    warnings = []
    size = header.voxel_size
    if not np.allclose(size, header.zooms, rtol=0.01):
        warnings.append(
            f"{first.name}: the voxel size of the header ({_millimetres(header.zooms)}) "
            f"contradicts its affine ({_millimetres(size)}), which is used"
        )
    if max(size) > 4 * min(size) or max(size) > 3:
        warnings.append(
            f"voxels of {_millimetres(size)} underestimate the susceptibility of small structures"
        )
    if min(header.shape) < 16:
        warnings.append(f"the slab of {min(header.shape)} voxels is thin; the maps will be biased")
    n = len(acquisition.echo_times)
    if n == 1:
        warnings.append(
            "there is a single echo: no phase offset can be removed and no R2* be computed"
        )
    return warnings


def _millimetres(size: tuple[float, ...]) -> str:
    return " x ".join(f"{s:.4g}" for s in size) + " mm"
