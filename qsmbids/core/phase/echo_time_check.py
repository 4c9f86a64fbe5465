"""Whether the phase of the echoes fits the stated echo times."""

import itertools

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.phase.phase_checks import (
    PhaseCheck,
    block_sums,
    inside_mask,
    phasor,
    thinned,
    unknown,
)

__all__ = ["check_echo_time_consistency"]


#: Variance of the first component over that of the second; noise has 1 to 4, a head 190 and more.
_LEAST_DOMINANCE = 8.0


def check_echo_time_consistency(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    mask: Mask,
    *,
    block_voxels: int = 4,
    limit: float = 0.1,
) -> PhaseCheck:
    r"""Find echo times, or an order of the echoes, that the phase contradicts.

    Between neighbouring places the phase that echo e + 1 adds differs by
    :math:`2 \pi\,\Delta f\,(TE_{e+1} - TE_e)`. The spacings in these differences are their first
    principal component over the head; no unwrapping is needed, and whatever is constant or linear
    in space (a bipolar readout) drops out.

    Parameters
    ----------
    phase, magnitude : (E, X, Y, Z) ndarray
        Wrapped phase [rad] and magnitude.
    echo_times : (E,) array_like
        As stated [s].
    mask : (X, Y, Z) ndarray of bool
        Brain.
    block_voxels : int
        Signal is averaged over cubes of this size first, against noise.
    limit : float
        Suspicious if a spacing is off by more than this part of the mean spacing.

    Returns
    -------
    PhaseCheck
        ``value`` is the largest relative error of a spacing. A common factor of all echo times
        cannot be seen, and neither can fewer than three echoes be checked.

    Raises
    ------
    ValueError
        Shapes or the number of echo times do not fit, or two are equal.
    """
    times = np.asarray(echo_times, dtype=float)
    if phase.ndim != 4 or magnitude.shape != phase.shape or times.shape != phase.shape[:1]:
        raise ValueError(f"phase {phase.shape}, magnitude {magnitude.shape}, {times.size} times")
    if times.size < 3:
        return unknown("fewer than three echoes say nothing about their times")
    if phase.shape[1:] != mask.shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {phase.shape[1:]}")
    if np.any(np.diff(times) == 0):
        raise ValueError(f"echo times must differ: {times}")
    steps, weight = _field_steps(phase, magnitude, mask, block_voxels)
    if weight.size < 100:
        return unknown("too little phase to check the echo times")
    stated = np.diff(times)
    seen, dominance = _principal_component(steps, weight)
    if dominance < _LEAST_DOMINANCE:
        return unknown("the phase changes too little, or too randomly, to check the echo times")
    seen *= np.sign(seen @ stated) or 1.0
    # the median, so that one wrong echo time does not spoil the scale of all
    scale = float(np.median(seen / stated))
    if scale <= 0:
        scale = float(seen @ seen) / float(seen @ stated)
    seen /= scale
    error = float(np.max(np.abs(seen - stated)) / np.mean(np.abs(stated)))
    listed = ", ".join(f"{1e3 * s:.2f}" for s in seen)
    stated_list = ", ".join(f"{1e3 * s:.2f}" for s in stated)
    if error > limit:
        text = f"the phase fits echo spacings of {listed} ms, not the stated {stated_list} ms"
        return PhaseCheck(error, True, text)
    text = f"the phase fits the echo times to {100 * error:.1f} % of their spacing"
    return PhaseCheck(error, False, text)


def _field_steps(
    phase: FloatArray, magnitude: FloatArray, mask: Mask, block: int
) -> tuple[Float64Array, Float64Array]:
    """Return the steps (E - 1, N) [rad] of all phase differences between blocks, and weights."""
    box = bounding_box(mask)
    thin = thinned(mask[box].shape, 500_000)
    size = [max(2, round(block / (t.step or 1))) for t in thin]
    _, usable, _ = inside_mask(phase[-1], mask, magnitude[-1])
    usable = usable[thin]
    signal = []
    for p, m in zip(phase, magnitude, strict=True):
        p, m = p[box][thin], m[box][thin]
        known = usable & np.isfinite(p) & np.isfinite(m)
        signal.append(phasor(np.where(known, p, 0), np.where(known, m, 0)))
    blocks = np.stack([block_sums(b * a.conj(), size) for a, b in itertools.pairwise(signal)])
    steps, weights = [], []
    for axis in (1, 2, 3):
        along = np.moveaxis(blocks, axis, 1)
        product = (along[:, 1:] * along[:, :-1].conj()).reshape(blocks.shape[0], -1)
        size_of = np.abs(product).astype(np.float64)
        step = np.angle(product).astype(np.float64)
        # beyond a quarter of a cycle a step may have wrapped
        sure = (size_of.min(axis=0) > 0) & (np.abs(step).max(axis=0) < 0.5 * np.pi)
        if not sure.any():
            continue
        step, weight = step[:, sure], np.sqrt(size_of[-1, sure])
        steps.append(step - np.average(step, axis=1, weights=weight)[:, None])
        weights.append(weight)
    if not steps:
        return np.zeros((blocks.shape[0], 0)), np.zeros(0)
    return np.concatenate(steps, axis=1), np.concatenate(weights)


def _principal_component(steps: Float64Array, weight: Float64Array) -> tuple[Float64Array, float]:
    """Return the unit vector nearest to all columns, and its share over that of the next.

    Outliers are held down.
    """
    robust = weight
    for _ in range(5):
        covariance = (steps * robust) @ steps.T
        values, vectors = np.linalg.eigh(covariance)
        vector = vectors[:, -1]
        distance = np.linalg.norm(steps - np.outer(vector, vector @ steps), axis=0)
        scale = max(3 * float(np.median(distance)), 1e-9)
        robust = weight / (1 + (distance / scale) ** 2)
    return vector, float(values[-1] / max(values[-2], 1e-12 * values[-1], 1e-300))
