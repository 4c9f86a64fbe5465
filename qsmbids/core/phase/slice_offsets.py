r"""A constant phase of every slice, as 2-D multi-slice scans leave it.

Every slice is excited for itself and may start with a phase of its own, :math:`c_k`. It is the
same in all echoes, so that the phase offset at TE = 0, which two echoes give without any
smoothing,

.. math:: \phi_0 = \phi_1 - \frac{TE_1}{TE_2 - TE_1} (\phi_2 - \phi_1),

holds :math:`c_k` and what varies slowly in space, but no field. The step from slice to slice is
found by its mean over the slice, and taken as the value that most voxels have: where the field is
steep, the difference of the echoes wraps between neighbours, and these voxels have any step. No
unwrapping is needed, for only neighbours are compared.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.units import TWO_PI

__all__ = [
    "SliceOffsets",
    "align_slices",
    "find_slice_offsets",
    "remove_slice_offsets",
    "slice_roughness",
]


#: Change of the step from slice to slice [rad] that no smooth offset has; simulated heads have
#: 0.02, a real one of 3 mm voxels 0.12 along an axis in the slices.
_LEAST_CHANGE = 0.25
#: Magnitude of a usable voxel, relative to the strongest percent.
_SIGNAL = 0.1
#: Share of the voxels of the fullest slice that makes another one count.
_FILLED = 0.3
#: Change of the phase that the field makes from slice to slice [rad], up to which it is believed.
_GENTLE = 0.8
#: Coherence of the step within a slice below which it is none; noise has 1 / sqrt(voxels).
_COHERENT = 0.2
_PAIRS = 250_000
#: Bins of the circle in which the most frequent step is looked for, and the width [rad] around it
#: of the voxels that it is averaged over.
_BINS = 72
_PEAK_WIDTH = 0.5
_PEAK_ROUNDS = 4


class SliceOffsets(NamedTuple):
    """The phase of every slice along one array axis."""

    axis: int
    """Array axis across the slices."""
    offsets: Float64Array
    """[rad], one per slice, 0 for the first."""
    change: float
    """Largest change [rad] of the step between neighbouring slices."""


def find_slice_offsets(
    phase: FloatArray, magnitude: FloatArray, echo_times: npt.ArrayLike
) -> SliceOffsets | None:
    """Find slices with a phase of their own from the first two echoes.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Wrapped phase [rad] of at least two echoes.
    magnitude : (X, Y, Z) ndarray
        Magnitude of the first echo.
    echo_times : (E,) array_like
        [s], increasing; the first two are used.

    Returns
    -------
    SliceOffsets or None
        None where no axis has steps that change from slice to slice.

    Raises
    ------
    ValueError
        Fewer than two echoes, or shapes and echo times that do not fit.
    """
    times = np.asarray(echo_times, dtype=float)
    if phase.ndim != 4 or magnitude.shape != phase.shape[1:] or times.size < 2 or len(phase) < 2:
        raise ValueError(f"two echoes are needed, not phase {phase.shape}, times {times}")
    ratio = float(times[0] / (times[1] - times[0]))
    offsets = None
    for axis in range(3):
        steps, filled = _steps(phase[0], magnitude, axis, phase[1], ratio)
        change = _largest_change(steps, filled)
        if change > _LEAST_CHANGE and (offsets is None or change > offsets.change):
            offsets = SliceOffsets(axis, np.zeros(0), change)
    if offsets is None:
        return None
    steps = _most_frequent_steps(phase, magnitude, offsets.axis, ratio)
    return offsets._replace(offsets=np.concatenate([[0.0], np.cumsum(steps)]))


def align_slices(phase: FloatArray, magnitude: FloatArray, axis: int) -> SliceOffsets:
    """Return offsets that take the mean step from slice to slice out of a single echo.

    That step is one of the offsets and of the field alike: the phase becomes smooth enough to be
    looked at and unwrapped, while the field keeps an unknown constant in every slice.

    Parameters
    ----------
    phase, magnitude : (X, Y, Z) ndarray
        Wrapped phase [rad] and magnitude.
    axis : int
        Array axis across the slices.

    Returns
    -------
    SliceOffsets
    """
    steps, filled = _steps(phase, magnitude, axis)
    offsets = np.concatenate([[0.0], np.cumsum(steps)])
    return SliceOffsets(axis, offsets, _largest_change(steps, filled))


def slice_roughness(phase: FloatArray, magnitude: FloatArray) -> tuple[float, int]:
    """Return the largest change [rad] of the phase step between slices, and its axis.

    Parameters
    ----------
    phase, magnitude : (X, Y, Z) ndarray
        Wrapped phase [rad] and magnitude.

    Returns
    -------
    change : float
        Up to pi; 0 where there are too few slices.
    axis : int
    """
    changes = [_largest_change(*_steps(phase, magnitude, axis)) for axis in range(3)]
    axis = int(np.argmax(changes))
    return changes[axis], axis


def remove_slice_offsets(phase: FloatArray, estimate: SliceOffsets) -> Float32Array:
    """Subtract the phase of every slice from all echoes and wrap.

    Parameters
    ----------
    phase : (..., X, Y, Z) ndarray
        Phase [rad].
    estimate : SliceOffsets

    Returns
    -------
    ndarray of float32
        [rad], -pi to pi.
    """
    shape = [1, 1, 1]
    shape[estimate.axis] = -1
    out = (phase - estimate.offsets.reshape(shape)).astype(np.float32)
    out -= np.float32(TWO_PI) * np.rint(out / np.float32(TWO_PI))
    return out


def _steps(
    phase: FloatArray,
    magnitude: FloatArray,
    axis: int,
    second: FloatArray | None = None,
    ratio: float = 0.0,
) -> tuple[Float64Array, Mask]:
    """Return the mean step [rad] from each slice to the next, and whether it can be told."""
    stride = max(1, math.isqrt(phase.size // _PAIRS))
    thin = tuple(slice(None) if a == axis else slice(stride // 2, None, stride) for a in range(3))
    p, m = (np.moveaxis(v[thin], axis, 0).astype(np.float32) for v in (phase, magnitude))
    usable = np.isfinite(p) & np.isfinite(m)
    p[~usable], m[~usable] = 0, 0
    step = np.diff(p, axis=0)
    if second is not None:
        between = np.moveaxis(second[thin], axis, 0).astype(np.float32)
        m[~np.isfinite(between)] = 0
        between = np.nan_to_num(between) - p
        change = np.diff(between, axis=0)
        change -= np.float32(TWO_PI) * np.rint(change / np.float32(TWO_PI))
        step -= np.float32(ratio) * change
    signal = m > _SIGNAL * np.quantile(m, 0.99)
    both = signal[1:] & signal[:-1]
    if second is not None:  # in a steep field the change may have wrapped
        both &= np.abs(change) < _GENTLE
    weight = np.where(both, m[1:] * m[:-1], 0)
    sums = (weight * np.exp(1j * step)).sum(axis=(1, 2), dtype=np.complex128)
    counts = both.sum(axis=(1, 2))
    sums[counts == 0] = 0
    filled = counts > max(20.0, _FILLED * float(counts.max(initial=0)))
    filled &= np.abs(sums) > _COHERENT * weight.sum(axis=(1, 2), dtype=np.float64)
    return np.angle(sums), filled


def _most_frequent_steps(
    phase: FloatArray, magnitude: FloatArray, axis: int, ratio: float
) -> Float64Array:
    """Return the step [rad] of the offset from each slice to the next that most voxels have."""
    first, second, m = (np.moveaxis(v, axis, 0) for v in (phase[0], phase[1], magnitude))
    signal = m > _SIGNAL * np.quantile(m[np.isfinite(m)], 0.99)
    between = second - first
    steps = np.zeros(len(m) - 1)
    for k in range(len(steps)):
        both = signal[k] & signal[k + 1] & np.isfinite(first[k] + first[k + 1])
        both &= np.isfinite(between[k] + between[k + 1])
        if not both.any():
            continue
        change = between[k + 1][both] - between[k][both]
        step = first[k + 1][both] - first[k][both] - ratio * _wrapped(change)
        step, weight = _wrapped(step), (m[k] * m[k + 1])[both]
        counts, edges = np.histogram(step, _BINS, (-np.pi, np.pi), weights=weight)
        peak = int(np.argmax(counts + np.roll(counts, 1) + np.roll(counts, -1)))
        angle = float(edges[peak : peak + 2].mean())
        for _ in range(_PEAK_ROUNDS):
            rest = _wrapped(step - angle)
            near = np.abs(rest) < _PEAK_WIDTH
            angle += float(np.angle((weight * np.exp(1j * rest))[near].sum()))
        steps[k] = angle
    return steps


def _wrapped(angle: FloatArray) -> FloatArray:
    return angle - TWO_PI * np.rint(angle / TWO_PI)


def _largest_change(steps: Float64Array, filled: Mask) -> float:
    """Return the largest change [rad] of the step between slices next to each other."""
    change = np.diff(steps)
    change -= TWO_PI * np.rint(change / TWO_PI)
    pairs = filled[1:] & filled[:-1]
    return float(np.abs(change[pairs]).max()) if pairs.any() else 0.0
