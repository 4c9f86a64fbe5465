"""Real Fourier transforms in single precision on cropped, fast-sized grids.

``scipy.fft`` keeps float32, ``numpy.fft`` does not; every transform of the package goes through
here so that precision, the half spectrum and the number of threads are decided once.
"""

import numpy as np
import numpy.typing as npt
import scipy  # whose fft is imported where it is used: 0.2 s that --help need not wait for

from qsmbids.core.maths.arrays import EmptyMaskError, FloatArray, Mask

__all__ = ["bounding_box", "crop", "fast_shape", "irfft", "pad_to", "rfft", "uncrop"]


def rfft(volume: FloatArray, n_threads: int = 1) -> npt.NDArray[np.complexfloating]:
    """Transform a real (X, Y, Z) volume to its half spectrum (X, Y, Z // 2 + 1)."""
    return scipy.fft.rfftn(volume, workers=n_threads)


def irfft(
    spectrum: npt.NDArray[np.complexfloating],
    shape: tuple[int, int, int],
    n_threads: int = 1,
    overwrite: bool = False,
) -> FloatArray:
    """Transform a half spectrum back to a real volume; ``shape`` tells an odd last axis."""
    return scipy.fft.irfftn(spectrum, s=shape, workers=n_threads, overwrite_x=overwrite)


def fast_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the next sizes that transform fast."""
    x, y, z = (scipy.fft.next_fast_len(int(n), real=True) for n in shape)
    return x, y, z


def bounding_box(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds a mask.

    Raises
    ------
    EmptyMaskError
        The mask is empty.
    """
    box = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(mask.any(axis=other))
        if hits.size == 0:
            raise EmptyMaskError("the mask is empty")
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return box[0], box[1], box[2]


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
