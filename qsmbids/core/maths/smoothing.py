"""Gaussian smoothing on blocks of voxels."""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.gaussian import gaussian
from qsmbids.core.maths.parallel import numba_threads, planes

__all__ = [
    "LocalMean",
    "block_mask",
    "block_means",
    "block_sums",
    "block_widths",
    "coarse_widths",
    "convolve_blocks",
    "convolve_complex",
    "interpolate_blocks",
    "plane_interpolator",
    "smooth_complex",
]

#: Numbers of each row that are convolved at a time: a block of all rows stays in the cache.
BLOCK = 256
#: Where the window of a local mean ends [sigma].
TRUNCATE = 3.0


def smooth_complex(
    volume: npt.NDArray[np.complex64], sigma: Float64Array, n_threads: int = 1
) -> npt.NDArray[np.complex64]:
    """Convolve with a Gaussian of ``sigma`` voxels cut at 4 sigma, zero beyond the border.

    A wide Gaussian is computed on sums over blocks of a third of its sigma and interpolated:
    the same within a hundredth.
    """
    widths = block_widths(sigma)
    smooth = convolve_complex(block_sums(volume, widths), sigma / widths, n_threads)
    return interpolate_blocks(smooth, widths, volume.shape)


class LocalMean:
    """Means over a Gaussian window, of what of it lies in a mask.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
    sigma : float or (3,) array_like
        Standard deviation of the window [voxels]; wide ones are computed on blocks.
    n_threads : int
    least : float
        Where less than this part of the window lies in the mask, means are the smaller for it.

    Examples
    --------
    >>> mask = np.zeros((9, 9, 9), dtype=bool)
    >>> mask[4:] = True
    >>> volume = np.where(mask, np.float32(3), np.float32(0))
    >>> bool(np.allclose(LocalMean(mask, 1.5)(volume)[4:], 3, rtol=1e-5))
    True
    """

    def __init__(
        self, mask: Mask, sigma: npt.ArrayLike, n_threads: int = 1, least: float = 1e-3
    ) -> None:
        sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), 3)
        self._widths, self._shape, self._n_threads = block_widths(sigma), mask.shape, n_threads
        self._sigma = sigma / self._widths
        near = self._window(mask.astype(np.float32))
        np.maximum(near, np.float32(least), out=near)
        self._over = np.reciprocal(near, out=near)

    @property
    def share(self) -> Float32Array:
        """The part of the window around each voxel that lies in the mask, or ``least``."""
        return self._voxels(np.reciprocal(self._over))

    def __call__(self, volume: Float32Array) -> Float32Array:
        """Return the means of a volume, which must be 0 outside the mask."""
        means = self._window(volume)
        means *= self._over
        return self._voxels(means)

    def _window(self, volume: Float32Array) -> Float32Array:
        blocks = block_sums(volume, self._widths) / np.float32(math.prod(self._widths))
        with numba_threads(self._n_threads):
            return gaussian(blocks, self._sigma, truncate=TRUNCATE)

    def _voxels(self, blocks: Float32Array) -> Float32Array:
        return np.ascontiguousarray(interpolate_blocks(blocks, self._widths, self._shape))


def block_widths(sigma: Float64Array) -> list[int]:
    """Return the voxels per block along every axis: a third of sigma, 1 to 4."""
    return [int(np.clip(width / 3, 1, 4)) for width in sigma]


def block_sums(volume: npt.NDArray[Any], widths: list[int]) -> npt.NDArray[Any]:
    """Sum blocks of voxels; the last along an axis may be smaller."""
    for axis, size in enumerate(widths):
        if size > 1:
            every = [
                volume[(slice(None),) * axis + (slice(first, None, size),)]
                for first in range(min(size, volume.shape[axis]))
            ]
            volume = every[0].copy()
            for part in every[1:]:
                volume[(slice(None),) * axis + (slice(part.shape[axis]),)] += part
    return volume


def coarse_widths(voxel_size: npt.ArrayLike, side: float) -> list[int]:
    """Return the voxels per block along every axis for blocks of at most ``side`` [mm]."""
    return [max(1, int(side / v + 1e-3)) for v in np.asarray(voxel_size, dtype=np.float64)]


def block_means(volume: npt.NDArray[Any], mask: Mask, widths: list[int]) -> Float32Array:
    """Return the mean over the voxels of each block that are in a mask, 0 where none is."""
    inside = block_sums(mask.astype(np.float32), widths)
    total = block_sums(np.where(mask, volume, 0).astype(np.float32), widths)
    return np.asarray(total / np.maximum(inside, 1), dtype=np.float32)


