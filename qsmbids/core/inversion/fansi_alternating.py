r"""The iterations of FANSI's own software: susceptibility and harmonic field in turn.

For reproducing published maps; :mod:`qsmbids.core.inversion.fansi_joint` minimises the same
objective faster. Here h follows the data before x is solved for the next time, so that x only sees
what h leaves of the low frequencies; what it lacks there it gets over hundreds of iterations.
"""

from collections.abc import Callable

import numba
import numpy as np

from qsmbids.core.inversion import fansi_kernels as loops
from qsmbids.core.inversion.fansi_kernels import ONE, SIX, TWO, ZERO, fit_row
from qsmbids.core.inversion.fansi_problem import FansiProblem, FansiState
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.gradient import laplacian_symbols
from qsmbids.core.maths.parallel import planes

__all__ = ["minimise_alternating"]


def minimise_alternating(
    p: FansiProblem,
    state: FansiState,
    tolerance_percent: float,
    maximum_iterations: int,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[FansiState, int, float]:
    """Iterate from a given state.

    Parameters and results are those of
    :func:`qsmbids.core.inversion.fansi_joint.minimise_jointly`. With a weak harmonic field x is
    zero outside the mask.
    """
    grid = (p.y.shape[0], p.y.shape[1], p.y.shape[2])
    lx, ly, lz = laplacian_symbols(grid)
    mu1, mu2 = np.float32(p.gradient_consistency), np.float32(p.fidelity_consistency)
    muh, rho = np.float32(p.harmonic_consistency), np.float32(p.harmonic_share)
    w_scale, edge, edges = np.float32(p.weight_scale), p.edge, p.edges
    x, h, u, s2, data, v = state.x, state.h, state.u, state.s2, state.data, state.v
    source = np.empty_like(p.y)  # what is transformed next: the divergence, then that of h
    sums, everywhere = np.empty((grid[0], 2)), np.ones(grid, dtype=bool)

    with planes(grid[0], max(1, n_threads)) as run:
        for iteration in range(1, maximum_iterations + 1):
            run(loops.negative_divergence, v, edges, *edge, source)
            spectrum, other = rfft(data, n_threads), rfft(source, n_threads)
            run(_combine_spectra, other, spectrum, p.kernel, lx, ly, lz, mu1, mu2)
            del other
            previous = x
            x = irfft(spectrum, grid, n_threads, overwrite=p.weak_harmonic)
            if p.weak_harmonic:
                x *= p.mask
            run(loops.change_and_size, x, previous, everywhere, sums)
            change, total = sums.sum(axis=0)
            update = 100.0 * float(np.sqrt(change / total)) if total > 0 else 0.0
            if progress is not None:
                progress(iteration, update)
            done = update < tolerance_percent and iteration >= p.least_iterations
            if done or iteration == maximum_iterations:
                break
            del previous

            run(loops.update_gradient, v, x, edges, *edge, ONE)
            if p.weak_harmonic:  # the mask has changed x
                spectrum = rfft(x, n_threads)
            spectrum *= p.kernel
            b = irfft(spectrum, grid, n_threads, overwrite=True)
            if p.n_newton and iteration == p.linear_start + 1:
                s2[:] = 0.0  # forget what pulls towards the turn of the data, right or wrong
            run(
                _update_fidelity, source, b, h, s2, p.y, p.weights, u, p.mask,
                w_scale, mu2, rho, muh, p.n_newton if iteration > p.linear_start else 0,
            )  # fmt: skip
            if p.weak_harmonic:
                spectrum = rfft(source, n_threads)
                run(_harmonic_spectrum, spectrum, lx, ly, lz, mu2, muh)
                h = irfft(spectrum, grid, n_threads, overwrite=True)
            run(_update_duals, h, s2, b, u, p.mask, rho)
            s2, data = b, s2
    return FansiState(x, h, u, s2, data, v), iteration, update


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _combine_spectra(start, stop, divergence, data, kernel, lx, ly, lz, mu1, mu2):  # type: ignore[no-untyped-def]
    """Overwrite data by the new x, (mu1 divergence + mu2 D data) / (mu1 L + mu2 D^2)."""
    for i in range(start, stop):
        for j in range(data.shape[1]):
            g, f, d = divergence[i, j], data[i, j], kernel[i, j]
            lxy = lx[i] + ly[j]
            for k in range(d.size):
                scale = ONE / (mu1 * (lxy + lz[k]) + mu2 * d[k] * d[k] + np.float32(1e-12))
                f[k] = (mu1 * scale) * g[k] + (mu2 * d[k] * scale) * f[k]
    if start == 0:
        data[0, 0, 0] = 0.0


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _update_fidelity(  # type: ignore[no-untyped-def]
    start, stop, source, dx, h, s2, y, w, u, mask, w_scale, mu2, rho, muh, n_newton
):
    """Fit z2 to the data; overwrite s2 by z2 and dx by b = z2 - s2 - dx; fill the source of h.

    The source is mu2 b + muh Lap(zh - sh).
    """
    nx, ny, nz = dx.shape
    inner = TWO * rho - ONE
    for i in range(start, stop):
        phase, misfit = np.empty(nz + 2, dtype=np.float32), np.empty(nz, dtype=np.float32)
        for j in range(ny):
            d, hh, s, yy = dx[i, j], h[i, j], s2[i, j], y[i, j]
            for k in range(nz):
                misfit[k] = d[k] + hh[k] + s[k] - yy[k]
            fit_row(phase, misfit, w[i, j], w_scale, mu2, n_newton)
            for k in range(nz):
                z = yy[k] + phase[k]
                d[k] = z - s[k] - d[k]
                s[k] = z

            u0, ui, ui_ = u[i, j], u[(i + 1) % nx, j], u[(i + nx - 1) % nx, j]
            uj, uj_ = u[i, (j + 1) % ny], u[i, (j + ny - 1) % ny]
            m0, mi, mi_ = mask[i, j], mask[(i + 1) % nx, j], mask[(i + nx - 1) % nx, j]
            mj, mj_ = mask[i, (j + 1) % ny], mask[i, (j + ny - 1) % ny]
            for k in range(nz):
                phase[k + 1] = u0[k] * (inner if m0[k] else ONE)
            phase[0], phase[nz + 1] = phase[nz], phase[1]
            o = source[i, j]
            for k in range(nz):
                o[k] = mu2 * d[k] + muh * (
                    SIX * phase[k + 1]
                    - phase[k]
                    - phase[k + 2]
                    - ui[k] * (inner if mi[k] else ONE)
                    - ui_[k] * (inner if mi_[k] else ONE)
                    - uj[k] * (inner if mj[k] else ONE)
                    - uj_[k] * (inner if mj_[k] else ONE)
                )


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _harmonic_spectrum(start, stop, source, lx, ly, lz, mu2, muh):  # type: ignore[no-untyped-def]
    """Overwrite source by the new h, source / (mu2 + muh L^2)."""
    for i in range(start, stop):
        for j in range(source.shape[1]):
            f = source[i, j]
            lxy = lx[i] + ly[j]
            for k in range(f.size):
                lap = lxy + lz[k]
                f[k] *= ONE / (mu2 + muh * lap * lap)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _update_duals(start, stop, h, z2, b, u, mask, rho):  # type: ignore[no-untyped-def]
    """Overwrite b by s2, z2 by z2 - s2 - h (the next data), and u by Lap h + sh."""
    nx, ny, nz = h.shape
    keep = ONE - rho
    for i in range(start, stop):
        row = np.empty(nz + 2, dtype=np.float32)
        for j in range(ny):
            h0, hi, hi_ = h[i, j], h[(i + 1) % nx, j], h[(i + nx - 1) % nx, j]
            hj, hj_ = h[i, (j + 1) % ny], h[i, (j + ny - 1) % ny]
            z, bb, uu, m = z2[i, j], b[i, j], u[i, j], mask[i, j]
            for k in range(nz):
                z[k] += bb[k] - TWO * h0[k]
                bb[k] = h0[k] - bb[k]
            for k in range(nz):
                row[k + 1] = h0[k]
            row[0], row[nz + 1] = h0[nz - 1], h0[0]
            for k in range(nz):
                lap = SIX * row[k + 1] - row[k] - row[k + 2] - hi[k] - hi_[k] - hj[k] - hj_[k]
                uu[k] = lap + (keep * uu[k] if m[k] else ZERO)
