"""Published maps of the example data: where they are, and on the grid of another image."""

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.resample import resample_image
from qsmbids.errors import InputError
from qsmbids.io.example_data import ExampleRun, published_maps
from qsmbids.io.nifti import read_volume
from qsmbids.io.nifti_header import Header, read_header
from qsmbids.io.segmentations import same_grid

__all__ = ["find_published", "read_on_grid"]


def find_published(dest: Path) -> dict[tuple[ExampleRun, str], dict[str, Path]]:
    """Return the published maps of a dataset by run and pipeline, then by SEPIA's word.

    Raises
    ------
    InputError
        There is none.
    """
    root = dest / "derivatives"
    names = [str(p.relative_to(dest)) for p in sorted(root.glob("SEPIA/**/*.nii*"))]
    folders = {
        key: {word: dest / name for word, name in maps.items()}
        for key, maps in published_maps(names).items()
    }
    if not folders:
        raise InputError(
            "holds no published maps (derivatives/SEPIA/GE/Bipolar/GRE/Pipeline_FANSI ...)",
            str(dest),
            "'qsmbids-zenodo DEST' (without --dicom) brings them.",
        )
    return folders


def read_on_grid(
    path: Path, grid: Header, *, labels: bool = False
) -> tuple[npt.NDArray[np.float32], str]:
    """Read an image as it lies on the grid of another.

    Parameters
    ----------
    path : Path
    grid : Header
        Of the other image.
    labels : bool
        The image is a mask: a voxel is inside where at least half of it is.

    Returns
    -------
    image : (X, Y, Z) ndarray of float32
        Of the shape of ``grid``; 0 beyond the image, and where it is not finite.
    note : str
        What was done to it: "" for the same grid, in whatever order of the axes.

    Raises
    ------
    InputError
        The image cannot be read, or has no orientation and another shape.
    """
    own = read_header(path)
    image = np.nan_to_num(read_volume(path).array, nan=0.0, posinf=0.0, neginf=0.0)
    if own.affine_source == "none":
        if own.shape != grid.shape:
            raise InputError("has no orientation and another shape than the map", str(path))
        return image, "has no orientation; its voxels were taken in the order of the map's"
    if same_grid(own, grid):
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(own.affine),
            nib.orientations.io_orientation(grid.affine),
        )
        turned = nib.orientations.apply_orientation(image, turn)
        return np.ascontiguousarray(turned, dtype=np.float32), ""
    to_voxel = np.linalg.inv(own.affine) @ grid.affine
    moved = resample_image(image, to_voxel, grid.shape)
    if labels:
        moved = (moved >= 0.5).astype(np.float32)
    return moved, "lies on another grid and was interpolated onto that of the map"
