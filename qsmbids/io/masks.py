"""Find the mask that a user supplies for a run, and bring it onto the run's grid."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from qsmbids.errors import InputError
from qsmbids.io.matching import best_matches, fits
from qsmbids.io.nifti import Volume
from qsmbids.io.runs import Run

__all__ = ["conform", "find_mask"]

_IMAGE = (".nii", ".nii.gz")


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
    found = [p for p in sorted(folder.rglob("*_mask.nii*")) if fits(p.name, run)]
    brain = [p for p in found if re.search(r"_(?:label|desc)-brain(?:_|$)", p.name)]
    chosen = [p for p in brain if "_desc-mask1_" in p.name] or brain or found
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


def conform(given: Volume, image: Volume, path: str, what: str = "mask") -> npt.NDArray:
    """Flip and permute a mask or field to an image's voxel order; never interpolate.

    Raises
    ------
    InputError
        Its grid is another one; ``path`` is named, and ``what`` it is.
    """
    ornt = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(given.affine),
        nib.orientations.io_orientation(image.affine),
    )
    array = nib.orientations.apply_orientation(given.array, ornt)
    affine = given.affine @ nib.orientations.inv_ornt_aff(ornt, given.array.shape)
    if array.shape != image.array.shape or not np.allclose(affine, image.affine, atol=1e-2):
        raise InputError(
            f"the {what}'s grid {given.array.shape} does not match the run's {image.array.shape}",
            path,
            "Resample it to the first echo's magnitude"
            + (" (nearest neighbour)." if what == "mask" else "."),
        )
    return np.ascontiguousarray(array)
