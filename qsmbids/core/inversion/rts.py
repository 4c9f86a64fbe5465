r"""Rapid two-step inversion (RTS): the well-conditioned part of k-space first, then the rest.

A few steps of least squares find what the data say where the dipole is large. That stays as it is,
and the cone where it is small, which keeps the noise of those steps, is filled so that the total
variation of the map is least.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.fansi_kernels import (
    EDGE_FLOOR,
    change_and_size,
    negative_divergence,
    update_gradient,
)
from qsmbids.core.inversion.inversion_input import check_inversion
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.cg import conjugate_gradients
from qsmbids.core.maths.fft import crop, irfft, rfft, uncrop
from qsmbids.core.maths.gradient import difference, gradient, laplacian_symbols
from qsmbids.core.maths.parallel import planes

__all__ = ["RtsResult", "rts"]


#: Over-relaxation of the second step's iterations.
RELAXATION = np.float32(1.8)


@dataclass(frozen=True)
class RtsResult:
    """What :func:`rts` returns.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility [ppm], unreferenced, zero outside the mask.
    n_iterations : int
        Iterations of the second step.
    update_percent : float
        Relative change of the last one [%].
    converged : bool
        Whether the change fell below the tolerance.
    """

    chi: Float32Array
    n_iterations: int
    update_percent: float
    converged: bool


def rts(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    threshold: float = 0.15,
    least_squares_steps: int = 4,
    tolerance_percent: float = 1.0,
    maximum_iterations: int = 50,
    margin: int = 24,
    n_threads: int = 1,
) -> RtsResult:
    r"""Return the susceptibility [ppm] of a local field [Hz] by two quick steps.

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4.
    weights : (X, Y, Z) ndarray
        Data weights >= 0 of the first step.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    threshold : float
        The ill-conditioned part is where the dipole is no larger, above 0 and below 2/3.
    least_squares_steps : int
        Steps of the first step; more of them amplify noise.
    tolerance_percent : float
        Stop when an iteration of the second step changes the map by less than this [%].
    maximum_iterations : int
        Most iterations of the second step.
    margin : int
        Zeros around the bounding box of the mask [voxels].
    n_threads : int
        Threads of the transforms and loops; the result does not depend on them.

    Returns
    -------
    RtsResult

    Raises
    ------
    ValueError
        A shape or parameter is wrong, the mask is empty, or the field or the weights in it are
        not finite, negative, or all zero.

    Notes
    -----
    .. math:: \tilde\chi \approx \arg\min \| W (D \chi - f) \|^2, \qquad
              \min_\chi \| \nabla \chi \|_1 \text{ with } F\chi = F\tilde\chi
              \text{ where } |D| > \delta

    The paper takes four steps of LSMR, here they are conjugate gradients of the weighted normal
    equations, and holds the well-conditioned part by a penalty so large that it is kept. Four
    transforms for each of the first steps and two for each iteration, about 12 volumes of memory.

    References
    ----------
    Kames C, Wiggermann V, Rauscher A. Rapid two-step dipole inversion for susceptibility mapping
    with sparsity priors. NeuroImage 2018;167:276. doi:10.1016/j.neuroimage.2017.11.018
    """
    mask = np.asarray(mask, dtype=bool)
    check_inversion(local_field, mask, weights)
    _check_numbers(centre_frequency, threshold, tolerance_percent)
    if least_squares_steps < 1 or maximum_iterations < 1 or margin < 0:
        raise ValueError("steps and iterations must be >= 1, and the margin >= 0")
    box, pad = bounding_box(mask), (margin, margin, margin)
    ppm = np.where(mask, local_field / (1e-6 * centre_frequency), 0.0).astype(np.float32)
    weight = np.where(mask, weights, 0.0).astype(np.float32)
    weight /= weight.max()
    field, square = crop(ppm, box, pad), crop(weight, box, pad) ** 2
    grid = (field.shape[0], field.shape[1], field.shape[2])
    kernel = dipole_kernel(grid, voxel_size, b0_direction)
    first = _least_squares(field, square, kernel, threshold, least_squares_steps, n_threads)
    chi, n_iterations, update = _fill_cone(
        first, crop(mask, box, pad), np.abs(kernel) > threshold, tolerance_percent,
        maximum_iterations, n_threads,
    )  # fmt: skip
    whole = uncrop(chi, (mask.shape[0], mask.shape[1], mask.shape[2]), box, pad)
    return RtsResult(np.where(mask, whole, np.float32(0)), n_iterations, update,
                     update < tolerance_percent)  # fmt: skip


def _check_numbers(centre_frequency: float, threshold: float, tolerance_percent: float) -> None:
    if not (np.isfinite(centre_frequency) and centre_frequency > 0):
        raise ValueError("the centre frequency must be > 0")
    if not 0.0 < threshold < 2.0 / 3.0:
        raise ValueError(f"the threshold must be between 0 and 2/3, not {threshold}")
    if not (np.isfinite(tolerance_percent) and tolerance_percent > 0):
        raise ValueError(f"the tolerance must be > 0 %, not {tolerance_percent}")


def _least_squares(
    field: Float32Array,
    square: Float32Array,
    kernel: Float32Array,
    threshold: float,
    steps: int,
    n_threads: int,
) -> Float32Array:
    """Return the map after a few conjugate gradient steps from zero."""
    grid = (field.shape[0], field.shape[1], field.shape[2])
    division = np.reciprocal(np.maximum(np.abs(kernel), np.float32(threshold)), dtype=np.float32)

    def filtered(volume: FloatArray, by: Float32Array) -> Float32Array:
        spectrum = rfft(volume, n_threads)
        spectrum *= by
        return irfft(spectrum, grid, n_threads, overwrite=True)  # type: ignore[return-value]

    even = np.multiply(
        kernel, division, dtype=np.float32
    )  # the dipole for a map that is ``division`` of the unknown

    def operator(unknown: Float32Array) -> Float32Array:
        weighted = filtered(unknown, even)
        weighted *= square
        return filtered(weighted, even)

    solution = conjugate_gradients(
        operator, filtered(square * field, even), tolerance=1e-6, maximum_iterations=steps
    )
    return filtered(solution.x, division)


def _fill_cone(
    first: Float32Array,
    mask: Mask,
    known: Mask,
    tolerance_percent: float,
    maximum_iterations: int,
    n_threads: int,
) -> tuple[Float32Array, int, float]:
    """Minimise the total variation by alternating directions, the known part of k-space held.

    v is the gradient and its dual in one, see :mod:`qsmbids.core.inversion.fansi_kernels`.
    """
    grid = (first.shape[0], first.shape[1], first.shape[2])
    held = rfft(first, n_threads)
    held *= known
    lx, ly, lz = laplacian_symbols(grid)
    free = lx[:, None, None] + ly[:, None] + lz
    free[0, 0, 0] = 1.0
    free = ~known / free
    # even weights of the penalty; the threshold only says how fast the iterations are
    edges, flip = np.zeros_like(first), np.float32(0)
    size = float(np.mean([np.abs(difference(first, a)[mask]).mean() for a in range(3)]))
    scale = np.float32(size) * EDGE_FLOOR
    x, v, source = first, gradient(first), np.empty_like(first)
    sums = np.empty((grid[0], 2))
    iteration, update = 0, np.inf
    with planes(grid[0], max(1, n_threads)) as run:
        while update >= tolerance_percent and iteration < maximum_iterations:
            run(negative_divergence, v, edges, scale, flip, source)
            spectrum = rfft(source, n_threads)
            spectrum *= free
            spectrum += held
            previous = x
            x = irfft(spectrum, grid, n_threads, overwrite=True)  # type: ignore[assignment]
            run(change_and_size, x, previous, mask, sums)
            change, total = sums.sum(axis=0)
            update = 100.0 * float(np.sqrt(change / total)) if total > 0 else 0.0
            run(update_gradient, v, x, edges, scale, flip, RELAXATION)
            iteration += 1
    return x, iteration, update
