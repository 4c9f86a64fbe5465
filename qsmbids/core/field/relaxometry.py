r"""R2*, T2* and the signal at TE = 0 of a mono-exponential decay S(TE) = S0 exp(-R2* TE)."""

from typing import Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.field.echo_combination import checked_echo_times, flat_echoes
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.parallel import planes

__all__ = ["R2Star", "r2star_map"]


#: Spacings that differ by less than this from their mean count as uniform; sidecars round TE.
_UNIFORM_TOLERANCE = 0.01
#: Voxels that are fitted side by side.
ROW = 512
ZERO, INFINITE = np.float32(0), np.float32(np.inf)


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
    with planes(-(-mask.size // ROW), n_threads) as run:
        run(
            _fit,
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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _arlo(magnitude, start, third, rate):  # type: ignore[no-untyped-def]
    """Fill ``rate`` by R2* of voxels from ``start``; ``third`` is a third of the echo spacing."""
    ss, sd, dd = np.zeros(rate.size), np.zeros(rate.size), np.zeros(rate.size)
    stop = start + rate.size
    for e in range(len(magnitude) - 2):
        before, here = magnitude[e, start:stop], magnitude[e + 1, start:stop]
        after = magnitude[e + 2, start:stop]
        for k in range(rate.size):
            a, c = np.float64(before[k]), np.float64(after[k])
            s, d = third * (a + 4.0 * here[k] + c), a - c
            ss[k] += s * s
            sd[k] += s * d
            dd[k] += d * d
    for k in range(rate.size):
        rate[k] = (sd[k] + third * dd[k]) / (ss[k] + third * sd[k])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _log_linear(magnitude, start, times, rate):  # type: ignore[no-untyped-def]
    """Fill ``rate`` by minus the slope of log m over TE, weighted by m^2, from ``start``."""
    for k in range(rate.size):
        w_sum = t_sum = y_sum = 0.0
        for e in range(times.size):
            m = np.float64(magnitude[e, start + k])
            if m > 0:
                w = m * m
                w_sum += w
                t_sum += w * times[e]
                y_sum += w * np.log(m)
        t_mean, y_mean = t_sum / w_sum, y_sum / w_sum
        tt = ty = 0.0
        for e in range(times.size):
            m = np.float64(magnitude[e, start + k])
            if m > 0:
                t = times[e] - t_mean
                tt += m * m * t * t
                ty += m * m * t * (np.log(m) - y_mean)
        rate[k] = -ty / tt


@numba.njit(cache=True, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    """Exponential of a number up to zero, to 1e-7 of it; unlike libm's, it vectorises."""
    part = max(x, -150.0) * (1 / 256)
    y = 1.0 + part * (1 / 8)
    y = 1.0 + y * part * (1 / 7)
    y = 1.0 + y * part * (1 / 6)
    y = 1.0 + y * part * (1 / 5)
    y = 1.0 + y * part * (1 / 4)
    y = 1.0 + y * part * (1 / 3)
    y = 1.0 + y * part * (1 / 2)
    y = 1.0 + y * part
    y = y * y
    y = y * y
    y = y * y
    y = y * y
    y = y * y
    y = y * y
    y = y * y
    return y * y


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fit(start, stop, magnitude, times, mask, arlo, lowest, highest, r2star, s0):  # type: ignore[no-untyped-def]
    """Fit the rows ``start`` to ``stop`` of voxels."""
    third = (times[-1] - times[0]) / (times.size - 1) / 3.0
    rates, signals = np.empty(ROW), np.empty(ROW)
    norms, positives = np.empty(ROW), np.empty(ROW, np.int32)
    for row in range(start, stop):
        first, last = row * ROW, min(mask.size, (row + 1) * ROW)
        inside, n = mask[first:last], last - first
        count = 0
        for k in range(n):
            count += inside[k]
        if count == 0:
            continue
        rate, signal, norm, positive = rates[:n], signals[:n], norms[:n], positives[:n]
        if arlo:
            _arlo(magnitude, first, third, rate)
        else:
            _log_linear(magnitude, first, times, rate)
        for k in range(n):
            finite = abs(rate[k]) < np.inf
            rate[k] = min(max(rate[k] if finite else lowest, lowest), highest)
        for k in range(n):
            signal[k], norm[k], positive[k] = 0.0, 0.0, 0
        for e in range(times.size):
            echo, time = magnitude[e, first:last], times[e]
            for k in range(n):
                decay = _exp(-rate[k] * time)
                signal[k] += decay * echo[k]
                norm[k] += decay * decay
            for k in range(n):
                positive[k] += np.int32((echo[k] > ZERO) & (echo[k] < INFINITE))
        for k in range(n):
            if inside[k] and positive[k] >= 2:
                amplitude = signal[k] / norm[k]
                r2star[first + k] = rate[k]
                s0[first + k] = amplitude if 0 < amplitude < np.inf else 0.0
