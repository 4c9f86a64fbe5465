"""Complex images: from real and imaginary part to polar, and slices of alternating sign.

Some scanners leave out a shift by half the field of view before the Fourier transform along the
slices, so that every second slice is stored with the opposite sign (GE above all, some Canon).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, FloatArray
from qsmbids.units import TWO_PI

__all__ = ["SliceAlternation", "detect_slice_alternation", "polar", "remove_slice_alternation"]


#: Coherence below which neighbouring slices have nothing in common: noise has 1 / sqrt(voxels).
_LEAST_COHERENCE = 0.1
_PAIRS_PER_AXIS = 1_000_000


class SliceAlternation(NamedTuple):
    """Which array axis has slices of alternating sign."""

    axis: int | None
    """The axis; None if no axis alternates."""
    coherence: tuple[float, float, float]
    """Per axis, 1 where neighbours agree, 0 for noise, -1 where every second slice is inverted."""
    text: str
    """What was found, in one sentence."""


def polar(real: npt.NDArray, imaginary: npt.NDArray) -> tuple[Float32Array, Float32Array]:
    """Return magnitude and phase of a complex image.

    Parameters
    ----------
    real, imaginary : (X, Y, Z) ndarray
        Any real number type, in one unit.

    Returns
    -------
    magnitude : (X, Y, Z) ndarray of float32
        Unit of the input.
    phase : (X, Y, Z) ndarray of float32
        [rad], -pi to pi. Both are 0 where either part is not finite.

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> magnitude, phase = polar(np.array([[[0, -3]]]), np.array([[[2, 0]]]))
    >>> magnitude.tolist(), np.round(phase / np.pi, 3).tolist()
    ([[[2.0, 3.0]]], [[[0.5, 1.0]]])
    """
    re, im = np.asarray(real), np.asarray(imaginary)
    if re.shape != im.shape:
        raise ValueError(f"real part {re.shape} and imaginary part {im.shape} differ in shape")
    if re.dtype.kind == "c" or im.dtype.kind == "c":
        raise ValueError("real and imaginary part must be real numbers")
    # integers become floats first, else their squares overflow; + 0 turns -0 into 0, whose phase
    # would be pi
    re = re.astype(np.float32, copy=False) + np.float32(0)
    im = im.astype(np.float32, copy=False) + np.float32(0)
    phase = np.arctan2(im, re)
    re *= re
    im *= im
    re += im
    magnitude = np.sqrt(re, out=re)
    broken = ~np.isfinite(magnitude)
    if broken.any():
        magnitude[broken] = 0
        phase[broken] = 0
    return magnitude, phase


def detect_slice_alternation(
    phase: FloatArray,
    magnitude: FloatArray,
    *,
    second_phase: FloatArray | None = None,
    echo_times: npt.ArrayLike | None = None,
) -> SliceAlternation:
    r"""Find the array axis along which every second slice has the opposite sign.

    The coherence of axis a is the real part of

    .. math:: \sum_k S_{k+1} \bar S_k \; / \; \sum_k |S_{k+1} \bar S_k| ;

    slices alternate where the angle of the sum is beyond :math:`\pi / 2`.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Wrapped phase of the first echo [rad], either sign, in any storage order.
    magnitude : (X, Y, Z) ndarray
        Magnitude of the first echo.
    second_phase : (X, Y, Z) ndarray, optional
        Wrapped phase of the second echo [rad]. The alternation is the same in every echo and
        drops out of the phase difference of two, which shows how much of the step from slice to
        slice is the field's. Without it a field that turns the phase by more than a quarter of
        a cycle per voxel, through most of the head, passes for an alternation.
    echo_times : (2,) array_like, optional
        Of the two echoes [s]; given together with ``second_phase``.

    Returns
    -------
    SliceAlternation
        The axis of the most negative coherence. Correct it and look again where more than one
        axis may alternate.

    Raises
    ------
    ValueError
        Shapes differ, not three axes, or only one of ``second_phase`` and ``echo_times``.

    Notes
    -----
    Weighting with the product of the magnitudes leaves noise around the head without a say; voxels
    that are not finite have no weight. About a million voxel pairs per axis are taken.
    """
    if phase.ndim != 3 or magnitude.shape != phase.shape:
        raise ValueError(f"phase {phase.shape} and magnitude {magnitude.shape} must be one volume")
    if (second_phase is None) != (echo_times is None):
        raise ValueError("the second echo needs the echo times, and they need it")
    ratio = 0.0
    if second_phase is not None:
        times = np.asarray(echo_times, dtype=float)
        if second_phase.shape != phase.shape:
            raise ValueError(f"the second echo has shape {second_phase.shape}, not {phase.shape}")
        if times.shape != (2,) or not 0 < times[0] < times[1]:
            raise ValueError(f"two increasing echo times are needed, not {echo_times!r}")
        ratio = float(times[0] / (times[1] - times[0]))
    first, second, third = (
        _coherence(phase, magnitude, second_phase, ratio, axis) for axis in range(3)
    )
    coherence = (first, second, third)
    axis = int(np.argmin(coherence))
    if coherence[axis] < -_LEAST_COHERENCE:
        text = f"every second slice along axis {axis} has the opposite sign"
        return SliceAlternation(axis, coherence, f"{text} (coherence {coherence[axis]:.2f})")
    if max(coherence) < _LEAST_COHERENCE:
        return SliceAlternation(None, coherence, "neighbouring voxels have no common phase")
    return SliceAlternation(None, coherence, "no slices of alternating sign")


def _coherence(
    phase: FloatArray,
    magnitude: FloatArray,
    second_phase: FloatArray | None,
    ratio: float,
    axis: int,
) -> float:
    """Return the real coherence of neighbours along an axis, the field's share taken out."""
    if phase.shape[axis] < 2:
        return 0.0
    stride = max(1, math.isqrt(phase.size // _PAIRS_PER_AXIS))
    thin = tuple(slice(None) if a == axis else slice(stride // 2, None, stride) for a in range(3))
    p, m = (np.moveaxis(v[thin], axis, 0).astype(np.float32) for v in (phase, magnitude))
    p[~np.isfinite(p)] = np.nan  # infinite phase would raise warnings below
    usable = np.isfinite(p) & np.isfinite(m)
    step = np.diff(p, axis=0)
    if second_phase is not None:
        between = np.moveaxis(second_phase[thin], axis, 0).astype(np.float32)
        between[~np.isfinite(between)] = np.nan
        between -= p
        usable &= np.isfinite(between)
        change = np.diff(between, axis=0)
        change -= np.float32(TWO_PI) * np.rint(change / np.float32(TWO_PI))
        step -= np.float32(ratio) * change
    m[~usable] = 0
    weight = (m[1:] * m[:-1]).astype(np.float64)
    total = float(weight.sum())
    if total == 0:
        return 0.0
    cosine = np.cos(step)
    cosine[weight == 0] = 0
    return float(np.vdot(weight, cosine)) / total


def remove_slice_alternation(phase: FloatArray, axis: int) -> Float32Array:
    """Add pi to every second slice along an axis and wrap.

    Parameters
    ----------
    phase : (..., X, Y, Z) ndarray
        Phase [rad].
    axis : int
        0 to 2, of the last three axes.

    Returns
    -------
    ndarray of float32
        [rad], -pi to pi; not finite where the input is not.

    Raises
    ------
    ValueError
        The axis is not 0, 1 or 2, or the phase has fewer than three axes.

    Examples
    --------
    >>> import numpy as np
    >>> phase = np.zeros((1, 1, 4)); phase[..., 1::2] = np.pi
    >>> bool(np.abs(remove_slice_alternation(phase, 2)).max() < 1e-6)
    True
    """
    if axis not in (0, 1, 2):
        raise ValueError(f"the slice axis must be 0, 1 or 2, not {axis}")
    if phase.ndim < 3:
        raise ValueError(f"the phase must be a volume, not shape {phase.shape}")
    out = phase.astype(np.float32, copy=True)
    odd = np.moveaxis(out, axis - 3, 0)[1::2]
    odd -= np.where(odd > 0, np.float32(math.pi), np.float32(-math.pi))
    outside = np.abs(odd) > math.pi  # the input was not wrapped
    if outside.any():
        odd[outside] -= np.float32(TWO_PI) * np.rint(odd[outside] / np.float32(TWO_PI))
    return out
