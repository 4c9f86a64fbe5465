r"""Where the iterations of FANSI start: a linear least-squares map without outliers.

The cosine of FANSI's data term has a minimum at every whole turn of the phase. A calcification
turns the phase around it many times at the reference echo, has no signal itself, and some voxels
beside it are unwrapped wrongly. The iterations fill such a hole slowly, and from zero they have
locked in at wrong turns long before. So the field of strong sources is found first, from

.. math:: \min_x \sum \frac{s^2 W^2 (Dx - y)^2}{s^2 + (Dx - y)^2}
          + \lambda \sum_d \| q_d \nabla_d x \|^2, \qquad
          q_d = \frac{m}{\max(|\nabla_d W|, m)},

with m the mean of :math:`|\nabla_d W|` in the mask: x may jump where the weights do, as at the
edge of a source without signal, and voxels s or more off have little say. Data that are further
off still are moved to the nearest turn, which leaves the cosine as it is. From these the map is
found once more, so smooth that stray wrong turns of single voxels do not show in it.

Each problem is a weighted one, solved by a few conjugate gradient steps of four transforms,
preconditioned by its symbol in k-space as if there were neither holes nor edges.
"""

from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np

from qsmbids.core.inversion.fansi_kernels import EDGE_FLOOR, ONE, PER_TURN, TURN, TWO, ZERO
from qsmbids.core.inversion.fansi_problem import FansiProblem, FansiState
from qsmbids.core.maths.arrays import Float32Array, Mask, SpectrumArray
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.gradient import gradient, laplacian_symbols
from qsmbids.core.maths.masked import mean_in
from qsmbids.core.maths.parallel import Run, planes

__all__ = ["least_squares_map", "least_squares_start"]


#: Misfit [rad] of data that are not to be trusted. Wrong turns are those of an early echo, several
#: at the reference echo.
OUTLIER = 10.0
#: Weight of the gradient while strong sources are found, and of the map to start from.
FINE, SMOOTH = 1e-2, 3e-2
#: Conjugate gradient steps of each problem.
STEPS = 4
#: They end before with this part of the square of the data, all that single precision has.
ROUNDING = 1e-10
#: The strong sources that are there from the start make up most of the size of x, of which the
#: tolerance is a part; the tissue is not.
LEAST_ITERATIONS = 20


def least_squares_start(p: FansiProblem, n_threads: int = 1) -> tuple[FansiProblem, FansiState]:
    """Return what the iterations start from, and the problem with data at the right turns.

    Parameters
    ----------
    p : FansiProblem
        Data, weights and penalties, on the padded grid.
    n_threads : int
        Threads of the transforms and loops; the result does not depend on them.

    Returns
    -------
    problem : FansiProblem
        The same, with whole turns added to the data that are far off.
    state : FansiState
        z1 is the gradient of the map, z2 its field drawn to the data; h and the duals are zero.
    """
    x, phase, y = least_squares_map(p, n_threads)
    weight = (np.float32(p.weight_scale) * p.weights) ** 2
    z2 = phase - weight * (phase - y) / (weight + np.float32(p.fidelity_consistency))
    h, u, s2 = (np.zeros_like(x) for _ in range(3))
    state = FansiState(x, h, u, s2, z2, gradient(x))
    return replace(p, y=y, least_iterations=LEAST_ITERATIONS), state


