"""Where MEDI's penalty is off: the edges of the magnitude image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["EdgeMask", "edge_mask"]

#: Threshold to begin with, as a part of the largest magnitude, and what one step changes it by.
START, STEP = 0.01, 0.05
#: Below this part of the largest magnitude there is nothing but rounding.
LOWEST = 1e-7


@dataclass(frozen=True)
class EdgeMask:
    """What :func:`edge_mask` returns.

    Attributes
    ----------
    penalised : (3, X, Y, Z) ndarray of bool
        Whether the difference to the next voxel along each axis is penalised: no edge.
    threshold : float
        Magnitude difference per mm above which there is an edge.
    fraction : float
        Differences above it for each voxel of the mask, 0 to 3.
    """

    penalised: Mask
    threshold: float
    fraction: float


def edge_mask(
    magnitude: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    percentage: float = 90.0,
    *,
    largest: float | None = None,
) -> EdgeMask:
    """Return which differences of the susceptibility MEDI penalises.

    Parameters
    ----------
    magnitude : (X, Y, Z) ndarray
        Magnitude, any unit; only values in the mask count.
    mask : (X, Y, Z) ndarray of bool
        Where the data are used; its border is an edge.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    percentage : float
        Number of edges [% of the voxels of the mask]. There are three differences for each
        voxel, so that 90 sets 30 % of them free.
    largest : float, optional
        Largest magnitude of the whole image, where the threshold begins; by default that of
        this array.

    Returns
    -------
    EdgeMask

    Raises
    ------
    ValueError
        Shapes differ, the mask is empty, the percentage is not in 0 to 300, or the magnitude is
        not finite or nowhere positive in the mask.

    Notes
    -----
    The threshold begins at 1 % of the largest magnitude and goes in steps of 5 % until the number
    of edges has crossed the wanted one, as in the MEDI toolbox; it is the first value beyond.

    References
    ----------
    Liu T, Liu J, de Rochefort L, et al. Morphology enabled dipole inversion (MEDI) from a
    single-angle acquisition. Magn Reson Med 2011;66:777. doi:10.1002/mrm.22816
    """
    if magnitude.ndim != 3 or magnitude.shape != mask.shape:
        raise ValueError("the magnitude and the mask must be the same 3-D volume")
    if not 0 < percentage < 300:
        raise ValueError(f"the percentage of edges {percentage} must be between 0 and 300")
    inside = magnitude[mask]
    if inside.size == 0:
        raise ValueError("the mask is empty")
    top = float(inside.max()) if largest is None else float(largest)
    if not (np.isfinite(inside).all() and np.isfinite(top) and inside.max() > 0 and top > 0):
        raise ValueError("the magnitude must be finite and somewhere positive in the mask")

    size = np.zeros((3, *mask.shape), dtype=np.float32)
    masked = np.where(mask, magnitude, 0).astype(np.float32)
    for axis, side in enumerate(np.asarray(voxel_size, dtype=float)):
        difference = np.abs(np.diff(masked, axis=axis)) / np.float32(side)
        size[axis][tuple(slice(n) for n in difference.shape)] = difference

    candidates = np.sort(size[size > 0])
    threshold, fraction = START * top, _above(candidates, START * top, inside.size)
    target, rising = percentage / 100.0, fraction > percentage / 100.0
    while (fraction > target) if rising else (fraction < target and threshold > LOWEST * top):
        threshold *= 1.0 + STEP if rising else 1.0 - STEP
        fraction = _above(candidates, threshold, inside.size)
    return EdgeMask(size <= threshold, threshold, fraction)


def _above(ascending: FloatArray, threshold: float, n_voxels: int) -> float:
    """Return how many values lie above a threshold, for each voxel."""
    limit = np.float32(threshold)
    return float(ascending.size - np.searchsorted(ascending, limit, side="right")) / n_voxels
