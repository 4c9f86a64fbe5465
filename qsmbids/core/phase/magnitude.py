"""Magnitudes that are safe to compute with, and their combination."""

import math
from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask

__all__ = ["Negatives", "computable_scale", "negatives", "root_sum_of_squares", "signal_mask"]

#: Magnitude of the head, relative to the strongest percent.
_HEAD = 0.1
_SAMPLES = 200_000

#: Largest magnitudes with which single precision computes: their fourth powers, summed over a
#: volume, are far from its limits.
COMPUTABLE = (1e-3, 1e6)


class Negatives(NamedTuple):
    """Values below zero in a magnitude image."""

    n_voxels: int
    depth: float  #: the lowest, as a fraction of the largest
    share: float  #: of the sum of all absolute values


def negatives(magnitude: FloatArray) -> Negatives:
    """Measure the values below zero.

    Parameters
    ----------
    magnitude : ndarray
        One echo; voxels that are not finite are left out.

    Examples
    --------
    >>> negatives(np.array([0.0, 3.0, -1.0]))
    Negatives(n_voxels=1, depth=0.3333333333333333, share=0.25)
    """
    finite = np.isfinite(magnitude)
    below = finite & (magnitude < 0)
    count = int(np.count_nonzero(below))
    if not count:
        return Negatives(0, 0.0, 0.0)
    largest = float(np.max(magnitude, where=finite, initial=0.0))
    lowest = -float(np.min(magnitude, where=finite, initial=0.0))
    low = -float(np.sum(magnitude, where=below, dtype=np.float64))
    high = float(np.sum(magnitude, where=finite & ~below, dtype=np.float64))
    return Negatives(count, lowest / largest if largest else math.inf, low / (low + high))


def computable_scale(magnitude: FloatArray) -> float:
    """Return the power of two that brings magnitudes to where single precision is safe.

    Parameters
    ----------
    magnitude : (E, X, Y, Z) ndarray
        All echoes, not negative; voxels that are not finite are left out.

    Returns
    -------
    float
        1 for ordinary numbers. A power of two changes no digit of a number, and no map but those
        in the unit of the magnitude.

    Examples
    --------
    >>> computable_scale(np.array([0.0, 4095.0])), computable_scale(np.array([0.0, 2.0**30]))
    (1.0, 9.5367431640625e-07)
    """
    peak = float(np.max(magnitude, where=np.isfinite(magnitude), initial=0.0))
    if peak == 0 or COMPUTABLE[0] <= peak <= COMPUTABLE[1]:
        return 1.0
    return 2.0 ** min(10 - round(math.log2(peak)), 120)


def root_sum_of_squares(magnitude: FloatArray) -> Float32Array:
    """Return the root of the sum of squares over the echoes (recommendation 5.a).

    Parameters
    ----------
    magnitude : (E, X, Y, Z) ndarray
        Echo magnitudes, any unit.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Same unit.

    Examples
    --------
    >>> import numpy as np
    >>> float(root_sum_of_squares(np.array([3.0, 4.0]).reshape(2, 1, 1, 1))[0, 0, 0])
    5.0
    """
    total = np.zeros(magnitude.shape[1:], dtype=np.float32)
    for echo in magnitude:
        total += np.square(echo, dtype=np.float32)
    return np.sqrt(total, out=total)


def signal_mask(magnitude: FloatArray) -> Mask:
    """Return where an image has signal, whatever its unit.

    Parameters
    ----------
    magnitude : (X, Y, Z) ndarray
        One echo; voxels that are not finite have none.
    """
    some = magnitude.reshape(-1)[:: max(1, magnitude.size // _SAMPLES) | 1]
    some = some[np.isfinite(some)]
    largest = np.quantile(some, 0.99) if some.size else 0.0
    with np.errstate(invalid="ignore"):
        signal: Mask = magnitude > _HEAD * largest
    return signal
