"""Signs of phase that was damaged before it got here.

Every check returns a :class:`PhaseCheck` and none of them changes the phase. They look for what a
true field cannot do, so that steep fields, noise and wraps in the right places stay silent.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.robust import robust_std

__all__ = [
    "PhaseCheck",
    "detect_filtered_phase",
    "detect_interpolated_wraps",
    "detect_slice_jumps",
    "tells_filter",
]

#: From which echo time [s], and from which product with the field strength [T s], a head has so
#: much phase that filtered phase differs. In simulated heads from 0.55 to 7 T, without any offset
#: and shimmed to second order, the spread of :func:`detect_filtered_phase` is 0.5 rad and more
#: from there; after filters of SWI (64 and 96 of 256 samples, Hann) it is 0.25 rad and less.
_TELLING_S, _TELLING_TS = 0.015, 0.020
_RELIABLE_MAGNITUDE = 0.5  # of the median in the mask; below it the phase is noise or dephased


class PhaseCheck(NamedTuple):
    """Result of one check."""

    value: float
    """The number that decides; its unit is in the function's description; NaN if unknown."""
    suspicious: bool | None
    """None if it cannot be told."""
    text: str
    """What was found, in one sentence."""


def tells_filter(echo_time: float, b0_tesla: float) -> bool:
    """Tell whether :func:`detect_filtered_phase` can tell anything of an echo.

    Parameters
    ----------
    echo_time : float
        [s].
    b0_tesla : float
        [T].
    """
    return echo_time >= _TELLING_S and echo_time * b0_tesla >= _TELLING_TS


def detect_filtered_phase(
    phase: FloatArray,
    magnitude: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    block_mm: float = 10.0,
    limit: float = 0.35,
) -> PhaseCheck:
    """Find high-pass filtered phase, as scanners make for SWI: useless for QSM.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Phase [rad] of a late echo (:func:`tells_filter`); an early one of a well shimmed head may
        pass for a filtered one.
    magnitude : (X, Y, Z) ndarray
        Of the same echo.
    mask : (X, Y, Z) ndarray of bool
        Brain.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    block_mm : float
        The complex signal is averaged over cubes of this size; the averages of filtered phase
        are all alike.
    limit : float
        Suspicious below this spread [rad]; 28 ms of a simulated head have 1.3 (3 T) and more,
        filtered with a Gaussian of 4.5 mm they have 0.1 (3 T) to 0.3 (7 T, half-sized head).

    Returns
    -------
    PhaseCheck
        ``value`` is the spread [rad] of the phase of the cubes: 1.48 times the median distance
        from their common phase, which is 2.3 for phase without any order.

    Raises
    ------
    ValueError
        Shapes differ or a size is not positive.
    """
    voxel = np.asarray(voxel_size, dtype=float)
    if voxel.shape != (3,) or not np.all(voxel > 0) or not block_mm > 0:
        raise ValueError(f"voxel size {voxel} and block {block_mm} mm must be positive")
    phase, usable, weight = inside_mask(phase, mask, magnitude, level=0.0)
    size = [max(1, round(block_mm / v)) for v in voxel]
    sums = block_sums(phasor(phase, np.where(usable, weight, 0)), size)
    filled = block_sums(usable.astype(np.float32), size) > 0.5 * math.prod(size)
    sums = sums[filled & (sums != 0)]
    if sums.size < 10:
        return unknown("too little phase to tell whether it was filtered")
    units = sums / np.abs(sums)
    spread = robust_std(np.angle(units * np.conj(units.sum())))
    finding = f"over {block_mm:g} mm it varies by {spread:.2f} rad through the brain"
    if spread < limit:
        return PhaseCheck(spread, True, f"the phase looks high-pass filtered: {finding}")
    return PhaseCheck(spread, False, f"the phase is not filtered: {finding}")


def detect_slice_jumps(
    phase: FloatArray,
    mask: Mask,
    *,
    magnitude: FloatArray | None = None,
    limit: float = 0.4,
) -> PhaseCheck:
    r"""Find phase that jumps from slice to slice, as in interleaved 2-D acquisitions.

    The second difference :math:`d_k` of the phase across three slices, averaged as a complex
    number over a slice, changes slowly with k for any smooth field. At the edge of a stack that
    is offset it changes sign, so :math:`|d_{k+1} - d_k| / 2` is the offset there, and twice the
    offset of every second slice.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        [rad], wrapped or not, in any storage order, best of the first echo; 2 pi TE times a field
        in Hz does as well. Slices of alternating sign are not seen as jumps.
    mask : (X, Y, Z) ndarray of bool
        Brain; slices with less than a quarter of the largest section are left out.
    magnitude : (X, Y, Z) ndarray, optional
        Voxels below half of its median in the mask are left out.
    limit : float
        Suspicious above this jump [rad]. First echoes of simulated heads have 0.01 to 0.2,
        late ones of a real head up to 0.3.

    Returns
    -------
    PhaseCheck
        ``value`` is the largest :math:`|d_{k+1} - d_k| / 2` [rad], 0 to half of pi.

    Raises
    ------
    ValueError
        Shapes differ.
    """
    phase, usable, _ = inside_mask(phase, mask, magnitude)
    jumps = [_largest_jump(phase, usable, axis) for axis in range(3)]
    if math.isnan(max(jumps)):
        return unknown("too few slices to look for jumps between them")
    axis = int(np.nanargmax(jumps))
    finding = f"up to {jumps[axis]:.2f} rad between slices along axis {axis}"
    if jumps[axis] > limit:
        return PhaseCheck(jumps[axis], True, f"the phase jumps: {finding}")
    return PhaseCheck(jumps[axis], False, f"no jumps of the phase: {finding}")