def least_squares_map(
    p: FansiProblem, n_threads: int = 1, settled: bool = True
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return the map, its field and the data at the right turns [rad], on the padded grid.

    Parameters are those of :func:`least_squares_start`, and ``settled``: whether the map is made
    once more, smoother, of the data at the right turns.

    References
    ----------
    Black MJ, Rangarajan A. On the unification of line processes, outlier rejection, and robust
    statistics with applications in early vision. Int J Comput Vis 1996;19:57.
    doi:10.1007/BF00131148 (the data term, and its minimum by weighted problems).
    """
    with planes(p.y.shape[0], max(1, n_threads)) as run:
        system = _System(p, run, n_threads)
        phase = system.solve(p.y, np.zeros_like(p.y), np.inf, FINE)
        phase = system.solve(p.y, phase, OUTLIER, FINE)
        y = np.empty_like(p.y)
        run(_to_turns, y, phase, p.y)
        if settled:
            phase = system.solve(y, phase, np.inf, SMOOTH)
        return system.map(), phase, y


class _System:
    """The weighted problems and the spectrum of their solution so far."""

    def __init__(self, p: FansiProblem, run: Run, n_threads: int) -> None:
        self.p, self.run, self.n_threads = p, run, n_threads
        self.grid = (p.y.shape[0], p.y.shape[1], p.y.shape[2])
        self.symbols = laplacian_symbols(self.grid)
        self.edges = np.float32(p.weight_scale) * p.weights
        self.floor = _mean_difference(self.edges, p.mask, run)
        self.weights = np.empty_like(p.y)
        self.x = np.zeros(p.kernel.shape, np.complex64)
        self.sums = np.empty(self.grid[0])

    def map(self) -> Float32Array:
        """Return x; the system is of no use any more."""
        return irfft(self.x, self.grid, self.n_threads, overwrite=True)  # type: ignore[return-value]

    def solve(
        self, y: Float32Array, phase: Float32Array, outlier: float, smoothness: float
    ) -> Float32Array:
        """Go on to the solution for data y, with outliers those of ``phase``; return its field."""
        p, run, lambda_ = self.p, self.run, np.float32(smoothness)
        run(_data_weights, self.weights, self.edges, phase, y, np.float32(1.0 / outlier))
        mean = np.float32(mean_in(self.weights, p.mask, self.n_threads))
        inverse = (p.kernel, *self.symbols, mean, lambda_)
        weighted = np.empty_like(y)
        run(_times, weighted, self.weights, y)
        residual = rfft(weighted, self.n_threads)
        run(_times, residual, p.kernel, residual)
        size = self._sum(_scaled_square, residual, *inverse)
        if self.x.any():
            residual -= self._apply(self.x, lambda_)
        direction, keep = np.zeros_like(self.x), np.float32(0)
        scaled = self._sum(_scaled_square, residual, *inverse)
        for _ in range(STEPS):
            if scaled <= ROUNDING * size:
                break
            run(_next_direction, direction, residual, *inverse, keep)
            image = self._apply(direction, lambda_)
            curvature = self._sum(_product, direction, image)
            run(_advance, self.x, residual, direction, image, np.float32(scaled / curvature))
            before, scaled = scaled, self._sum(_scaled_square, residual, *inverse)
            keep = np.float32(scaled / before)
        run(_times, direction, p.kernel, self.x)
        return irfft(direction, self.grid, self.n_threads, overwrite=True)  # type: ignore[return-value]

    def _apply(self, spectrum: SpectrumArray, lambda_: np.float32) -> SpectrumArray:
        """Return (D W^2 D + lambda G' q^2 G) of a spectrum."""
        grid, n = self.grid, self.n_threads
        data = np.empty_like(spectrum)
        self.run(_times, data, self.p.kernel, spectrum)
        field = irfft(data, grid, n, overwrite=True)
        self.run(_times, field, self.weights, field)
        data = rfft(field, n)  # type: ignore[assignment]
        volume = irfft(spectrum.copy(), grid, n, overwrite=True)
        self.run(_roughness, volume, self.edges, self.floor, lambda_, field)
        self.run(_combine, data, self.p.kernel, rfft(field, n))
        data[0, 0, 0] = 0.0  # the mean of x is not defined
        return data

    def _sum(self, loop: Callable[..., None], *volumes: object) -> float:
        self.run(loop, *volumes, self.grid[2], self.sums)
        return float(self.sums.sum())


def _mean_difference(volume: Float32Array, mask: Mask, run: Run) -> np.float32:
    """Return the mean size of the differences between neighbours that are both in the mask."""
    sums = np.empty((volume.shape[0], 3, 2))
    run(_differences, volume, mask, sums)
    total, n = sums.sum(axis=0).T
    means = total[n > 0] / n[n > 0]  # not across a single slice
    return np.float32(max(np.mean(means), EDGE_FLOOR)) if means.size else EDGE_FLOOR


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _differences(start, stop, volume, mask, sums):  # type: ignore[no-untyped-def]
    """Fill sums by the sizes of differences in the mask and their number: per plane and axis."""
    nx, ny, nz = volume.shape
    for i in range(start, stop):
        sums[i, :, :] = 0
        for j in range(ny):
            v, vi, vj = volume[i, j], volume[(i + 1) % nx, j], volume[i, (j + 1) % ny]
            m, mi, mj = mask[i, j], mask[(i + 1) % nx, j], mask[i, (j + 1) % ny]
            for axis in range(3):
                total, n = ZERO, 0
                for k in range(nz):
                    after = k + 1 if k + 1 < nz else 0
                    if axis == 2:
                        step, both = v[after] - v[k], m[k] and m[after]
                    elif axis == 1:
                        step, both = vj[k] - v[k], m[k] and mj[k]
                    else:
                        step, both = vi[k] - v[k], m[k] and mi[k]
                    total += abs(step) if both else ZERO
                    n += both
                sums[i, axis, 0] += float(total)
                sums[i, axis, 1] += n


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _data_weights(start, stop, weights, w, phase, y, per_outlier):  # type: ignore[no-untyped-def]
    """Fill weights by W^2 / (1 + (misfit / s)^2)^2."""
    for i in range(start, stop):
        for j in range(y.shape[1]):
            o, ww, f, yy = weights[i, j], w[i, j], phase[i, j], y[i, j]
            for k in range(o.size):
                misfit = per_outlier * (f[k] - yy[k])
                least = ww[k] / (ONE + misfit * misfit)
                o[k] = least * least


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _to_turns(start, stop, out, phase, y):  # type: ignore[no-untyped-def]
    """Fill out by the data, at the nearest turn where they are far off."""
    for i in range(start, stop):
        for j in range(y.shape[1]):
            o, f, yy = out[i, j], phase[i, j], y[i, j]
            for k in range(o.size):
                misfit = f[k] - yy[k]
                far = abs(misfit) > np.float32(OUTLIER)
                o[k] = yy[k] + (TURN * np.rint(misfit * PER_TURN) if far else ZERO)


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _pull(x0, x1, w0, w1, floor):  # type: ignore[no-untyped-def]
    """Weighted difference q^2 (x0 - x1) of two neighbours."""
    q = floor / max(abs(w0 - w1), floor)
    return q * q * (x0 - x1)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _roughness(start, stop, x, w, floor, scale, out):  # type: ignore[no-untyped-def]
    """Fill out by scale G' q^2 G x, periodic."""
    nx, ny, nz = x.shape
    for i in range(start, stop):
        ia, ib = (i + 1) % nx, (i + nx - 1) % nx
        for j in range(ny):
            ja, jb = (j + 1) % ny, (j + ny - 1) % ny
            x0, w0, o = x[i, j], w[i, j], out[i, j]
            xa, xb, xc, xd = x[ia, j], x[ib, j], x[i, ja], x[i, jb]
            wa, wb, wc, wd = w[ia, j], w[ib, j], w[i, ja], w[i, jb]
            for k in range(nz):
                pull = _pull(x0[k], xa[k], w0[k], wa[k], floor)
                o[k] = pull + _pull(x0[k], xb[k], w0[k], wb[k], floor)
            for k in range(nz):
                pull = _pull(x0[k], xc[k], w0[k], wc[k], floor)
                o[k] += pull + _pull(x0[k], xd[k], w0[k], wd[k], floor)
            around = _pull(x0[nz - 1], x0[0], w0[nz - 1], w0[0], floor)
            before = around
            for k in range(nz - 1):
                here = _pull(x0[k], x0[k + 1], w0[k], w0[k + 1], floor)
                o[k] = scale * (o[k] + here - before)
                before = here
            o[nz - 1] = scale * (o[nz - 1] + around - before)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _combine(start, stop, data, kernel, penalty):  # type: ignore[no-untyped-def]
    """Overwrite data by D data + penalty."""
    for i in range(start, stop):
        for j in range(data.shape[1]):
            f, d, g = data[i, j], kernel[i, j], penalty[i, j]
            for k in range(f.size):
                f[k] = d[k] * f[k] + g[k]


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _inverse(d, lap, mean, smoothness):  # type: ignore[no-untyped-def]
    """Return the inverse of the operator of even weights and no edges."""
    return ONE / (mean * d * d + smoothness * lap + np.float32(1e-6))


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _share(k, nz):  # type: ignore[no-untyped-def]
    """How often a sample of the half spectrum stands in the whole one."""
    return ONE if k == 0 or 2 * k == nz else TWO


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _scaled_square(start, stop, r, kernel, lx, ly, lz, mean, smoothness, nz, sums):  # type: ignore[no-untyped-def]
    """Fill sums by the inner product of r and the preconditioned r, per plane."""
    for i in range(start, stop):
        total = 0.0
        for j in range(r.shape[1]):
            row, rr, d = ZERO, r[i, j], kernel[i, j]
            for k in range(rr.size):
                square = rr[k].real * rr[k].real + rr[k].imag * rr[k].imag
                inverse = _inverse(d[k], lx[i] + ly[j] + lz[k], mean, smoothness)
                row += _share(k, nz) * inverse * square
            total += float(row)
        sums[i] = total


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _next_direction(start, stop, p, r, kernel, lx, ly, lz, mean, smoothness, keep):  # type: ignore[no-untyped-def]
    """Overwrite p by the preconditioned r + keep p."""
    for i in range(start, stop):
        for j in range(p.shape[1]):
            pp, rr, d = p[i, j], r[i, j], kernel[i, j]
            for k in range(pp.size):
                inverse = _inverse(d[k], lx[i] + ly[j] + lz[k], mean, smoothness)
                pp[k] = inverse * rr[k] + keep * pp[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _product(start, stop, a, b, nz, sums):  # type: ignore[no-untyped-def]
    """Fill sums by the inner product of two half spectra, per plane."""
    for i in range(start, stop):
        total = 0.0
        for j in range(a.shape[1]):
            row, p, q = ZERO, a[i, j], b[i, j]
            for k in range(p.size):
                product = p[k].real * q[k].real + p[k].imag * q[k].imag
                row += _share(k, nz) * product
            total += float(row)
        sums[i] = total


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _advance(start, stop, x, r, p, q, length):  # type: ignore[no-untyped-def]
    """Go along p: x += length p, r -= length q."""
    for i in range(start, stop):
        for j in range(x.shape[1]):
            xx, rr, pp, qq = x[i, j], r[i, j], p[i, j], q[i, j]
            for k in range(xx.size):
                xx[k] += length * pp[k]
                rr[k] -= length * qq[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _times(start, stop, out, factor, spectrum):  # type: ignore[no-untyped-def]
    """Fill out by a spectrum, or a volume, times real factors."""
    for i in range(start, stop):
        for j in range(out.shape[1]):
            o, f, s = out[i, j], factor[i, j], spectrum[i, j]
            for k in range(o.size):
                o[k] = f[k] * s[k]
