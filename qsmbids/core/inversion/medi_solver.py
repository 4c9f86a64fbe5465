r"""The Gauss-Newton and conjugate gradient iterations of MEDI, in radians on the padded grid.

Every step linearises the phase and fixes the weights V of the differences, which leaves

.. math:: (G^T V G + 2 \lambda D w^2 D) dx = -(G^T V G x + 2 \lambda D w^2 \sin(D x - y)).

The stopping rules of the software are loose and belong to its path, which is kept. With the
preconditioner (:mod:`qsmbids.core.inversion.medi_preconditioner`) a step ends sooner, and MERIT
waits for the second: the first has yet to find the strong sources, whose misfit is not an error of
the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion import medi_kernels as loops
from qsmbids.core.inversion.medi_preconditioner import Preconditioner
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.parallel import Run, planes

__all__ = ["Path", "Problem", "System", "gauss_newton", "merit_factor"]


#: Added to squared differences [(rad / mm)^2], so that the penalty has a derivative at zero.
SMOOTHING = 1e-6
#: Misfits beyond this many standard deviations are errors of the model to MERIT.
MERIT_OUTLIER = 6.0


@dataclass(frozen=True)
class Problem:
    """Everything that stays the same between Gauss-Newton steps."""

    y: Float32Array  # local field [rad]
    noise: Float32Array  # SD of the noise in any unit, 0 where there are no data
    support: Mask
    kernel: Float32Array  # D, with the SMV filter if any, on the half spectrum
    penalised: Mask
    inverse_size: tuple[np.float32, ...]  # [1 / mm]
    data_weight: float
    smv: Callable[[Float32Array], Float32Array] | None
    merit: bool
    fluid: npt.NDArray[np.intp] | None  # flat indices
    fluid_weight: float
    preconditioner: bool
    n_threads: int


@dataclass
class Path:
    """What happened on the way."""

    n_cg_steps: int = 0
    changes: list[float] = field(default_factory=list)
    cg_residuals: list[float] = field(default_factory=list)
    misfit: float = 0.0


def gauss_newton(
    p: Problem,
    maximum_steps: int,
    tolerance: float,
    maximum_cg_steps: int,
    cg_tolerance: float,
    progress: Callable[[int, float], None] | None,
) -> tuple[Float32Array, Path]:
    """Iterate from zero; return x [rad] and the path to it."""
    path, noise = Path(), p.noise.copy()
    weights = _data_weights(noise, p)
    x = np.zeros_like(p.y)
    phase = np.zeros_like(p.y)  # D x
    with planes(x.shape[0], p.n_threads) as run:
        system = System(p, run)
        for outer in range(1, maximum_steps + 1):
            system.linearise(x, weights)
            slope = system.data_slope(phase)
            system.add_penalty(x, slope)
            dx, n_cg_steps, residual = _conjugate_gradients(
                system, slope, maximum_cg_steps, cg_tolerance
            )
            x += dx
            size = _norm(x)
            change = _norm(dx) / size if size > 0 else 0.0
            path.n_cg_steps += n_cg_steps
            path.changes.append(change)
            path.cg_residuals.append(residual)
            if progress is not None:
                progress(outer, change)
            phase = system.dipole(x)
            path.misfit = _misfit(phase, p.y, weights)
            if change <= tolerance:
                break
            if p.merit and (outer > 1 or not p.preconditioner):
                factor = merit_factor(phase[p.support], p.y[p.support], weights[p.support])
                noise[p.support] *= factor
                weights = _data_weights(noise, p)
    return x, path


def merit_factor(
    phase: FloatArray,
    y: FloatArray,
    weights: FloatArray,
) -> Float64Array:
    """Return by how much the noise of each voxel is raised because the model does not fit it.

    The square of the weighted complex misfit, less its mean, over six standard deviations of its
    size; 1 below that.
    """
    misfit = weights * (np.exp(1j * phase.astype(np.float64)) - np.exp(1j * y.astype(np.float64)))
    size = np.abs(misfit - misfit.mean())
    spread = MERIT_OUTLIER * size.std(ddof=1) if size.size > 1 else 0.0
    if spread == 0.0:
        return np.ones(size.shape)
    return np.asarray(np.maximum(size / spread, 1.0) ** 2)


def _data_weights(noise: Float32Array, p: Problem) -> Float32Array:
    """Return 1 / noise with a mean of 1 in the mask; the SMV filter adds the noise of its mean."""
    variance = noise**2
    if p.smv is not None:
        variance += np.maximum(p.smv(variance), 0)
    known = p.support & (noise > 0)
    weights = np.zeros_like(noise)
    weights[known] = 1.0 / np.sqrt(variance[known])
    return weights / np.float32(weights[p.support].mean(dtype=np.float64))


def _misfit(phase: Float32Array, y: Float32Array, weights: Float32Array) -> float:
    """Return the weighted root mean square of |exp(i phase) - exp(i y)|."""
    squares = (weights * np.sin(0.5 * (phase - y))) ** 2
    total = (weights**2).sum(dtype=np.float64)
    return float(np.sqrt(4.0 * squares.sum(dtype=np.float64) / total))


def _norm(volume: Float32Array) -> float:
    return float(np.sqrt(np.square(volume).sum(dtype=np.float64)))


class System:
    """The linear operator of one Gauss-Newton step and its work arrays."""

    def __init__(self, problem: Problem, run: Run) -> None:
        self.problem, self.run = problem, run
        shape = problem.y.shape
        self.grid = (shape[0], shape[1], shape[2])
        self.v = np.empty((3, *shape), dtype=np.float32)
        self.data = np.empty(shape, dtype=np.float32)  # 2 lambda w^2
        self.sums = np.empty(shape[0])
        self.preconditioner = (
            Preconditioner(
                problem.kernel, problem.support, problem.data_weight, run, problem.n_threads
            )
            if problem.preconditioner
            else None
        )

    def linearise(self, x: Float32Array, weights: Float32Array) -> None:
        """Fix the weights of the differences and of the data at x."""
        p = self.problem
        smoothing = np.float32(SMOOTHING)
        self.run(loops.difference_weights, x, p.penalised, p.inverse_size, smoothing, self.v)
        np.square(weights, out=self.data)
        self.data *= np.float32(2.0 * p.data_weight)
        if self.preconditioner is not None:
            self.preconditioner.follow(self.v, self.data)

    def precondition(self, residual: Float32Array, square: float) -> tuple[Float32Array, float]:
        """Return z, the direction of steepest descent, and r . z, of r and r . r."""
        if self.preconditioner is None:
            return residual, square
        return self.preconditioner.apply(residual, self.sums)

    def dipole(self, x: Float32Array) -> Float32Array:
        """Return D x."""
        n = self.problem.n_threads
        spectrum = rfft(x, n)
        self.run(loops.multiply, spectrum, self.problem.kernel)
        return irfft(spectrum, self.grid, n, overwrite=True)  # type: ignore[return-value]

    def data_slope(self, phase: Float32Array) -> Float32Array:
        """Return the derivative of the data term where D x is ``phase``."""
        return self.dipole(self.data * np.sin(phase - self.problem.y))

    def add_penalty(self, x: Float32Array, y: Float32Array) -> float:
        """Add the penalties' operator on x to y; return x . y."""
        p = self.problem
        if p.fluid is not None:
            values = x.flat[p.fluid]
            y.flat[p.fluid] += np.float32(p.fluid_weight) * (
                values - values.mean(dtype=np.float64)
            )
        self.run(loops.add_penalty, x, self.v, y, self.sums)
        return float(self.sums.sum())

    def apply(self, x: Float32Array) -> tuple[Float32Array, float]:
        """Return A x and x . A x."""
        y = self.dipole(x)
        self.run(loops.multiply, y, self.data)
        y = self.dipole(y)
        return y, self.add_penalty(x, y)


def _conjugate_gradients(
    system: System, slope: Float32Array, maximum_cg_steps: int, tolerance: float
) -> tuple[Float32Array, int, float]:
    """Solve A dx = -slope from zero; return dx, the steps and the relative residual."""
    run, sums = system.run, system.sums
    dx, direction, residual = np.zeros_like(slope), np.zeros_like(slope), -slope
    square = first = _norm(residual) ** 2
    before, n = np.inf, 0
    while n < maximum_cg_steps and square > tolerance**2 * first:
        z, scaled = system.precondition(residual, square)
        run(loops.next_direction, direction, z, np.float32(scaled / before))
        applied, curvature = system.apply(direction)
        if not curvature > 0:  # nothing is left but rounding
            break
        length = np.float32(scaled / curvature)
        run(loops.step, dx, residual, direction, applied, length, sums)
        square, before = float(sums.sum()), scaled
        n += 1
    return dx, n, float(np.sqrt(square / first)) if first > 0 else 0.0
