r"""How sure an adaptive inversion is of each voxel: its error on twins of the head.

A twin is a susceptibility with the phases of the map and the power that was measured for the
tissue, so that it has the edges of the one and the texture that the penalties took from it. Its
field, with error drawn from the error model (white by the data weights, structured with the
spectrum of the tissue and its local size), goes through a background removal, which takes part of
any local field near the rim, and is inverted with the penalties of the run; the result is compared
with the twin. V-SHARP stands in for whatever removal the run had. The mean over the twins is bias,
the spread about it chance, and

.. math:: s^2 = G * \overline{(x^* - x)^2}

their sum, smoothed over neighbours, the square of the standard error about the truth. A map is
calmer than its head, and so is its twin, in which less is lost. Simulated heads tell how much: the
errors of their voxels are 1.8 times those of twins (with that, 95 % intervals hold 92 to 96 % of
them), and the bias of regions is twice that of theirs. Much of what voxels lack is texture, which
means do not have: once their bias is doubled, 1.2 times the rest is enough.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.inversion.adaptive_inversion import AdaptiveResult
from qsmbids.core.inversion.adaptive_solver import AdaptiveProblem, Minimiser
from qsmbids.core.inversion.cone_spectrum import shell_powers
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.fft import irfft, rfft

__all__ = ["StandardError", "error_of_mean", "standard_error"]


#: Iterations of each twin, from the map.
ITERATIONS = 30
#: Standard deviation [voxels] of the window over which squares are averaged.
WIDTH = 1.5
#: Most that a shell of the map is amplified to the power of the tissue.
MOST_GAIN = 3.0
#: Errors over those of twins: of voxels, and of means with their bias.
FACTOR, MEAN_FACTOR, BIAS_FACTOR = 1.8, 1.2, 2.0
#: Half an interval of 95 % in standard errors.
HALF_95 = 1.96
#: Of the data, in the field that a background is removed from.
LEAST_WEIGHT = 0.05
#: Error of the structured part is this local [voxels].
LOCAL_WIDTH = 5.0


@dataclass(frozen=True)
class StandardError:
    """What :func:`standard_error` returns.

    Attributes
    ----------
    total_ppm : (X, Y, Z) ndarray of float32
        Standard error about the truth [ppm], bias and chance; zero outside the mask.
    chance_ppm : (X, Y, Z) ndarray of float32
        Standard deviation of repeated measurements [ppm].
    errors : (N, X, Y, Z) ndarray of float32
        Error of each twin [ppm], zero on average over the mask, for :func:`error_of_mean`.
    """

    total_ppm: Float32Array
    chance_ppm: Float32Array
    errors: Float32Array


def standard_error(
    result: AdaptiveResult,
    voxel_size: npt.ArrayLike,
    *,
    background_removed: bool = True,
    n_twins: int = 8,
    seed: int = 0,
) -> StandardError:
    """Return the standard error of a map.

    Parameters
    ----------
    result : AdaptiveResult
        The inversion; its means over the mask count as reference.
    voxel_size : (3,) array_like
        [mm].
    background_removed : bool
        Whether the field is what a background removal left, as in every scan; those of twins then
        lose what such a removal takes from them.
    n_twins : int
        Twins to invert, 4 or more.
    seed : int
        Of the errors that are drawn.

    Returns
    -------
    StandardError

    Raises
    ------
    ValueError
        There are too few twins.
    """
    if n_twins < 4:
        raise ValueError("at least four twins are needed")
    problem, mask = result.problem, result.problem.mask
    rng = np.random.default_rng(seed)
    twin, signal = _twin(result, voxel_size)
    field = problem.dipole(twin)
    around = ndi.binary_dilation(mask) if background_removed else None
    total, mean = np.zeros_like(twin), np.zeros_like(twin)
    errors = np.empty((n_twins, *result.chi.shape), dtype=np.float32)
    for number in range(n_twins):
        drawn = field + _error(result, signal, twin, rng)
        other = _measured(problem, drawn, around, voxel_size)
        solver = Minimiser(other, result.penalties, result.x)
        solver.reweigh(result.local_square, result.local_gradient)
        solver.hold_bands(result.low_weights)
        wrong = solver.run(ITERATIONS) - twin
        wrong -= np.float32(wrong[mask].mean(dtype=np.float64))
        wrong *= mask
        total += wrong**2
        mean += wrong
        errors[number] = result.grid.back(wrong)
    total /= n_twins
    mean /= n_twins
    chance = np.maximum(total - mean**2, 0) * np.float32(n_twins / (n_twins - 1))
    factor = np.float32(FACTOR)
    return StandardError(
        total_ppm=factor * _smooth_root(result, total),
        chance_ppm=_smooth_root(result, chance),
        errors=errors,
    )


def error_of_mean(
    errors: Float32Array, region: Mask, reference: Mask | None = None
) -> tuple[float, float]:
    """Return the standard error about the truth [ppm] of the mean of a region, and its bias.

    Each twin is taken relative to the reference, as the map is: the error of the reference itself
    counts, less what it has in common with that of the region.

    Parameters
    ----------
    errors : (N, X, Y, Z) ndarray
        Of :func:`standard_error`.
    region : (X, Y, Z) ndarray of bool
        Voxels of the map; NaN for both where there is none.
    reference : (X, Y, Z) ndarray of bool, optional
        Voxels whose mean is the zero of the map, all of it by default.
    """
    if not region.any() or not (reference is None or reference.any()):
        return float("nan"), float("nan")
    means = [
        float(wrong[region].mean(dtype=np.float64))
        - (0.0 if reference is None else float(wrong[reference].mean(dtype=np.float64)))
        for wrong in errors
    ]
    bias = BIAS_FACTOR * float(np.mean(means))
    return MEAN_FACTOR * float(np.hypot(np.std(means, ddof=1), bias)), bias


def _measured(
    problem: AdaptiveProblem,
    field: Float32Array,
    around: Mask | None,
    voxel_size: npt.ArrayLike,
) -> AdaptiveProblem:
    """Return the problem with a field as a background removal in a mask leaves it, if any."""
    if around is None:
        local = np.where(problem.weights > 0, field, np.float32(0))
        return replace(problem, field=local)
    removed = vsharp(field, around, voxel_size, n_threads=problem.n_threads)
    weights = np.where(removed.mask, problem.weights, np.float32(0))
    local = np.where(weights > 0, removed.local_field, np.float32(0))
    return replace(problem, field=local, weights=weights)


def _smooth_root(result: AdaptiveResult, square: Float32Array) -> Float32Array:
    """Return the root of squares that were averaged over neighbours, in the full shape."""
    mask = result.problem.mask
    near = ndi.gaussian_filter(mask.astype(np.float32), WIDTH, truncate=3.0)
    around = ndi.gaussian_filter(square * mask, WIDTH, truncate=3.0) / np.maximum(near, 1e-3)
    root = np.where(mask, np.sqrt(np.maximum(around, 0)), 0).astype(np.float32)
    return result.grid.back(root)


def _twin(result: AdaptiveResult, voxel_size: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
    """Return the twin and the root of the power of the tissue in the half spectrum."""
    problem = result.problem
    inside = np.where(problem.mask, result.x, 0).astype(np.float32)
    spectrum = rfft(inside, problem.n_threads)
    shell, signal, own = shell_powers(problem, result.x, spectrum, voxel_size)
    gain = np.sqrt(np.maximum(signal, 0) / np.maximum(own, 1e-30))
    gain = np.clip(gain, 1.0, MOST_GAIN).astype(np.float32)
    spectrum *= gain[shell]
    sharp = irfft(spectrum, problem.grid, problem.n_threads, overwrite=True)
    sharp -= np.float32(sharp[problem.mask].mean(dtype=np.float64))
    twin = np.where(problem.mask, sharp, 0).astype(np.float32)
    root = np.sqrt(np.maximum(signal, 0)).astype(np.float32)[shell]
    return twin, root


def _error(
    result: AdaptiveResult, signal: Float32Array, twin: Float32Array, rng: np.random.Generator
) -> Float32Array:
    """Draw an error of the field [ppm]."""
    problem, error = result.problem, result.error
    weight = np.sqrt(np.where(problem.mask, np.maximum(problem.weights, LEAST_WEIGHT), 1))
    noise = rng.standard_normal(problem.grid, dtype=np.float32)
    out: FloatArray = np.float32(error.white_ppm) * noise / weight
    if error.share == 0:
        return out.astype(np.float32, copy=False)
    spectrum = rfft(rng.standard_normal(problem.grid, dtype=np.float32), problem.n_threads)
    spectrum *= np.float32(np.sqrt(error.share / problem.field.size)) * signal
    structured = irfft(spectrum, problem.grid, problem.n_threads, overwrite=True)
    n_voxels = np.count_nonzero(problem.mask)
    structured *= np.float32(np.sqrt(problem.field.size / n_voxels))
    out = out + structured * _local_size(problem.mask, twin)
    return out.astype(np.float32, copy=False)


def _local_size(mask: Mask, twin: Float32Array) -> Float32Array:
    """Return the local root mean square of a map over its whole one."""
    square = np.where(mask, twin - twin[mask].mean(dtype=np.float64), 0).astype(np.float32) ** 2
    near = ndi.gaussian_filter(mask.astype(np.float32), LOCAL_WIDTH, truncate=3.0)
    around = ndi.gaussian_filter(square, LOCAL_WIDTH, truncate=3.0) / np.maximum(near, 1e-2)
    whole = max(float(around[mask].mean(dtype=np.float64)), 1e-30)
    return np.where(mask, np.sqrt(around / whole), 0).astype(np.float32)
