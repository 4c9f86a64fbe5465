"""Means over a mask, by planes and rows: an index by a mask copies every voxel of it."""

import numba
import numpy as np

from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.maths.parallel import planes

__all__ = ["mean_in", "scale_in"]


def mean_in(volume: Float32Array, mask: Mask, n_threads: int = 1) -> float:
    """Return the mean of a volume in a mask, 0 for an empty one.

    Examples
    --------
    >>> volume = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    >>> mean_in(volume, volume > 5)
    6.5
    """
    sums = np.empty((volume.shape[0], 2))
    with planes(volume.shape[0], n_threads) as run:
        run(_sums, volume, mask, sums)
    total, n = sums.sum(axis=0)
    return float(total / n) if n > 0 else 0.0


def scale_in(volume: Float32Array, factor: float, mask: Mask, n_threads: int = 1) -> None:
    """Multiply a volume by a factor in a mask, in place."""
    with planes(volume.shape[0], n_threads) as run:
        run(_scale, volume, np.float32(factor), mask)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _sums(start, stop, volume, mask, sums):  # type: ignore[no-untyped-def]
    """Fill sums by the sum in the mask and the number of its voxels, per plane."""
    for i in range(start, stop):
        total, n = 0.0, 0
        for j in range(volume.shape[1]):
            row, m = volume[i, j], mask[i, j]
            part, count = np.float32(0), 0
            for k in range(row.size):
                part += row[k] if m[k] else np.float32(0)
                count += m[k]
            total += float(part)
            n += count
        sums[i, 0], sums[i, 1] = total, n


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _scale(start, stop, volume, factor, mask):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for j in range(volume.shape[1]):
            row, m = volume[i, j], mask[i, j]
            for k in range(row.size):
                row[k] *= factor if m[k] else np.float32(1)
