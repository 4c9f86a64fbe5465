"""Real Fourier transforms in single precision on cropped, fast-sized grids.

Every transform of the package goes through here so that precision, the half spectrum and the
number of threads are decided once. Fast sizes in single precision take loops compiled for the
processor at hand, in half the time of ``scipy.fft``, which does all others.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # whose fft is imported where it is used: 0.2 s that --help need not wait for

from qsmbids.core.maths import fft_loops
from qsmbids.core.maths.arrays import (
    Float32Array,
    FloatArray,
    IndexArray,
)
from qsmbids.core.maths.fft_lanes import LANES
from qsmbids.core.maths.parallel import planes
from qsmbids.units import TWO_PI

__all__ = ["crop", "fast_shape", "irfft", "pad_to", "rfft", "uncrop"]


#: How to transform lines of some length: the radices, and cosines and sines of its frequencies.
_Plan = tuple[IndexArray, Float32Array, Float32Array]


def rfft(volume: FloatArray, n_threads: int = 1) -> npt.NDArray[np.complexfloating]:
    """Transform a real (X, Y, Z) volume to its half spectrum (X, Y, Z // 2 + 1)."""
    plans = _plans(volume.shape) if volume.dtype == np.float32 else None
    if plans is None:
        return scipy.fft.rfftn(volume, workers=n_threads)
    x, y, z = volume.shape
    spectrum = np.empty((x, y, z // 2 + 1), np.complex64)
    flat = np.ascontiguousarray(volume).reshape(-1)
    with planes(x, n_threads) as run:
        run(fft_loops.forward_planes, flat, _pairs(spectrum), *plans[1:])
    _along_x(spectrum, plans[0], False, n_threads)
    return spectrum


def irfft(
    spectrum: npt.NDArray[np.complexfloating],
    shape: tuple[int, int, int],
    n_threads: int = 1,
    overwrite: bool = False,
) -> FloatArray:
    """Transform a half spectrum back to a real volume; ``shape`` tells an odd last axis."""
    plans = _plans(shape) if spectrum.dtype == np.complex64 else None
    if plans is None:
        return scipy.fft.irfftn(spectrum, s=shape, workers=n_threads, overwrite_x=overwrite)
    planar = np.ascontiguousarray(spectrum)
    if not overwrite and np.may_share_memory(planar, spectrum):
        planar = spectrum.copy()
    _along_x(planar, plans[0], True, n_threads)
    volume = np.empty(shape, np.float32)
    scale = np.array([1.0 / volume.size], np.float32)
    with planes(shape[0], n_threads) as run:
        run(fft_loops.inverse_planes, _pairs(planar), volume.reshape(-1), scale, *plans[1:])
    return volume


def _along_x(spectrum: npt.NDArray, plan: _Plan, inverse: bool, n_threads: int) -> None:
    """Transform along the first axis in place, which is three times as fast as to elsewhere."""
    total = spectrum[0].size
    with planes(-(-total // LANES), n_threads) as run:
        run(fft_loops.columns, _pairs(spectrum), total, inverse, *plan)


def _pairs(spectrum: npt.NDArray) -> Float32Array:
    """Return a contiguous spectrum as real numbers, without a copy."""
    return spectrum.reshape(-1).view(np.float32)


def _plans(shape: tuple[int, ...]) -> list[_Plan] | None:
    """Return how each axis is transformed, or None if one of them is not of a fast size."""
    if len(shape) != 3:
        return None
    plans = [_plan(int(n)) for n in shape]
    return plans if all(plans) else None  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _plan(n: int) -> _Plan | None:
    radices, rest = [], n
    for radix in (5, 3, 4, 2):
        while rest % radix == 0 and rest > 1:
            radices.append(radix)
            rest //= radix
    if rest != 1 or not radices:
        return None
    angles = TWO_PI * np.arange(n) / n
    cos, sin = np.cos(angles).astype(np.float32), -np.sin(angles).astype(np.float32)
    return np.array(radices, np.int32), cos, sin


def fast_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the next sizes that transform fast."""
    x, y, z = (scipy.fft.next_fast_len(int(n), real=True) for n in shape)
    return x, y, z


def crop(
    volume: npt.NDArray, box: tuple[slice, slice, slice], margin: tuple[int, int, int]
) -> npt.NDArray:
    """Cut ``box`` out of a volume and put at least ``margin`` zeros around it, to a fast size.

    Undo with :func:`uncrop`.
    """
    inner = volume[box]
    shape = fast_shape(tuple(n + 2 * m for n, m in zip(inner.shape, margin, strict=True)))
    return pad_to(inner, shape, margin)


def pad_to(
    volume: npt.NDArray, shape: tuple[int, int, int], offset: tuple[int, int, int]
) -> npt.NDArray:
    """Place a volume at ``offset`` in zeros of ``shape``."""
    out = np.zeros(shape, dtype=volume.dtype)
    out[tuple(slice(o, o + n) for o, n in zip(offset, volume.shape, strict=True))] = volume
    return out


def uncrop(
    volume: npt.NDArray,
    shape: tuple[int, int, int],
    box: tuple[slice, slice, slice],
    margin: tuple[int, int, int],
) -> npt.NDArray:
    """Put what :func:`crop` cut out back into zeros of the full ``shape``."""
    out = np.zeros(shape, dtype=volume.dtype)
    size = tuple(b.stop - b.start for b in box)
    out[box] = volume[tuple(slice(m, m + n) for m, n in zip(margin, size, strict=True))]
    return out
