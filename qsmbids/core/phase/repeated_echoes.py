"""Echoes that hold the same image, as exports that overwrite each other leave behind."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from qsmbids.core.maths.arrays import Float64Array, FloatArray

__all__ = ["repeated_magnitude", "repeated_phase"]


#: Spread [rad] that the noise and the field of no scan stay below; 12 bit have steps of 0.0015.
_SAME_PHASE = 2e-3
_SAMPLES = 200_000
#: Voxels that are enough to say that two images are the same.
_FEWEST = 100


def repeated_phase(phase: Sequence[FloatArray]) -> tuple[int, int] | None:
    """Find two echoes whose phase is the same, a constant apart.

    Parameters
    ----------
    phase : sequence of (X, Y, Z) ndarray
        [rad], one per echo; 0 where there is none.

    Returns
    -------
    tuple of int or None
        Indices of the first pair of which 99.9 % of the voxels agree to within 0.002 rad. The
        field of two such echoes would be zero, or, of different echo times, anything.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> first, second = rng.uniform(-np.pi, np.pi, (2, 8, 8, 8))
    >>> repeated_phase([first, second, first + 0.5])
    (0, 2)
    """
    sample = _sampled(phase)
    for i, j in combinations(range(len(phase)), 2):
        common = (sample[i] != 0) & (sample[j] != 0)
        if np.count_nonzero(common) < _FEWEST:
            continue
        turn = np.exp(1j * (sample[j][common] - sample[i][common]))
        spread = np.abs(np.angle(turn * np.conj(turn.mean())))
        if np.quantile(spread, 0.999) < _SAME_PHASE:
            return i, j
    return None


def repeated_magnitude(magnitude: Sequence[FloatArray]) -> tuple[int, int] | None:
    """Find two echoes whose magnitude is the same, voxel for voxel.

    Parameters
    ----------
    magnitude : sequence of (X, Y, Z) ndarray
        One per echo.

    Returns
    -------
    tuple of int or None
        Indices of the first such pair.
    """
    sample = _sampled(magnitude)
    for i, j in combinations(range(len(magnitude)), 2):
        if np.array_equal(sample[i], sample[j]) and np.any(sample[i]):
            return i, j
    return None


def _sampled(volumes: Sequence[FloatArray]) -> list[Float64Array]:
    """Return the same voxels of every volume, about 200 000."""
    stride = max(1, np.size(volumes[0]) // _SAMPLES) | 1
    return [np.asarray(v).reshape(-1)[::stride].astype(np.float64) for v in volumes]
