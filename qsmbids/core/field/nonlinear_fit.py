r"""Field by a nonlinear least-squares fit of the complex signal over the echoes.

The first alternative of step 4.c of the consensus. In every voxel the model

.. math:: S_e = |S_e|\,\exp\left(i\,(p_0 + p_1 \tau_e)\right), \qquad
          \tau_e = (TE_e - TE_1) / \Delta TE

is fitted to the complex signal, so that neither the wraps of the phase nor its offset matter; only
the slope :math:`p_1`, known up to whole cycles per echo spacing, must be unwrapped in space.

References
----------
.. [1] Liu T, Wisnieff C, Lou M, Chen W, Spincemaille P, Wang Y. Nonlinear formulation of the
   magnetic field to source relationship for robust quantitative susceptibility mapping. Magn
   Reson Med 2013;69:467-476. doi:10.1002/mrm.24272
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.field.echo_combination import checked_echo_times, flat_echoes
from qsmbids.core.field.romeo import unwrap
from qsmbids.core.field.romeo_weights import as_volume
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.parallel import planes
from qsmbids.units import TWO_PI

__all__ = ["NonlinearFit", "echo_grid", "field_from_fit", "noise_from_fit", "nonlinear_fit"]

#: Echo times this close to a regular grid [parts of the spacing] are rounded values of one.
_REGULAR = 5e-3
#: Cycles per spacing that are tried to either side when the echoes are not equally spaced.
_CYCLES = 2
#: Voxels that share the scratch arrays of the fit.
BLOCK = 4096


@dataclass(frozen=True)
class NonlinearFit:
    """Result of :func:`nonlinear_fit`; every map is (X, Y, Z) float32 and 0 where not fitted.

    Attributes
    ----------
    phase_slope : ndarray
        Phase per echo spacing [rad], wrapped to -pi to pi.
    noise_std : ndarray
        SD of ``phase_slope`` [rad] for a noise SD of 1 in each complex channel; 0 where there is
        no signal (the noise is unknown, not small).
    residual : ndarray
        Energy that the fit leaves over the energy of the signal; 0 is a perfect line, about 2
        with no relation to one.
    offset : ndarray
        Phase at the first echo time [rad], not at TE = 0, wrapped to -pi to pi.
    spacing : float
        Echo spacing [s] that the slope refers to; of unequal ones the smallest.
    """

    phase_slope: Float32Array
    noise_std: Float32Array
    residual: Float32Array
    offset: Float32Array
    spacing: float


def nonlinear_fit(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    *,
    mask: Mask | None = None,
    maximum_iterations: int = 30,
    smallest_step: float = 1e-6,
    n_threads: int = 1,
) -> NonlinearFit:
    r"""Fit a line to the phase of the complex signal in every voxel.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Measured phase [rad] of at least three echoes of one readout polarity, wrapped or not.
    magnitude : (E, X, Y, Z) ndarray
        Magnitude, any scale.
    echo_times : (E,) array_like
        [s], increasing; the spacing need not be uniform.
    mask : (X, Y, Z) ndarray of bool, optional
        Where to fit; default is everywhere.
    maximum_iterations : int
        Most Gauss-Newton steps of a voxel; noise-free signals need two, noise alone uses all.
    smallest_step : float
        A voxel is done when its step moves no echo by more than this [rad].
    n_threads : int
        Threads of the voxel loop.

    Returns
    -------
    NonlinearFit
        All maps are 0 outside the mask, where an echo is not finite, and where fewer than two
        echoes have signal.

    Raises
    ------
    ValueError
        Fewer than three echoes (two leave nothing to fit), shapes or echo times that do not fit,
        ``maximum_iterations`` below 1 or ``smallest_step`` not positive.

    Notes
    -----
    Eq. 5 to 7 of [1]_ in voxel form: with :math:`w_e = |S_e|^2` the sum
    :math:`\sum_e w_e (1 - \cos(\phi_e - p_0 - p_1 \tau_e))` is minimised by steps

    .. math:: A\,(\delta p_0, \delta p_1)^T = \textstyle\sum_e w_e
              \sin(\phi_e - p_0 - p_1 \tau_e)\,(1, \tau_e)^T, \qquad
              A_{jk} = \textstyle\sum_e w_e \tau_e^{j+k},

    and the variance of the slope is :math:`\sigma^2 (A^{-1})_{22}`. As A bounds the curvature of
    that sum from above, no step can increase it.

    The iteration starts from the mean phase advance between neighbouring echoes. With unequal
    spacing that mean is no advance of anything; there the closest pair of echoes starts a line
    that the others prolong one by one, once for each number of cycles that may lie between the
    pair, and the line that all echoes fit best is taken. The slope is wrapped in the end, so
    that both cases are unwrapped in space alike.

    Examples
    --------
    >>> te = np.array([0.005, 0.010, 0.015])
    >>> phase = 1.0 + 2 * np.pi * 25.0 * te[:, None, None, None] * np.ones((3, 1, 1, 1))
    >>> fit = nonlinear_fit(phase, np.ones((3, 1, 1, 1)), te)
    >>> round(float(fit.phase_slope[0, 0, 0]) / (2 * np.pi * fit.spacing), 3)
    25.0
    """
    phase = as_volume(phase, "phase", ndim=4)
    magnitude = as_volume(magnitude, "magnitude", phase.shape, ndim=4)
    times = checked_echo_times(echo_times, phase, at_least=3)
    if maximum_iterations < 1 or not smallest_step > 0:
        raise ValueError("the maximum of iterations and the smallest step must be positive")
    shape = phase.shape[1:]
    if mask is None:
        inside = np.ones(shape, dtype=np.bool_)
    else:
        inside = np.require(as_volume(mask, "mask", shape, np.bool_), requirements=["W"])

    tau, spacing, order = echo_grid(times)
    maps = np.zeros((4, phase[0].size), dtype=np.float32)
    with planes(-(-maps.shape[1] // BLOCK), n_threads) as run:
        run(
            _fit_voxels,
            flat_echoes(phase),
            flat_echoes(magnitude),
            inside.ravel(),
            tau,
            order,
            int(maximum_iterations),
            float(smallest_step),
            maps,
        )
    slope, noise, residual, offset = (m.reshape(shape) for m in maps)
    return NonlinearFit(slope, noise, residual, offset, spacing)


def field_from_fit(
    fit: NonlinearFit,
    magnitude_rss: FloatArray,
    mask: Mask,
    *,
    weights: str = "romeo4",
    n_threads: int = 1,
) -> Float32Array:
    """Unwrap the fitted slope in space and turn it into the field.

    Parameters
    ----------
    fit : NonlinearFit
        As returned by :func:`nonlinear_fit`.
    magnitude_rss : (X, Y, Z) ndarray
        Root of the sum of squares of the magnitude over the echoes.
    mask : (X, Y, Z) ndarray of bool
        Where the field is wanted.
    weights : str
        Terms of the edge weights, see :func:`~qsmbids.core.field.romeo_weights.edge_weights`;
        there is no second echo, so that term 2 is never used.
    n_threads : int
        Threads of the edge weights.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Total field [Hz]; 0 outside the mask. The median of each part of the mask is within half a
        cycle per echo spacing of zero, as whole cycles cannot be known.

    Raises
    ------
    ValueError
        Unequal shapes or an empty mask.
    """
    slope = unwrap(
        fit.phase_slope, magnitude=magnitude_rss, mask=mask, weights=weights, n_threads=n_threads
    )
    slope /= np.float32(TWO_PI * fit.spacing)
    return slope


def noise_from_fit(fit: NonlinearFit, noise_std: float = 1.0) -> Float32Array:
    """Return the noise SD [Hz] of the field of a fit.

    Parameters
    ----------
    fit : NonlinearFit
        As returned by :func:`nonlinear_fit`.
    noise_std : float
        Noise SD of one complex channel in the unit of the magnitude; 1 gives a relative map.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Standard deviation [Hz], 0 where there is no signal.
    """
    return fit.noise_std * np.float32(noise_std / (TWO_PI * fit.spacing))


def echo_grid(
    times: Float64Array,
) -> tuple[Float64Array, float, npt.NDArray[np.int64]]:
    """Return the echo times in units of the spacing.

    Parameters
    ----------
    times : (E,) ndarray of float64
        Increasing echo times [s].

    Returns
    -------
    tau : (E,) ndarray
        0 at the first echo; whole numbers if the echoes are equally spaced.
    spacing : float
        Unit of ``tau`` [s]: the common spacing, or the smallest.
    order : (E,) ndarray of int
        The closest pair of echoes first, then the others by their distance from it; empty if the
        echoes are equally spaced.
    """
    count = np.arange(times.size)
    mean = (times[-1] - times[0]) / (times.size - 1)
    if np.all(np.abs(times - times[0] - mean * count) <= _REGULAR * mean):
        return count.astype(np.float64), float(mean), np.zeros(0, dtype=np.int64)
    pair = int(np.argmin(np.diff(times)))
    spacing = float(times[pair + 1] - times[pair])
    distance = np.maximum(times[pair] - times, times - times[pair + 1])
    return (times - times[0]) / spacing, spacing, np.argsort(distance, kind="stable")


@numba.njit(cache=True, inline="always")
def _wrap(x):  # type: ignore[no-untyped-def]
    return x - TWO_PI * np.rint(x * (1 / TWO_PI))


@numba.njit(cache=True)
def _mean_advance(phi, w):  # type: ignore[no-untyped-def]
    """Return the mean phase advance from an echo to the next."""
    re, im = 0.0, 0.0
    for e in range(phi.size - 1):
        size = np.sqrt(w[e] * w[e + 1])
        re += size * np.cos(phi[e + 1] - phi[e])
        im += size * np.sin(phi[e + 1] - phi[e])
    return np.arctan2(im, re)


@numba.njit(cache=True)
def _best_line(phi, w, tau, order):  # type: ignore[no-untyped-def]
    """Return the slope of the best line that the closest pair of echoes can start."""
    best, best_score = 0.0, -np.inf
    first, second = min(order[0], order[1]), max(order[0], order[1])
    advance = _wrap(phi[second] - phi[first])
    for k in range(2 * _CYCLES + 1):
        # 0, -1, 1, -2, 2: what comes first is kept when several fit as well
        cycles = (k + 1) // 2 * (1 - 2 * (k % 2))
        p1 = advance + TWO_PI * cycles
        p0 = phi[first] - p1 * tau[first]
        s0, s1, s2, r0, r1 = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(order.size):
            e = order[j]
            line = p0 + p1 * tau[e]
            y = line + _wrap(phi[e] - line)
            s0 += w[e]
            s1 += w[e] * tau[e]
            s2 += w[e] * tau[e] * tau[e]
            r0 += w[e] * y
            r1 += w[e] * tau[e] * y
            det = s0 * s2 - s1 * s1
            if det > 1e-9 * s0 * s2:
                p0 = (s2 * r0 - s1 * r1) / det
                p1 = (s0 * r1 - s1 * r0) / det
        score = 0.0
        for e in range(phi.size):
            score += w[e] * np.cos(phi[e] - p0 - p1 * tau[e])
        if score > best_score + 1e-9 * s0:
            best, best_score = p1, score
    return best


@numba.njit(cache=True, nogil=True)
def _fit_voxels(  # type: ignore[no-untyped-def]
    start, stop, phase, magnitude, inside, tau, order, maximum_iterations, smallest_step, maps
):
    """Fit every voxel inside of some blocks; fill slope, noise, residual and offset."""
    n_echoes, n = phase.shape
    phi = np.empty(n_echoes)
    w = np.empty(n_echoes)
    for k in range(start, stop):
        for i in range(k * BLOCK, min(n, (k + 1) * BLOCK)):
            if not inside[i]:
                continue
            s0, s1, s2, total = 0.0, 0.0, 0.0, 0.0
            for e in range(n_echoes):
                phi[e] = phase[e, i]
                m = np.float64(magnitude[e, i])
                w[e] = m * m
                total += phi[e]
                s0 += w[e]
                s1 += w[e] * tau[e]
                s2 += w[e] * tau[e] * tau[e]
            det = s0 * s2 - s1 * s1
            if not (np.isfinite(total) and np.isfinite(det) and det > 1e-9 * s0 * s2):
                continue

            p1 = _mean_advance(phi, w) if order.size == 0 else _best_line(phi, w, tau, order)
            re, im = 0.0, 0.0
            for e in range(n_echoes):
                re += w[e] * np.cos(phi[e] - p1 * tau[e])
                im += w[e] * np.sin(phi[e] - p1 * tau[e])
            p0 = np.arctan2(im, re)

            for _ in range(maximum_iterations):
                r0, r1 = 0.0, 0.0
                for e in range(n_echoes):
                    r = w[e] * np.sin(phi[e] - p0 - p1 * tau[e])
                    r0 += r
                    r1 += r * tau[e]
                d0 = (s2 * r0 - s1 * r1) / det
                d1 = (s0 * r1 - s1 * r0) / det
                p0 += d0
                p1 += d1
                if max(abs(d0), abs(d0 + d1 * tau[-1])) < smallest_step:
                    break

            left = 0.0
            for e in range(n_echoes):
                left += w[e] * (1 - np.cos(phi[e] - p0 - p1 * tau[e]))
            maps[0, i] = _wrap(p1)
            maps[1, i] = np.sqrt(s0 / det)
            maps[2, i] = 2 * left / s0
            maps[3, i] = _wrap(p0)
