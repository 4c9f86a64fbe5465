r"""How well two maps of the same quantity agree."""

from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["Agreement", "agreement"]


class Agreement(NamedTuple):
    """Numbers of a comparison inside a mask."""

    n_voxels: int
    slope: float
    """Of the map on the reference, by least squares: 1 where contrasts are equal."""
    offset: float
    """Value of the map where the reference is zero [unit of the map]."""
    correlation: float
    """Of Pearson."""
    nrmse: float
    """Root mean square of the difference over that of the reference; 0 for equal maps."""


def agreement(estimate: FloatArray, reference: FloatArray, mask: Mask) -> Agreement:
    """Compare a map with a reference, voxel by voxel.

    Parameters
    ----------
    estimate, reference : (X, Y, Z) ndarray
        Same unit, and same zero if the quantity has none of its own.
    mask : (X, Y, Z) ndarray of bool
        Where both are known.

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError
        The shapes differ, fewer than three voxels count, a value is not finite, or either map is
        constant.

    Notes
    -----
    The slope is that of the regression of the map on the reference. Noise of the reference alone
    makes it smaller; equal maps give 1, and a map of half the contrast 0.5.

    Examples
    --------
    >>> reference = np.arange(8.0).reshape(2, 2, 2)
    >>> result = agreement(0.5 * reference + 1, reference, reference > 0)
    >>> round(result.slope, 6), round(result.offset, 6), round(result.correlation, 6)
    (0.5, 1.0, 1.0)
    """
    mask = np.asarray(mask, dtype=bool)
    if not estimate.shape == reference.shape == mask.shape:
        raise ValueError("the maps and the mask must be of one shape")
    a, b = estimate[mask].astype(np.float64), reference[mask].astype(np.float64)
    if a.size < 3:
        raise ValueError(f"{a.size} voxels are too few to compare")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("the maps must be finite in the mask")
    da, db = a - a.mean(), b - b.mean()
    variance_a, variance_b = float(da @ da), float(db @ db)
    if variance_a == 0 or variance_b == 0:
        raise ValueError("a constant map agrees with nothing")
    slope = float(da @ db) / variance_b
    return Agreement(
        n_voxels=a.size,
        slope=slope,
        offset=float(a.mean() - slope * b.mean()),
        correlation=float(da @ db) / float(np.sqrt(variance_a) * np.sqrt(variance_b)),
        nrmse=float(np.linalg.norm(a - b) / np.linalg.norm(b)),
    )
