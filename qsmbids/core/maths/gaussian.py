"""Gaussian smoothing in single precision, by planes and rows as they lie in memory."""

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array
from qsmbids.core.maths.parallel import planes

__all__ = ["gaussian"]

#: Voxels below which a second thread is not worth its start.
_SMALL = 200_000


def gaussian(
    volume: npt.NDArray, sigma: npt.ArrayLike, *, mode: str = "reflect", truncate: float = 4.0
) -> Float32Array:
    """Convolve with a Gaussian: :func:`scipy.ndimage.gaussian_filter`, in float32 and faster.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
    sigma : float or (3,) array_like
        [voxels].
    mode : {"reflect", "nearest"}
        What lies beyond the border: the mirror image with its edge, or the last voxel.
    truncate : float
        Where the kernel ends [sigma].

    Examples
    --------
    >>> float(gaussian(np.ones((4, 5, 6)), 1.0).std())
    0.0
    """
    out = np.ascontiguousarray(volume, dtype=np.float32)
    widths = np.broadcast_to(np.asarray(sigma, dtype=np.float64), 3)
    threads = numba.get_num_threads() if volume.size > _SMALL else 1
    with planes(out.shape[0], threads) as run:
        for axis, width in enumerate(widths):
            if width > 1e-15:
                kernel = _kernel(float(width), truncate)
                index = _beyond(out.shape[axis], kernel.size // 2, mode)
                smooth = np.empty_like(out)
                if axis == 2:
                    run(_along_rows, out, kernel, index, smooth)
                else:
                    run(_across_rows, out, kernel, index, smooth, axis == 0)
                out = smooth
    return out if out is not volume else out.copy()


def _kernel(sigma: float, truncate: float) -> Float32Array:
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _beyond(n: int, reach: int, mode: str) -> npt.NDArray[np.int64]:
    """Return the voxel that counts at every place from ``-reach`` to ``n + reach - 1``."""
    place = np.arange(-reach, n + reach)
    if mode == "nearest":
        return np.clip(place, 0, n - 1)
    if mode != "reflect":
        raise ValueError(f"unknown mode {mode!r}, choose reflect or nearest")
    place %= 2 * n
    return np.minimum(place, 2 * n - 1 - place)


@numba.njit(cache=True, nogil=True)
def _across_rows(
    start: int,
    stop: int,
    volume: Float32Array,
    kernel: Float32Array,
    index: npt.NDArray[np.int64],
    out: Float32Array,
    planes: bool,
) -> None:
    """Add up rows of neighbouring planes, or of the same one."""
    reach = kernel.size // 2
    for i in range(start, stop):
        for j in range(volume.shape[1]):
            at, new = i if planes else j, out[i, j]
            a = index[at + reach]
            middle = volume[a, j] if planes else volume[i, a]
            for k in range(new.size):
                new[k] = kernel[reach] * middle[k]
            for o in range(reach):  # the two on both sides have the same weight
                weight, a, b = kernel[o], index[at + o], index[at + 2 * reach - o]
                left = volume[a, j] if planes else volume[i, a]
                right = volume[b, j] if planes else volume[i, b]
                for k in range(new.size):
                    new[k] += weight * (left[k] + right[k])


@numba.njit(cache=True, nogil=True)
def _along_rows(
    start: int,
    stop: int,
    volume: Float32Array,
    kernel: Float32Array,
    index: npt.NDArray[np.int64],
    out: Float32Array,
) -> None:
    reach, n = kernel.size // 2, volume.shape[2]
    wide = np.empty(index.size, dtype=np.float32)
    for i in range(start, stop):
        for j in range(volume.shape[1]):
            row, new = volume[i, j], out[i, j]
            for k in range(index.size):
                wide[k] = row[index[k]]
            for k in range(n):
                new[k] = kernel[reach] * wide[k + reach]
            for o in range(reach):
                weight, left, right = kernel[o], wide[o : o + n], wide[2 * reach - o :]
                for k in range(n):
                    new[k] += weight * (left[k] + right[k])
