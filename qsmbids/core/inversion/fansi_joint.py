r"""FANSI's objective by alternating directions with susceptibility and harmonic field together.

The quadratic part of an iteration,

.. math:: \frac{\mu_1}{2} \| \nabla x - z_1 + s_1 \|^2 + \frac{\mu_2}{2} \| Dx + h - z_2 + s_2 \|^2
          + \frac{\mu_h}{2} \| \Delta h - z_h + s_h \|^2,

has one solution (x, h) for each frequency in k-space. FANSI's software takes the two in turn
(:mod:`qsmbids.core.inversion.fansi_alternating`): h has then taken what there is of low
frequencies before x sees them, and x finds its own over hundreds of iterations. Solved for
together there are two blocks of variables instead of three, over-relaxation by less than 2
converges (Eckstein and Bertsekas), and each iteration needs one transform less, since x is left
free outside the mask.

Without h the two are the same but for the over-relaxation; linear TV (linear data term, no h) is
convex. How the two compare on simulated heads stands in tests/benchmarks/METHODS.md.

The names and the symbols are those of :mod:`qsmbids.core.inversion.fansi_problem`.
"""

from collections.abc import Callable

import numba
import numpy as np

from qsmbids.core.inversion import fansi_kernels as loops
from qsmbids.core.inversion.fansi_kernels import ONE, TWO, fit_row, span
from qsmbids.core.inversion.fansi_problem import FansiProblem, FansiState
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.gradient import laplacian_symbols
from qsmbids.core.maths.parallel import planes

__all__ = ["minimise_jointly"]


#: From zero, n iterations end as far from the minimum as 1.8 n plain ones.
RELAXATION = 1.8
#: One changes x by this much more than a plain one that is as far from the minimum: its length,
#: and for linear TV waves outside the mask, which the data do not damp. The tolerance keeps its
#: meaning.
STEP, LINEAR_STEP = 1.7, 2.25


