"""The data of an adaptive inversion: cut out, at the right turns, and without outliers."""

from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.adaptive_solver import AdaptiveProblem, gradient_steps
from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.fansi_problem import FansiProblem
from qsmbids.core.inversion.fansi_start import least_squares_map
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import fast_shape, pad_to, uncrop
from qsmbids.core.maths.parallel import planes
from qsmbids.core.maths.robust import NORMAL_MAD

__all__ = ["AdaptiveGrid", "least_squares", "problem_of", "without_outliers"]

#: Zeros around the mask [voxels].
MARGIN = 16
#: Misfits beyond this many robust standard deviations have little say.
OUTLIER = 8.0


@dataclass(frozen=True)
class AdaptiveGrid:
    """Where a problem on the padded grid lies in the volume it was cut from."""

    shape: tuple[int, int, int]
    box: tuple[slice, slice, slice]
    offset: tuple[int, int, int]

    @classmethod
    def around(cls, mask: Mask) -> "AdaptiveGrid":
        """Return the bounding box of a mask with zeros around it."""
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        return cls(shape, bounding_box(mask), (MARGIN, MARGIN, MARGIN))

    def cut(self, volume: npt.NDArray) -> npt.NDArray:
        """Return the part of a volume, with the zeros."""
        inner = volume[self.box]
        grid = fast_shape(tuple(n + 2 * MARGIN for n in inner.shape))
        return pad_to(inner, grid, self.offset)

    def back(self, volume: Float32Array) -> Float32Array:
        """Put a part back into zeros of the full shape."""
        return uncrop(volume, self.shape, self.box, self.offset)


def problem_of(
    grid: AdaptiveGrid,
    field_ppm: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    n_threads: int,
) -> AdaptiveProblem:
    """Return the problem on the padded grid."""
    inside = grid.cut(mask)
    squared = grid.cut(np.where(mask, weights, 0).astype(np.float32)) ** 2
    squared /= squared[inside].mean(dtype=np.float64)
    field = grid.cut(np.where(mask & (weights > 0), field_ppm, 0).astype(np.float32))
    return AdaptiveProblem(
        field=field,
        weights=squared.astype(np.float32),
        mask=inside,
        kernel=dipole_kernel(inside.shape, voxel_size, b0_direction),
        steps=gradient_steps(voxel_size),
        n_threads=n_threads,
    )


def least_squares(
    problem: AdaptiveProblem, radians: float
) -> tuple[AdaptiveProblem, Float32Array]:
    """Return FANSI's start [ppm], and the problem with data at the turns that it predicts."""
    weights = np.sqrt(problem.weights)
    start = FansiProblem(
        y=(np.float32(radians) * problem.field).astype(np.float32),
        weights=weights,
        mask=problem.mask,
        kernel=problem.kernel,
        weight_scale=1.0 / float(weights.max()),
        threshold=0.0,
        edge_sign=0.0,
        gradient_consistency=1.0,
        fidelity_consistency=1.0,
        harmonic_constraint=1.0,
        harmonic_consistency=1.0,
        weak_harmonic=False,
        n_newton=0,
        linear_start=-1,
    )
    x, _, y = least_squares_map(start, problem.n_threads, settled=False)
    turned = y != start.y
    field = np.where(turned, y / np.float32(radians), problem.field).astype(np.float32)
    return replace(problem, field=field), x / np.float32(radians)


def without_outliers(
    problem: AdaptiveProblem, fit: Float32Array, ppm_per_turn: float
) -> AdaptiveProblem:
    """Return the problem with data at the turns nearest to a fit, and little weight far from it.

    The weights are those of Geman and McClure's estimator, as in FANSI's start.
    """
    weights = problem.weights
    field, misfit, sums = np.empty_like(fit), np.empty_like(fit), np.empty(fit.shape[0])
    with planes(fit.shape[0], problem.n_threads) as run:
        run(_to_turns, field, misfit, fit, problem.field, weights, np.float32(ppm_per_turn))
        spread = float(np.median(np.abs(misfit[weights > 0]))) / NORMAL_MAD
        if not spread > 0:
            return replace(problem, field=field)
        run(_spare_outliers, misfit, weights, np.float32(1 / (OUTLIER * spread)), sums)
    misfit *= np.float32(weights.sum(dtype=np.float64) / sums.sum())
    return replace(problem, field=field, weights=misfit)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _to_turns(start, stop, out, misfit, fit, field, weights, turn):  # type: ignore[no-untyped-def]
    """Fill out by the field at the turns nearest to a fit, and misfit by what is left."""
    for i in range(start, stop):
        for j in range(fit.shape[1]):
            o, r, a, f, w = out[i, j], misfit[i, j], fit[i, j], field[i, j], weights[i, j]
            for k in range(o.size):
                turns = np.rint((a[k] - f[k]) / turn)
                o[k] = f[k] + (turn * turns if w[k] > 0 else np.float32(0))
                r[k] = a[k] - o[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _spare_outliers(start, stop, misfit, weights, per_outlier, sums):  # type: ignore[no-untyped-def]
    """Overwrite misfits by weights that fall with them, and fill sums by those of each plane."""
    one = np.float32(1)
    for i in range(start, stop):
        total = 0.0
        for j in range(misfit.shape[1]):
            r, w, part = misfit[i, j], weights[i, j], np.float32(0)
            for k in range(r.size):
                far = r[k] * per_outlier
                share = one + far * far
                r[k] = w[k] / (share * share)
                part += r[k]
            total += float(part)
        sums[i] = total