def _largest_jump(phase: Float32Array, usable: Mask, axis: int) -> float:
    """Return the largest jump [rad] between well filled slices; NaN without four of them."""
    thin = thinned(phase.shape, 500_000, keep=axis)
    p, ok = np.moveaxis(phase[thin], axis, 0), np.moveaxis(usable[thin], axis, 0)
    if p.shape[0] < 4:
        return math.nan
    three = ok[2:] & ok[1:-1] & ok[:-2]
    counts = three.sum(axis=(1, 2))
    bend = phasor(p[2:] - 2 * p[1:-1] + p[:-2], three.astype(np.float32))
    sums = bend.sum(axis=(1, 2), dtype=np.complex128)
    filled = counts > max(20.0, 0.25 * float(counts.max()))
    pairs = filled[1:] & filled[:-1]
    if not pairs.any():
        return math.nan
    change = np.abs(np.angle(sums[1:] * sums[:-1].conj()))[pairs]
    # offsets of pi / 2 in every second slice bend by +pi and -pi, which are the same
    usual = float(np.median(np.abs(np.angle(sums[filled]))))
    return max(float(change.max()), usual) / 2


def detect_interpolated_wraps(
    phase: FloatArray,
    mask: Mask,
    *,
    magnitude: FloatArray | None = None,
    limit: float = 0.2,
) -> PhaseCheck:
    """Find wrapped phase that was resampled, as by rotation or interpolation of the image.

    Between two voxels on either side of a wrap the true phase is near +pi or near -pi, never in
    the middle between them; interpolation puts it there.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Wrapped phase [rad] as it was stored.
    mask : (X, Y, Z) ndarray of bool
        Brain.
    magnitude : (X, Y, Z) ndarray, optional
        Voxels below half of its median in the mask are left out.
    limit : float
        Suspicious above this fraction.

    Returns
    -------
    PhaseCheck
        ``value`` is the fraction of the wraps with a voxel in the middle.

    Raises
    ------
    ValueError
        Shapes differ.
    """
    phase, usable, _ = inside_mask(phase, mask, magnitude)
    n_wraps, n_middle = 0, 0
    for axis in range(3):
        p, ok = np.moveaxis(phase, axis, 0), np.moveaxis(usable, axis, 0)
        jump = p[2:] - p[:-2]
        wraps = np.nonzero((np.abs(jump) > 1.5 * np.pi) & ok[2:] & ok[1:-1] & ok[:-2])
        inner = (p[1:-1][wraps] - p[:-2][wraps]) / jump[wraps]  # 0 and 1 are the two sides
        n_wraps += inner.size
        n_middle += int(np.count_nonzero(np.abs(inner - 0.5) < 0.3))
    if n_wraps < 100:
        return unknown("too few wraps to tell whether the phase was interpolated")
    fraction = n_middle / n_wraps
    finding = f"{100 * fraction:.1f} % of the wraps pass through the middle of the circle"
    if fraction > limit:
        return PhaseCheck(fraction, True, f"the wrapped phase was interpolated: {finding}")
    return PhaseCheck(fraction, False, f"the wrapped phase was not interpolated: {finding}")


def inside_mask(
    phase: FloatArray,
    mask: Mask,
    magnitude: FloatArray | None,
    *,
    level: float = _RELIABLE_MAGNITUDE,
) -> tuple[Float32Array, Mask, Float32Array]:
    """Cut phase, its reliable voxels and the magnitude to the box of the mask."""
    if phase.ndim != 3 or phase.shape != mask.shape:
        raise ValueError(f"phase {phase.shape} and mask {mask.shape} must be one volume")
    if magnitude is not None and magnitude.shape != mask.shape:
        raise ValueError(f"the magnitude has shape {magnitude.shape}, not {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    box = bounding_box(mask)
    cut = phase[box].astype(np.float32)
    usable = mask[box] & np.isfinite(cut)
    weight: npt.NDArray[Any] = np.ones(cut.shape, dtype=np.float32)
    if magnitude is not None:
        weight = magnitude[box].astype(np.float32)
        usable &= np.isfinite(weight)
        if usable.any():
            usable &= weight > (level * np.median(weight[usable]) if level else 0)
    cut[~usable] = 0
    return cut, usable, weight


def thinned(shape: tuple[int, ...], n_voxels: int, keep: int | None = None) -> tuple[slice, ...]:
    """Return strides that leave about ``n_voxels`` or more; every voxel along ``keep``."""
    kept = 3 if keep is None else 2
    stride = max(1, int((math.prod(shape) / n_voxels) ** (1 / kept)))
    return tuple(slice(0, None, 1 if axis == keep else stride) for axis in range(3))


def phasor(phase: FloatArray, weight: FloatArray) -> npt.NDArray[np.complex64]:
    out = np.empty(phase.shape, dtype=np.complex64)
    np.cos(phase, out=out.real, dtype=np.float32, casting="same_kind")
    np.sin(phase, out=out.imag, dtype=np.float32, casting="same_kind")
    out *= weight
    return out


def block_sums(volume: npt.NDArray, size: list[int]) -> npt.NDArray:
    """Sum over blocks of voxels; the last of every axis may be smaller."""
    for axis, n in enumerate(size):
        volume = np.add.reduceat(volume, np.arange(0, volume.shape[axis], n), axis=axis)
    return volume


def unknown(reason: str) -> PhaseCheck:
    return PhaseCheck(math.nan, None, reason)