def minimise_jointly(
    p: FansiProblem,
    state: FansiState,
    tolerance_percent: float,
    maximum_iterations: int,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[FansiState, int, float]:
    """Iterate from a given state.

    Parameters
    ----------
    p : FansiProblem
        Data, weights and penalties, on the padded grid.
    state : FansiState
        Where to start; all but its x and h are overwritten. Nothing of it is kept that is not
        needed, so that a caller who lets go of it saves two volumes.
    tolerance_percent : float
        Stop when an iteration changes x by less than this [%], per plain iteration.
    maximum_iterations : int
        Most iterations.
    n_threads : int
        Threads of the transforms and loops; the result does not depend on them.
    progress : callable, optional
        Called after each iteration with its number and the change [%].

    Returns
    -------
    state : FansiState
        Where the iterations ended; h and u are zero without a weak harmonic field.
    n_iterations : int
        Iterations done.
    update : float
        Relative change of the last one [%], per plain iteration.

    References
    ----------
    Eckstein J, Bertsekas DP. On the Douglas-Rachford splitting method and the proximal point
    algorithm for maximal monotone operators. Math Program 1992;55:293. doi:10.1007/BF01581204
    """
    grid = (p.y.shape[0], p.y.shape[1], p.y.shape[2])
    symbols = laplacian_symbols(grid)
    mu1, mu2 = np.float32(p.gradient_consistency), np.float32(p.fidelity_consistency)
    muh, rho = np.float32(p.harmonic_consistency), np.float32(p.harmonic_share)
    relax = np.float32(RELAXATION)
    w_scale, edge, edges = np.float32(p.weight_scale), p.edge, p.edges
    x, u, s2, data, v = state.x, state.u, state.s2, state.data, state.v
    h = None if p.weak_harmonic else state.h  # else it is known at the end alone
    del state
    linear_tv = not (p.weak_harmonic or p.n_newton)
    counted = np.ones(grid, dtype=bool) if linear_tv else p.mask
    step = LINEAR_STEP if linear_tv else STEP
    bend = np.where(p.mask, TWO * rho - ONE, ONE) * u if p.weak_harmonic else u  # zh - sh
    source = np.empty_like(p.y)
    sums = np.empty((grid[0], 2))
    pace = ONE if p.n_newton else relax  # relaxed, a data term that is not convex can go in cycles

    with planes(grid[0], max(1, n_threads)) as run:
        for iteration in range(1, maximum_iterations + 1):
            run(loops.negative_divergence, v, edges, *edge, source)
            spectrum, spectra = rfft(source, n_threads), [rfft(data, n_threads)]
            if p.weak_harmonic:
                spectra.append(rfft(bend, n_threads))
                run(_solve_both, spectrum, *spectra, p.kernel, *symbols, mu1, mu2, muh)
            else:
                run(_solve_x, spectrum, *spectra, p.kernel, *symbols, mu1, mu2)
            previous, x = x, irfft(spectrum, grid, n_threads, overwrite=True)
            del spectrum
            run(loops.change_and_size, x, previous, counted, sums)
            del previous
            change, total = sums.sum(axis=0)
            update = 100.0 / step * float(np.sqrt(change / total)) if total > 0 else 0.0
            if progress is not None:
                progress(iteration, update)
            done = update < tolerance_percent and iteration >= p.least_iterations
            if done or iteration == maximum_iterations:
                break
            run(loops.update_gradient, v, x, edges, *edge, relax)
            fit = irfft(spectra.pop(0), grid, n_threads, overwrite=True)
            if p.n_newton and iteration == p.linear_start + 1:
                data += s2  # forget what pulls towards the turn of the data, right or wrong
                s2[:] = 0.0
            newton = p.n_newton if iteration > p.linear_start else 0
            run(_update_fidelity, fit, s2, data, p.y, p.weights, w_scale, mu2, pace, newton)
            del fit
            if p.weak_harmonic:
                bend = irfft(spectra.pop(), grid, n_threads, overwrite=True)
                run(_update_harmonic, bend, u, p.mask, rho, relax)
    if p.weak_harmonic:  # what was held last is Dx + h
        dx = rfft(x, n_threads)
        dx *= p.kernel
        h = irfft(spectra[0] - dx, grid, n_threads, overwrite=True)
    return FansiState(x, h, u, s2, data, v), iteration, update  # type: ignore[arg-type]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _solve_x(start, stop, divergence, data, kernel, lx, ly, lz, mu1, mu2):  # type: ignore[no-untyped-def]
    """Overwrite divergence by x, (mu1 div + mu2 D data) / (mu1 L + mu2 D^2), and data by Dx."""
    for i in range(start, stop):
        for j in range(data.shape[1]):
            g, f, d = divergence[i, j], data[i, j], kernel[i, j]
            lxy = lx[i] + ly[j]
            for k in range(d.size):
                scale = ONE / (mu1 * (lxy + lz[k]) + mu2 * d[k] * d[k] + np.float32(1e-12))
                g[k] = (mu1 * scale) * g[k] + (mu2 * d[k] * scale) * f[k]
                f[k] = d[k] * g[k]
    if start == 0:
        divergence[0, 0, 0] = 0.0
        data[0, 0, 0] = 0.0


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _solve_both(  # type: ignore[no-untyped-def]
    start, stop, divergence, data, bend, kernel, lx, ly, lz, mu1, mu2, muh
):
    """Overwrite divergence by x, data by Dx + h and bend by Lap h.

    h = (mu2 (data - Dx) + muh L bend) / B with B = mu2 + muh L^2, put into the equation for x:
    (mu1 L + mu2 D^2 muh L^2 / B) x = mu1 div + mu2 D muh L (L data - bend) / B.
    """
    for i in range(start, stop):
        for j in range(data.shape[1]):
            g, f, b, d = divergence[i, j], data[i, j], bend[i, j], kernel[i, j]
            lxy = lx[i] + ly[j]
            for k in range(d.size):
                lap = lxy + lz[k]
                inverse = ONE / (mu2 + muh * lap * lap)
                pull = mu2 * d[k] * muh * lap * inverse
                scale = ONE / (mu1 * lap + pull * d[k] * lap + np.float32(1e-12))
                x = (mu1 * scale) * g[k] + (pull * scale) * (lap * f[k] - b[k])
                dx = d[k] * x
                h = inverse * (mu2 * (f[k] - dx) + muh * lap * b[k])
                g[k] = x
                f[k] = dx + h
                b[k] = lap * h
    if start == 0:
        divergence[0, 0, 0] = 0.0  # there D and L are zero: dx and h are right


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _update_fidelity(  # type: ignore[no-untyped-def]
    start, stop, fit, s2, data, y, w, w_scale, mu2, relax, n_newton
):
    """Fit z2 to the data; overwrite s2 by its next value and data, z2 - s2, too.

    Where there is no weight z2 is what it is consistent with, and s2 is zero.
    """
    phases = np.empty(fit.shape[2], dtype=np.float32)
    for i in range(start, stop):
        for j in range(fit.shape[1]):
            first, last = span(w[i, j])
            misfit, f = fit[i, j], data[i, j]
            for k in range(first):
                f[k] = relax * misfit[k] + (ONE - relax) * f[k]
            for k in range(last, f.size):
                f[k] = relax * misfit[k] + (ONE - relax) * f[k]
            misfit, s, f = misfit[first:last], s2[i, j, first:last], f[first:last]
            ww, yy, phase = w[i, j, first:last], y[i, j, first:last], phases[first:last]
            for k in range(s.size):  # relax (Dx + h) + (1 - relax) z2 + s2 - y
                misfit[k] = relax * misfit[k] + (ONE - relax) * (f[k] + s[k]) + s[k] - yy[k]
            fit_row(phase, misfit, ww, w_scale, mu2, n_newton)
            for k in range(s.size):
                s[k] = misfit[k] - phase[k]
                f[k] = yy[k] + phase[k] - s[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _update_harmonic(start, stop, bend, u, mask, rho, relax):  # type: ignore[no-untyped-def]
    """Overwrite u by relax Lap h + (1 - relax) zh + sh, and Lap h by zh - sh."""
    keep = (ONE - relax) * rho + ONE - rho  # zh = rho u and sh = (1 - rho) u, u and 0 outside
    inner = TWO * rho - ONE
    for i in range(start, stop):
        for j in range(bend.shape[1]):
            b, uu, m = bend[i, j], u[i, j], mask[i, j]
            for k in range(b.size):
                uu[k] = relax * b[k] + (keep if m[k] else ONE - relax) * uu[k]
                b[k] = (inner if m[k] else ONE) * uu[k]