def block_mask(mask: Mask, widths: list[int]) -> Mask:
    """Return the blocks of which half are in a mask."""
    inside = block_sums(mask.astype(np.float32), widths)
    return np.asarray(inside >= 0.5 * np.prod(widths))


def convolve_blocks(
    volumes: Float32Array, sigma: Float64Array, n_threads: int = 1
) -> Float32Array:
    """Convolve (X, Y, Z, K) with a Gaussian (peak 1) of ``sigma`` blocks along X, Y and Z."""
    for width, size in zip(sigma, volumes.shape[:3], strict=True):
        # three times: along the first axis, which then becomes the third
        taps = np.exp(-0.5 * (np.arange(min(int(4 * width) + 1, size)) / width) ** 2)
        rows = np.ascontiguousarray(volumes).reshape(size, -1)
        smooth = np.empty_like(rows)
        with planes(-(-rows.shape[1] // BLOCK), n_threads) as run:
            run(_convolve_rows, rows, taps.astype(np.float32), smooth)
        volumes = np.moveaxis(smooth.reshape(volumes.shape), 0, 2)
    return volumes


def convolve_complex(
    blocks: npt.NDArray[np.complex64], sigma: Float64Array, n_threads: int = 1
) -> npt.NDArray[np.complex64]:
    """Do the same with a complex (X, Y, Z)."""
    parts = np.ascontiguousarray(blocks).view(np.float32).reshape(*blocks.shape, 2)
    smooth = np.ascontiguousarray(convolve_blocks(parts, sigma, n_threads))
    return smooth.view(np.complex64)[..., 0]


def interpolate_blocks(
    blocks: npt.NDArray[Any],
    widths: list[int],
    shape: tuple[int, ...],
    *,
    extrapolate: bool = False,
) -> npt.NDArray[Any]:
    """Interpolate block centres linearly to ``shape`` voxels.

    Beyond the outermost centres the value stays, or the slope with ``extrapolate``.
    """
    return plane_interpolator(blocks, widths, shape, extrapolate=extrapolate)(slice(None))


def plane_interpolator(
    blocks: npt.NDArray[Any],
    widths: list[int],
    shape: tuple[int, ...],
    *,
    extrapolate: bool = False,
) -> Callable[[slice], npt.NDArray[Any]]:
    """Return what interpolates some planes of the first axis, as :func:`interpolate_blocks`."""
    ways = [
        _neighbours(n, size, length, extrapolate)
        for n, size, length in zip(blocks.shape, widths, shape, strict=True)
    ]
    along = _between(blocks, 0, *ways[0])

    def planes(part: slice) -> npt.NDArray[Any]:
        return _between(_between(along[part], 1, *ways[1]), 2, *ways[2])

    return planes


def _neighbours(
    n_blocks: int, size: int, length: int, extrapolate: bool
) -> tuple[npt.NDArray[np.intp], Float32Array]:
    """Return the block before each voxel of an axis, and how far it is on the way to the next."""
    where = (np.arange(length) - (size - 1) / 2) / size
    if not extrapolate:
        where = np.clip(where, 0, n_blocks - 1)
    low = np.clip(where.astype(np.intp), 0, max(0, n_blocks - 2))
    return low, (where - low).astype(np.float32)


def _between(
    blocks: npt.NDArray[Any], axis: int, low: npt.NDArray[np.intp], fraction: Float32Array
) -> npt.NDArray[Any]:
    """Interpolate along one axis."""
    last = blocks.shape[axis] - 1
    if last == low.size - 1 and not fraction[:-1].any():  # blocks of one voxel
        return blocks
    below = np.take(blocks, low, axis=axis)
    step = np.take(blocks, np.minimum(low + 1, last), axis=axis)
    step -= below
    step *= fraction.reshape([-1 if a == axis else 1 for a in range(3)])
    step += below
    return step


@numba.njit(cache=True, nogil=True)
def _convolve_rows(start, stop, rows, taps, out):  # type: ignore[no-untyped-def]
    """Convolve along the first axis with a symmetric kernel, given from its centre outwards."""
    n, length = rows.shape
    for k in range(start, stop):
        first, last = k * BLOCK, min(length, (k + 1) * BLOCK)
        for i in range(n):
            total = out[i, first:last]
            total[:] = 0
            for j in range(max(0, i - taps.size + 1), min(n, i + taps.size)):
                weight, row = taps[abs(i - j)], rows[j, first:last]
                for b in range(row.size):
                    total[b] += weight * row[b]
