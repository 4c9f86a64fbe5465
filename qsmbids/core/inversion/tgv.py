r"""Total generalised variation of second order: like TV, but smooth slopes cost nothing.

The objective, in radians of phase at the reference echo, is

.. math:: \min_{x, w} \sum W^2 (1 - \cos(Dx - y)) + \alpha_1 \sum_d \| r_d (\nabla_d x - w_d) \|_1
          + \alpha_0 \| \mathcal{E} w \|_1, \qquad
          (\mathcal{E} w)_{de} = \tfrac12 (\nabla_e w_d + \nabla_d w_e)

with the terms of :mod:`qsmbids.core.inversion.fansi` and w a slope that x may follow for free. The
linear data term is half the squared weighted misfit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.fansi import NEWTON_STEPS, FansiResult, mean_edge
from qsmbids.core.inversion.fansi_kernels import EDGE_FLOOR
from qsmbids.core.inversion.inversion_input import check_inversion
from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import crop, irfft, rfft, uncrop
from qsmbids.core.maths.gradient import difference, difference_adjoint, gradient, gradient_adjoint
from qsmbids.units import TWO_PI, radians_per_ppm

__all__ = ["solve_slope_step", "symmetric_adjoint", "symmetric_gradient", "tgv"]


#: Iterations with the linear data term first: from zero they bring moderate sources to the right
#: turn of the phase. Many more would fit stray unwrapping errors too closely to leave them again.
LINEAR_START = 10
#: Pairs of axes whose mixed differences stand once for both; the norms count them twice.
MIXED = ((0, 1), (0, 2), (1, 2))


def tgv(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    echo_time: float,
    gradient_l1_penalty: float = 5e-4,
    tgv_ratio: float = 2.0,
    gradient_consistency: float = 5e-2,
    fidelity_consistency: float = 1.0,
    tolerance_percent: float = 0.1,
    maximum_iterations: int = 400,
    nonlinear: bool = True,
    linear_start: int = LINEAR_START,
    margin: int = 24,
    n_threads: int = 1,
) -> FansiResult:
    r"""Return the susceptibility [ppm] behind a local field [Hz].

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4.
    weights : (X, Y, Z) ndarray
        Data weights >= 0 with a median near 1. A voxel of weight 0 inside the mask is inpainted.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    echo_time : float
        Reference echo time [s].
    gradient_l1_penalty : float
        alpha1, of what is left of the gradient.
    tgv_ratio : float
        alpha0 / alpha1, with alpha0 the penalty of the bending of the slope; 2 in the published
        solver.
    gradient_consistency, fidelity_consistency : float
        mu1 and mu2; the consistency of the slope is 2 mu1.
    tolerance_percent : float
        Stop when x changes by less than this [%].
    maximum_iterations : int
        Most iterations.
    nonlinear : bool
        Compare complex signals, blind to whole turns, instead of phases.
    linear_start : int
        Iterations with the linear data term before, see
        :func:`qsmbids.core.inversion.fansi.fansi`.
    margin : int
        Zeros around the bounding box of the mask [voxels].
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    FansiResult
        Without harmonic field: what is left of the background is not estimated.

    Raises
    ------
    ValueError
        A shape or parameter is wrong, the mask is empty, or the field or the weights in it are
        not finite, negative, or all zero.

    Notes
    -----
    Alternating directions with z1 = grad x - w, z0 = E w and z2 = Dx. The step for x and w is
    exact (:func:`solve_slope_step`). Ten transforms for each iteration and about 45 volumes of
    memory, two and a half times those of TV.

    References
    ----------
    Bredies K, Kunisch K, Pock T. Total generalized variation. SIAM J Imaging Sci 2010;3:492.
    doi:10.1137/090769521

    Milovic C, Bilgic B, Zhao B, Acosta-Cabronero J, Tejos C. Fast nonlinear susceptibility
    inversion with variational regularization. Magn Reson Med 2018;80:814. doi:10.1002/mrm.27073
    """
    mask = np.asarray(mask, dtype=bool)
    check_inversion(local_field, mask, weights)
    alpha1, alpha0 = gradient_l1_penalty, tgv_ratio * gradient_l1_penalty
    mu1, mu2 = gradient_consistency, fidelity_consistency
    numbers = (centre_frequency, echo_time, alpha1, alpha0, mu1, mu2, tolerance_percent)
    if not all(np.isfinite(v) and v > 0 for v in numbers):
        raise ValueError("frequency, echo time, penalties and tolerance must be > 0")
    if maximum_iterations < 1 or linear_start < 0:
        raise ValueError("the maximum of iterations must be > 0, and the linear ones >= 0")
    if margin < 0:
        raise ValueError("the margin must be >= 0")
    w_full = np.where(mask, weights, 0.0).astype(np.float32)
    box, pad = bounding_box(mask), (margin, margin, margin)
    phase = np.where(mask, local_field * (TWO_PI * echo_time), 0.0).astype(np.float32)
    w = crop(w_full, box, pad)
    grid = (w.shape[0], w.shape[1], w.shape[2])
    edges = np.maximum(np.abs(gradient(w)), EDGE_FLOOR)
    problem = _Problem(
        y=crop(phase, box, pad),
        w2=(w / w.max()) ** 2,
        kernel=dipole_kernel(grid, voxel_size, b0_direction),
        threshold1=np.float32(alpha1 / mu1 * mean_edge(w_full, "vector-absolute")) / edges,
        threshold0=np.float32(alpha0 / (2.0 * mu1)),
        mu=(2.0 * mu1, mu1, mu2),
    )
    start = linear_start if nonlinear else maximum_iterations
    x, n_iterations, update = _solve(
        problem, tolerance_percent, maximum_iterations, start, n_threads
    )
    x /= np.float32(radians_per_ppm(centre_frequency, echo_time))
    chi = np.where(mask, uncrop(x, mask.shape, box, pad), 0.0).astype(np.float32)  # type: ignore[arg-type]
    return FansiResult(chi, None, n_iterations, update, update < tolerance_percent)


def symmetric_gradient(w: FloatArray) -> FloatArray:
    """Return the six distinct entries of E w, diagonal first, of a (3, X, Y, Z) field."""
    rows = [difference(w[d], d) for d in range(3)]
    rows += [0.5 * (difference(w[d], e) + difference(w[e], d)) for d, e in MIXED]
    return np.stack(rows)


def symmetric_adjoint(tensor: FloatArray) -> FloatArray:
    """Return the adjoint of :func:`symmetric_gradient`, whose mixed entries count twice."""
    out = np.stack([difference_adjoint(tensor[d], d) for d in range(3)])
    for entry, (d, e) in zip(tensor[3:], MIXED, strict=True):
        out[d] += difference_adjoint(entry, e)
        out[e] += difference_adjoint(entry, d)
    return out


@dataclass(frozen=True)
class _Problem:
    """What stays the same between iterations; ``mu`` is that of E w, of grad x - w and of Dx."""

    y: FloatArray
    w2: FloatArray
    kernel: FloatArray
    threshold1: FloatArray
    threshold0: np.float32
    mu: tuple[float, float, float]


def solve_slope_step(
    first: npt.NDArray[np.complexfloating],
    slope: list[npt.NDArray[np.complexfloating]],
    symbols: tuple[npt.NDArray[np.complexfloating], ...],
    kernel: FloatArray,
    mu: tuple[float, float, float],
) -> tuple[npt.NDArray[np.complexfloating], list[npt.NDArray[np.complexfloating]]]:
    r"""Solve the coupled equations of x and w at every sample of k-space.

    Parameters
    ----------
    first, slope : spectra
        Right-hand sides of the equation of x and of the three of w.
    symbols : three arrays
        Symbols of the forward differences, broadcastable.
    kernel : ndarray
        Dipole.
    mu : tuple of float
        Weights of E w, of grad x - w and of Dx.

    Returns
    -------
    x : spectrum
        0 at k = 0.
    w : list of three spectra

    Notes
    -----
    With :math:`E` the column of symbols and :math:`L = E^H E`, the operator of E w is
    :math:`\tfrac12 (L + E E^H)`, a multiple of one plus rank one, which leaves for x

    .. math:: \left( \mu_2 D^2 + \frac{\mu_0 \mu_1 L^2}{\mu_1 + \mu_0 L} \right) x
              = b_x + \frac{\mu_1 E^H b_w}{\mu_1 + \mu_0 L}.
    """
    mu0, mu1, mu2 = (np.float32(m) for m in mu)
    lap = sum(np.abs(e) ** 2 for e in symbols)
    along = sum(np.conj(e) * s for e, s in zip(symbols, slope, strict=True))
    both = mu1 + mu0 * lap
    x = first + mu1 * along / both
    x /= mu2 * kernel**2 + mu0 * mu1 * lap**2 / both + np.float32(1e-12)
    x[0, 0, 0] = 0.0
    shared = mu1 * x - np.float32(0.5) * mu0 * (along + mu1 * lap * x) / both
    denominator = mu1 + np.float32(0.5) * mu0 * lap
    return x, [(s + e * shared) / denominator for e, s in zip(symbols, slope, strict=True)]


def _solve(
    p: _Problem,
    tolerance_percent: float,
    maximum_iterations: int,
    linear_start: int,
    n_threads: int,
) -> tuple[FloatArray, int, float]:
    """Iterate; return x [rad], the number of iterations and the last change [%]."""
    grid = (p.y.shape[0], p.y.shape[1], p.y.shape[2])
    mu0, mu1, mu2 = (np.float32(m) for m in p.mu)
    turn = [np.exp(2j * np.pi * np.arange(n) / n).astype(np.complex64) - 1 for n in grid]
    symbols = (turn[0][:, None, None], turn[1][:, None], turn[2][: grid[2] // 2 + 1])
    x: FloatArray = np.zeros_like(p.y)
    r1: FloatArray
    s1: FloatArray
    r0: FloatArray
    s0: FloatArray
    v: FloatArray
    r1, s1 = (np.zeros((3, *grid), np.float32) for _ in range(2))  # r = z - s
    r0, s0 = (np.zeros((6, *grid), np.float32) for _ in range(2))
    r2, s2 = p.w2 * p.y, np.zeros_like(p.y)
    for iteration in range(1, maximum_iterations + 1):
        first = mu2 * p.kernel * rfft(r2, n_threads)
        first += mu1 * rfft(gradient_adjoint(r1), n_threads)
        slope = [rfft(s, n_threads) for s in mu0 * symmetric_adjoint(r0) - mu1 * r1]
        spectrum, slope = solve_slope_step(first, slope, symbols, p.kernel, p.mu)
        previous, x = x, irfft(spectrum, grid, n_threads)
        size = np.linalg.norm(x.ravel().astype(np.float64))
        change = np.linalg.norm((x - previous).ravel().astype(np.float64))
        update = 100.0 * float(change / size) if size > 0 else 0.0
        if update < tolerance_percent or iteration == maximum_iterations:
            break
        w = np.stack([irfft(s, grid, n_threads, overwrite=True) for s in slope])
        field = irfft(spectrum * p.kernel, grid, n_threads, overwrite=True)

        v = gradient(x) - w + s1
        s1 = np.clip(v, -p.threshold1, p.threshold1)
        r1 = v - 2 * s1
        v = symmetric_gradient(w) + s0
        s0 = np.clip(v, -p.threshold0, p.threshold0)
        r0 = v - 2 * s0
        if iteration == linear_start + 1:
            s2 = np.zeros_like(s2)  # forget what pulls towards the turn of the data
        v = field + s2
        z2 = p.y + _misfit(v - p.y, p.w2, mu2, iteration > linear_start)
        s2 = v - z2
        r2 = z2 - s2
    return x, iteration, update


def _misfit(v: FloatArray, w2: FloatArray, mu2: np.float32, nonlinear: bool) -> FloatArray:
    """Return the angle a that minimises the data term of a plus ``mu2 / 2 (a - v)^2``."""
    if not nonlinear:
        return mu2 * v / (w2 + mu2)
    turns = np.float32(TWO_PI) * np.rint(v / np.float32(TWO_PI))
    angle = turns + mu2 * (v - turns) / (w2 + mu2)
    for _ in range(NEWTON_STEPS):
        slope = np.maximum(w2 * np.cos(angle) + mu2, EDGE_FLOOR)
        step = (w2 * np.sin(angle) + mu2 * (angle - v)) / slope
        angle -= np.clip(step, np.float32(-np.pi / 2), np.float32(np.pi / 2))
    return angle
