r"""The iterations of the adaptive inversion: data, Huber's gradient, a local square, harmonics.

All in ppm of field and susceptibility, on the padded grid,

.. math:: \min_{x, h} \tfrac12 \sum m (D x + h - f)^2 + \tfrac{1}{2} \sum t x^2
          + \lambda \sum \mathrm{Huber}_g(|\nabla x|)
          + \tfrac{\beta}{2} \sum_{mask} (\nabla^2 h)^2 + \tfrac{\gamma}{2} \sum h^2
          + \tfrac{q}{2} \sum_k |k|^3 |\hat x|^2

with m the squared data weights of mean 1 (0 outside the mask and in holes), t one number for each
voxel, and Huber's function g |x| - g^2 / 2 beyond g, divided by g. Low bands of x may be held by
place as well (:mod:`qsmbids.core.inversion.adaptive_bands`). h is what the background
removal left: it is smooth in the mask, and has the lower half of the frequencies. Alternating
directions with z1 = grad x, z2 = Dx + h, z3 = x and z4 = Lap h, x and h solved for together,
over-relaxed; for each iteration four transforms, and two of the half grid. A gradient is a
difference over the voxel's length, times the geometric mean of the three.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion import adaptive_kernels as loops
from qsmbids.core.inversion.adaptive_bands import BandSplit, LowBands
from qsmbids.core.inversion.fansi_kernels import change_and_size
from qsmbids.core.inversion.half_grid import HalfGrid
from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.gradient import gradient_length, laplacian_symbols, with_next
from qsmbids.core.maths.masked import mean_in
from qsmbids.core.maths.parallel import planes

__all__ = [
    "AdaptiveProblem",
    "Minimiser",
    "Penalties",
    "frequency_radius",
    "gradient_steps",
    "mean_gradient",
    "square_frequencies",
]


#: More than this overshoots, and takes more iterations for the same map.
RELAXATION = 1.6
#: Least consistency of z3.
NU_FLOOR = 1e-4
#: Of the Laplacian of the harmonic field in the mask, and its consistency, as in FANSI.
BETA, MUH = 150.0, 3.0
#: Huber's width over the threshold; without a width it is the length of the gradient.
SHARPEST = 1e-3


@dataclass(frozen=True)
class AdaptiveProblem:
    """What stays the same between iterations, on the padded grid.

    Attributes
    ----------
    field : ndarray of float32
        Local field [ppm], 0 where its weight is.
    weights : ndarray of float32
        Squared data weights m, of mean 1 in the mask.
    mask : ndarray of bool
        Where the susceptibility is wanted.
    kernel : ndarray of float32
        Unit dipole on the half spectrum.
    steps : (3,) ndarray of float32
        What a difference of neighbours is multiplied by, of :func:`gradient_steps`.
    n_threads : int
        Threads of the transforms and loops; the result does not depend on them.
    """

    field: Float32Array
    weights: Float32Array
    mask: Mask
    kernel: Float32Array
    steps: Float32Array
    n_threads: int = 1

    @property
    def grid(self) -> tuple[int, int, int]:
        """Shape of the padded grid."""
        return self.field.shape[0], self.field.shape[1], self.field.shape[2]

    def less(self, part: Float32Array) -> "AdaptiveProblem":
        """Return the problem without a part of its field."""
        field = np.where(self.weights > 0, self.field - part, 0).astype(np.float32)
        return replace(self, field=field)

    def dipole(self, x: Float32Array) -> Float32Array:
        """Return the field of a susceptibility map."""
        spectrum = rfft(x, self.n_threads)
        spectrum *= self.kernel
        return irfft(spectrum, self.grid, self.n_threads, overwrite=True)  # type: ignore[return-value]


@dataclass(frozen=True)
class Penalties:
    """The numbers of the objective, and two of the iterations, which have no bearing on it.

    Attributes
    ----------
    tikhonov : float
        t, before it is made local.
    gradient : float
        lambda [ppm].
    huber : float
        g [ppm]; 0 for total variation.
    threshold : float
        lambda over the consistency of z1 [ppm]: says how fast the iterations go where.
    harmonic : float
        gamma; the larger, the smaller the harmonic field.
    low : float
        Of the low bands, before it is made local.
    high : float
        q: of the spectrum of x, times the third power of the frequency [cycles per mean length of
        a voxel].
    fidelity : float
        Consistency of z2, for data weights of mean 1; likewise of the iterations.
    """

    tikhonov: float
    gradient: float
    huber: float
    threshold: float
    harmonic: float = 0.0
    low: float = 0.0
    high: float = 0.0
    fidelity: float = 1.0


class Minimiser:
    """Iterations that can be stopped, given another local square, and gone on with.

    They start from a map, or from others of the same grid: with their map, harmonic field and
    split gradient. ``bands`` are the low bands, where the penalties hold any.
    """

    def __init__(
        self,
        problem: AdaptiveProblem,
        penalties: Penalties,
        start: "Float32Array | Minimiser",
    ) -> None:
        self.problem = problem
        self.update_percent = 100.0
        self._symbols = tuple(
            np.float32(s) ** 2 * symbol
            for s, symbol in zip(problem.steps, laplacian_symbols(problem.grid), strict=True)
        )
        mu1 = penalties.gradient / penalties.threshold
        self._mu1, self._mu2 = np.float32(mu1), np.float32(penalties.fidelity)
        self._nu = np.float32(max(penalties.tikhonov, NU_FLOOR))
        bend = max(penalties.huber / penalties.threshold, SHARPEST)
        self._huber = np.float32(penalties.threshold), np.float32(bend)
        self._size = np.float32(penalties.harmonic)
        self._half = HalfGrid(problem.grid, problem.n_threads)
        self._calm = np.ascontiguousarray(problem.mask[self._half.picked])
        if isinstance(start, Minimiser):
            self._go_on_from(start)
        else:
            self._start_from(start)
        self._tikhonov = np.float32(penalties.tikhonov)
        self._ridge = np.full(problem.grid, self._tikhonov)
        self._y = self.x * (1 + self._tikhonov / self._nu)
        self._p = self._fit.copy()
        with planes(problem.grid[0], problem.n_threads) as run:  # from data of no weight
            run(loops.change_data, self._p, problem.field, np.zeros_like(problem.weights),
                problem.field, problem.weights, self._mu2)  # fmt: skip
        self.bands = LowBands(self._half, penalties.low) if penalties.low > 0 else None
        self._split: BandSplit | None = None
        self._high: Float32Array | None = None
        if penalties.high > 0:
            radius = frequency_radius(problem.grid, 1 / problem.steps)
            self._high = np.float32(penalties.high) * radius**3

    def _start_from(self, x: Float32Array) -> None:
        """Begin with a map, without a harmonic field; the gradient is split as at a minimum."""
        self.x, self._fit, self.n_iterations = x, self.problem.dipole(x), 0
        self._u = np.zeros(self._half.half, dtype=np.float32)
        self._bend = self._u.copy()
        self._local = np.ones_like(x)
        self._v, self._share = np.empty((3, *x.shape), dtype=np.float32), np.empty_like(x)
        with planes(x.shape[0], self.problem.n_threads) as run:
            run(loops.start_gradient, self._v, self._share, x, self.problem.steps, *self._huber)

    def _go_on_from(self, before: "Minimiser") -> None:
        """Begin where other iterations are, which stay as they are."""
        self.x, self._fit, self.n_iterations = before.x, before.fit, before.n_iterations
        self._u, self._bend = before._u.copy(), before._bend.copy()
        self._local = before._local
        self._v, self._share = before._v.copy(), before._share.copy()
        self._scale_gradient_dual(self._local, self._local, self._huber[0] / before._huber[0])

    @property
    def fit(self) -> Float32Array:
        """The field Dx + h as it is."""
        return self._fit

    @property
    def harmonic(self) -> Float32Array:
        """The harmonic field h [ppm]."""
        return self._fit - self.problem.dipole(self.x)

    def reweigh(self, square: Float32Array | None, gradient: Float32Array) -> None:
        """Make the square term local, t times ``square``, and lambda, times ``gradient``."""
        if square is not None:
            with planes(self.problem.grid[0], self.problem.n_threads) as run:
                run(loops.hold_map, self._y, self._ridge, square, self._tikhonov, self._nu)
        self._scale_gradient_dual(self._local, gradient, np.float32(1))
        self._local = gradient

    def hold_bands(self, weights: list[Float32Array] | None) -> None:
        """Hold the low bands by weights on the half grid; by nothing where there are none."""
        self._split = None
        if weights is not None and self.bands is not None:
            self._split = BandSplit(self.bands, self.x, weights, np.float32(RELAXATION))

    def _scale_gradient_dual(
        self, before: Float32Array, local: Float32Array, factor: np.float32
    ) -> None:
        """Go on with another lambda: a dual is as long as lambda over the consistency allows."""
        with planes(self.problem.grid[0], self.problem.n_threads) as run:
            run(loops.scale_gradient_dual, self._v, self._share, before, local, factor,
                *self._huber)  # fmt: skip

    def replace_data(self, problem: AdaptiveProblem) -> None:
        """Go on with another field and other weights of the same grid."""
        before = self.problem.field, self.problem.weights
        with planes(problem.grid[0], problem.n_threads) as run:
            run(loops.change_data, self._p, *before, problem.field, problem.weights, self._mu2)
        self.problem = problem

    def run(
        self,
        maximum_iterations: int,
        tol: float = 0.0,
        progress: Callable[[int, float], None] | None = None,
    ) -> Float32Array:
        """Iterate until x changes by less than ``tol`` [%] in the mask; return x."""
        problem, n_threads = self.problem, self.problem.n_threads
        mu2, nu, relax = self._mu2, self._nu, np.float32(RELAXATION)
        data = problem.field, problem.weights
        sums = np.empty((problem.grid[0], 2))
        source, held_source = np.empty_like(self.x), np.empty_like(self.x)
        to_map = problem.steps, self._mu1, self._y, self._ridge, nu
        split = self._split
        spectral = np.zeros_like(problem.kernel) if split is None else split.held
        if self._high is not None:
            spectral = spectral + self._high
        with planes(problem.grid[0], n_threads) as run:
            run(loops.map_source, source, self._v, self._share, *to_map, False)
            run(loops.field_source, held_source, self._p, *data, mu2)
            for _ in range(maximum_iterations):
                spectrum, held = rfft(source, n_threads), rfft(held_source, n_threads)
                if split is not None:
                    split.source(spectrum)
                bend = self._half.rfft(self._bend)
                run(loops.solve, spectrum, held, bend, problem.kernel, spectral,
                    *self._symbols, self._mu1, mu2, nu, np.float32(MUH), self._size,
                    self._half.ratio, self._half.depth)  # fmt: skip
                if split is not None:
                    split.update(spectrum)
                previous, self.x = self.x, self._back(spectrum)
                self._fit, self._bend = self._back(held), self._half.irfft(bend)
                del spectrum, held, bend
                run(change_and_size, self.x, previous, problem.mask, sums)
                run(loops.update_map, source, self._v, self._share, self.x, self._local, self._y,
                    self._ridge, problem.steps, self._mu1, nu, *self._huber, relax)  # fmt: skip
                run(loops.map_source, source, self._v, self._share, *to_map, True)
                run(loops.update_field, held_source, self._p, self._fit, *data, mu2, relax)
                loops.update_harmonic(0, self._half.half[0], self._bend, self._u, self._calm,
                                      np.float32(MUH / (MUH + BETA)), relax)  # fmt: skip
                change, total = sums.sum(axis=0)
                self.n_iterations += 1
                self.update_percent = 100 * float(np.sqrt(change / total)) if total > 0 else 0.0
                if progress is not None:
                    progress(self.n_iterations, self.update_percent)
                if self.update_percent < tol:
                    break
        return self.x

    def _back(self, spectrum: npt.NDArray[np.complexfloating]) -> Float32Array:
        grid, n_threads = self.problem.grid, self.problem.n_threads
        return irfft(spectrum, grid, n_threads, overwrite=True)  # type: ignore[return-value]


def gradient_steps(voxel_size: npt.ArrayLike) -> Float32Array:
    """Return the factors of the three differences: mean voxel length over that of the axis."""
    side = np.asarray(voxel_size, dtype=np.float64)
    return (np.exp(np.log(side).mean()) / side).astype(np.float32)


def square_frequencies(
    grid: tuple[int, int, int], voxel_size: npt.ArrayLike
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the squares along each axis of the half spectrum [cycles per mean voxel length]."""
    side = np.asarray(voxel_size, dtype=np.float64)
    side = side / np.exp(np.log(side).mean())
    kx, ky = (np.fft.fftfreq(n, s) ** 2 for n, s in zip(grid[:2], side[:2], strict=True))
    return kx, ky, np.fft.rfftfreq(grid[2], side[2]) ** 2


def frequency_radius(grid: tuple[int, int, int], voxel_size: npt.ArrayLike) -> Float32Array:
    """Return the distance from the centre of k-space [cycles per mean length of a voxel]."""
    kx, ky, kz = square_frequencies(grid, voxel_size)
    return np.sqrt(kx[:, None, None] + ky[:, None] + kz).astype(np.float32)


def mean_gradient(x: Float32Array, mask: Mask, steps: Float32Array, n_threads: int = 1) -> float:
    """Return the mean length of the gradient [ppm] where both neighbours are in the mask."""
    return mean_in(gradient_length(x, steps, n_threads), with_next(mask), n_threads)
