"""The complex mean of a short series of volumes whose phase drifts."""

from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import Float32Array, FloatArray
from qsmbids.units import TWO_PI

__all__ = ["SeriesMean", "average_series"]

#: Magnitude of the head, relative to the strongest percent.
_HEAD = 0.1
#: Typical change of the phase [rad] against the first volume, beside that of whole slices, beyond
#: which the head has moved; noise of a signal-to-noise ratio of 5 has 0.2.
_MOVED = 0.5


class SeriesMean(NamedTuple):
    """One volume per echo."""

    magnitude: Float32Array
    phase: Float32Array
    """[rad], -pi to pi."""
    used: tuple[int, ...]
    """Volumes that went into the mean, counted from 0."""
    drift: float
    """Largest change [rad] of the phase of a slice against the first volume."""


def average_series(magnitude: FloatArray, phase: FloatArray, axis: int = 2) -> SeriesMean:
    """Average the complex signal of a series; drift is taken off first, moved volumes left out.

    The main field drifts and breathing turns the phase of whole slices from volume to volume,
    which a plain mean would turn into lost signal. Each slice of each volume is given the mean
    phase that it has in the first one, echo by echo, so that the mean is of the field then.

    Parameters
    ----------
    magnitude, phase : (E, T, X, Y, Z) ndarray
        Magnitude and wrapped phase [rad] of E echoes and T volumes.
    axis : int
        Array axis of a volume across the slices.

    Returns
    -------
    SeriesMean

    Raises
    ------
    ValueError
        Unequal shapes, or no volume.
    """
    if magnitude.shape != phase.shape or phase.ndim != 5 or not phase.shape[1]:
        raise ValueError(f"magnitude {magnitude.shape} and phase {phase.shape} are no series")
    across = tuple(a for a in range(4) if a not in (0, axis + 1))
    first = magnitude[:, 0] * np.exp(1j * phase[:, 0])
    head = magnitude[:, 0] > _HEAD * np.quantile(magnitude[:, 0], 0.99)
    total, used, drift = np.zeros(first.shape, np.complex128), [], 0.0
    for t in range(phase.shape[1]):
        signal = magnitude[:, t] * np.exp(1j * phase[:, t])
        against = signal * first.conj()
        turns = np.angle((against * head).sum(axis=across, keepdims=True))
        left = np.angle(against * np.exp(-1j * turns))
        if t and float(np.median(np.abs(left[head]))) > _MOVED:
            continue
        filled = head.sum(axis=across, keepdims=True) > 20
        drift = max(drift, float(np.abs(np.where(filled, turns, 0)).max()))
        total += signal * np.exp(-1j * turns)
        used.append(t)
    mean = total / len(used)
    angle = np.angle(mean).astype(np.float32)
    angle -= np.float32(TWO_PI) * np.rint(angle / np.float32(TWO_PI))
    return SeriesMean(np.abs(mean).astype(np.float32), angle, tuple(used), drift)
