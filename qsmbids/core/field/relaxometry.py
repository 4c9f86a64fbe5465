r"""R2*, T2* and the signal at TE = 0 of a mono-exponential decay S(TE) = S0 exp(-R2* TE)."""

from typing import Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.field.echo_combination import checked_echo_times, flat_echoes
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.parallel import numba_threads

__all__ = ["R2Star", "r2star_map"]


#: Spacings that differ by less than this from their mean count as uniform; sidecars round TE.
_UNIFORM_TOLERANCE = 0.01


class R2Star(NamedTuple):
    """Relaxation maps, 0 outside the mask, and how they were computed."""

    r2star: Float32Array
    """(X, Y, Z) [1/s]."""
    t2star: Float32Array
    """(X, Y, Z) [s], the reciprocal of R2*."""
    s0: Float32Array
    """(X, Y, Z) signal at TE = 0 in the unit of the magnitude."""
    method: str
    """``arlo`` or ``loglinear``."""


def r2star_map(
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    mask: Mask,
    *,
    method: Literal["auto", "arlo", "loglinear"] = "auto",
    n_threads: int = 1,
) -> R2Star:
    r"""Map R2* [1/s], T2* [s] and S0.

    Parameters
    ----------
    magnitude : (E, X, Y, Z) ndarray
        Magnitude of two or more echoes.
    echo_times : (E,) array_like
        [s], increasing.
    mask : (X, Y, Z) ndarray of bool
        Where to compute.
    method : {"auto", "arlo", "loglinear"}
        ``auto`` takes ARLO for three or more uniformly spaced echoes (to 1 %), else the
        log-linear fit, which for two echoes is the log ratio.
    n_threads : int
        Threads of the voxel loop.

    Returns
    -------
    R2Star
        ``r2star`` is clipped to [1 / (20 max TE), 20 / min TE], which are also its values for
        signals that grow or vanish at once. All maps are 0 outside the mask and in voxels with
        fewer than two echoes of positive signal.

    Raises
    ------
    ValueError
        Shapes or echo times do not fit, the method is unknown, or ARLO was asked for with fewer
        than three or not uniformly spaced echoes.

    Notes
    -----
    ARLO integrates the decay over pairs of intervals by Simpson's rule. With
    s_j = (dTE/3)(m_j + 4 m_{j+1} + m_{j+2}) and d_j = m_j - m_{j+2},

    .. math:: R_2^* = \frac{\sum_j s_j d_j + (dTE/3) \sum_j d_j^2}
                           {\sum_j s_j^2 + (dTE/3) \sum_j s_j d_j},

    1 % low at T2* = dTE and exact to 1e-4 for T2* above 3 dTE. The log-linear fit is exact for
    any decay and is weighted by m^2, the inverse variance of log m. S0 is the least-squares
    amplitude of the fitted decay. Late echoes at the Rician noise floor bias R2* low, and
    field gradients across the voxel bias it high near air.

    References
    ----------
    Pei M, Nguyen TD, Thimmappa ND, et al. Algorithm for fast monoexponential fitting based on
    Auto-Regression on Linear Operations (ARLO) of data. Magn Reson Med 2015;73:843.
    doi:10.1002/mrm.25137.
    """
    times = checked_echo_times(echo_times, magnitude, at_least=2)
    if mask.shape != magnitude.shape[1:]:
        raise ValueError(f"mask {mask.shape} and magnitude {magnitude.shape} do not fit")
    used = _chosen(method, times)
    r2star = np.zeros(mask.size, dtype=np.float32)
    s0 = np.zeros(mask.size, dtype=np.float32)
    with numba_threads(n_threads):
        _fit(
            flat_echoes(magnitude),
            times,
            np.require(mask, np.bool_, ["C", "W"]).reshape(-1),
            used == "arlo",
            1.0 / (20 * times[-1]),
            20 / times[0],
            r2star,
            s0,
        )
    t2star = np.zeros_like(r2star)
    np.divide(1.0, r2star, out=t2star, where=r2star > 0)
    return R2Star(
        r2star.reshape(mask.shape), t2star.reshape(mask.shape), s0.reshape(mask.shape), used
    )


def _chosen(method: str, times: Float64Array) -> str:
    spacing = np.diff(times)
    uniform = np.abs(spacing - spacing.mean()).max() <= _UNIFORM_TOLERANCE * spacing.mean()
    can_arlo = times.size >= 3 and bool(uniform)
    if method == "auto":
        return "arlo" if can_arlo else "loglinear"
    if method not in ("arlo", "loglinear"):
        raise ValueError(f"unknown R2* method {method!r}, choose auto, arlo or loglinear")
    if method == "arlo" and not can_arlo:
        raise ValueError("ARLO needs three or more uniformly spaced echoes; use loglinear")
    return method


@numba.njit(cache=True)
def _arlo(magnitude: Float32Array, i: int, third: float) -> float:
    """Return R2* of voxel i; ``third`` is a third of the echo spacing."""
    ss = sd = dd = 0.0
    for e in range(magnitude.shape[0] - 2):
        a = np.float64(magnitude[e, i])
        c = np.float64(magnitude[e + 2, i])
        s = third * (a + 4.0 * magnitude[e + 1, i] + c)
        d = a - c
        ss += s * s
        sd += s * d
        dd += d * d
    denominator = ss + third * sd
    return (sd + third * dd) / denominator if denominator != 0 else np.nan


@numba.njit(cache=True)
def _log_linear(magnitude: Float32Array, i: int, times: Float64Array) -> float:
    """Return minus the slope of log m over TE of voxel i, weighted by m^2."""
    w_sum = t_sum = y_sum = 0.0
    for e in range(times.size):
        m = np.float64(magnitude[e, i])
        if m > 0:
            w = m * m
            w_sum += w
            t_sum += w * times[e]
            y_sum += w * np.log(m)
    t_mean = t_sum / w_sum
    y_mean = y_sum / w_sum
    tt = ty = 0.0
    for e in range(times.size):
        m = np.float64(magnitude[e, i])
        if m > 0:
            t = times[e] - t_mean
            tt += m * m * t * t
            ty += m * m * t * (np.log(m) - y_mean)
    return -ty / tt


@numba.njit(cache=True, parallel=True)
def _fit(
    magnitude: Float32Array,
    times: Float64Array,
    mask: Mask,
    arlo: bool,
    lowest: float,
    highest: float,
    r2star: Float32Array,
    s0: Float32Array,
) -> None:
    third = (times[-1] - times[0]) / (times.size - 1) / 3.0
    for i in numba.prange(mask.size):
        if not mask[i]:
            continue
        positive = 0
        for e in range(times.size):
            if magnitude[e, i] > 0 and np.isfinite(magnitude[e, i]):
                positive += 1
        if positive < 2:
            continue
        rate = _arlo(magnitude, i, third) if arlo else _log_linear(magnitude, i, times)
        rate = min(max(rate, lowest), highest) if np.isfinite(rate) else lowest
        signal = 0.0
        norm = 0.0
        for e in range(times.size):
            decay = np.exp(-rate * times[e])
            signal += decay * magnitude[e, i]
            norm += decay * decay
        amplitude = signal / norm
        r2star[i] = rate
        s0[i] = amplitude if np.isfinite(amplitude) and amplitude > 0 else 0.0
