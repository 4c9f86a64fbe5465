"""The direction of B0 in voxel axes."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float64Array

__all__ = ["b0_direction_from_affine", "tilt_degrees"]


def b0_direction_from_affine(
    affine: npt.ArrayLike, b0_scanner: npt.ArrayLike = (0.0, 0.0, 1.0)
) -> Float64Array:
    """Return the unit B0 vector along the voxel axes of an image.

    Parameters
    ----------
    affine : (4, 4) array_like
        Voxel to scanner RAS+ [mm]; any orientation, handedness and voxel size.
    b0_scanner : (3,) array_like
        B0 in scanner axes; the default is a horizontal cylindrical magnet.

    Returns
    -------
    (3,) ndarray
        ``b_i`` = column i of the affine, normalised, times B0.

    Raises
    ------
    ValueError
        The affine is singular or the direction is zero.
    """
    columns = np.asarray(affine, dtype=float)[:3, :3]
    norms = np.linalg.norm(columns, axis=0)
    b0 = np.asarray(b0_scanner, dtype=float)
    if not np.all(norms > 0) or not np.linalg.norm(b0) > 0:
        raise ValueError("the affine or the B0 direction is degenerate")
    b = (columns / norms).T @ b0
    return b / np.linalg.norm(b)


def tilt_degrees(b0_direction: npt.ArrayLike) -> float:
    """Return the angle [degrees] between B0 and the nearest voxel axis; 0 for a straight slab."""
    largest = np.abs(np.asarray(b0_direction, dtype=float)).max()
    return float(np.degrees(np.arccos(min(1.0, largest))))
