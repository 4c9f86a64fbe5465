r"""How sure an adaptive inversion is of each voxel: its error on twins of the head.

A twin is a susceptibility with the phases of the map and the power that was measured for the
tissue, so that it has the edges of the one and the texture that the penalties took from it. Its
field goes through a background removal, which takes part of any local field near the rim, gets an
error drawn from the error model (white by the data weights, structured with the spectrum of the
tissue and its local size), and is inverted with the penalties of the run; the result is compared
with the twin. The error is measured after the removal, so it does not go through it again. V-SHARP
stands in for whatever removal the run had; where a run put back what that took, its twins do, each
by the map of its own field. A twin without error comes first: what the map loses is
slow to settle, most of all where a harmonic field is fitted along, and what an error does is not.
The mean over the twins is bias, the spread about it chance, and

.. math:: s^2 = F^2 \, \overline{(x^* - x)^2}

their sum, smoothed over neighbours, the square of the standard error about the truth. A map is
calmer than its head, for it has lost a part of it, and so is its twin, in which less is left to
lose. If nothing were lost, errors of twins would be those of the map; the more twins lose, the
more has the map,

.. math:: F = 1 + e \beta, \qquad \beta = \overline{|b|} / \overline{|x - \tilde x|}

with b their bias, x the map and x~ its median, and e = 3.5 where gradients alone hold the map.
Simulated heads bear the one out: a line through what 40 of them need, with a beta of .14 to .34,
has the value 1.00 where beta is 0. A square penalty takes the same part of a calm head as of one
that is not, so that twins lose what the map has lost: the larger the share of the error that such
penalties are there for, the less is e, down to 0.3 where it is that of real heads (three with a
truth, which need an F of 1.0 to 1.3 at a beta of 0.5). What a region averages out of that is told
by :mod:`qsmbids.core.inversion.error_of_means`.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.background.lost_field import finer_part
from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.inversion.adaptive_inversion import AdaptiveResult
from qsmbids.core.inversion.adaptive_solver import AdaptiveProblem, Minimiser
from qsmbids.core.inversion.cone_spectrum import shell_powers
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.smoothing import LocalMean

__all__ = ["StandardError", "factor_of_twins", "standard_error"]


#: Iterations of the twin without error, from the map, over those of the run, for a harmonic field
#: is slow to come; and of each twin with error, from there.
TIMES_THOSE, ITERATIONS = 2, 10
#: Standard deviation [voxels] of the window over which squares are averaged.
WIDTH = 1.5
#: Most that a shell of the map is amplified to the power of the tissue.
MOST_GAIN = 3.0
#: What errors of the map exceed those of twins by, over the share that twins lose: where the error
#: of the field has up to the first share of the power of the signal, and from the second on.
EXCESS, EXCESS_SQUARE, SHARES = 3.5, 0.3, (0.01, 0.03)
#: The most that twins lose, for more was never seen (a signal-to-noise ratio of 8).
MOST_LOST = 0.8
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
        Standard deviation of repeated measurements [ppm], of which twins show two thirds or more.
    errors : (N, X, Y, Z) ndarray of float32
        Error of each twin [ppm], zero on average over the mask: see ``error_of_means``.
    factor : float
        Of the errors of the map over those of its twins.
    """

    total_ppm: Float32Array
    chance_ppm: Float32Array
    errors: Float32Array
    factor: float


def standard_error(
    result: AdaptiveResult,
    voxel_size: npt.ArrayLike,
    *,
    background_removed: bool = True,
    n_twins: int = 6,
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
    removed = _removed(problem, problem.dipole(twin), voxel_size if background_removed else None)
    clean = _solver(result, removed, result.x)
    clean.run(TIMES_THOSE * result.n_iterations_before)
    if background_removed and result.put_back_percent > 0:
        removed = removed.less(-_lost(removed, clean.x, voxel_size))
        clean.replace_data(removed)
        clean.run(TIMES_THOSE * (result.n_iterations - result.n_iterations_before))
    total, mean = np.zeros_like(twin), np.zeros_like(twin)
    errors = np.empty((n_twins, *result.chi.shape), dtype=np.float32)
    for number in range(n_twins):
        field = removed.field + _error(result, signal, twin, rng)
        field = np.where(removed.weights > 0, field, np.float32(0))
        solver = _solver(result, replace(removed, field=field), clean)
        wrong = solver.run(ITERATIONS) - twin
        wrong -= np.float32(wrong[mask].mean(dtype=np.float64))
        wrong *= mask
        total += wrong**2
        mean += wrong
        errors[number] = result.grid.back(wrong)
    total /= n_twins
    mean /= n_twins
    chance = np.maximum(total - mean**2, 0) * np.float32(n_twins / (n_twins - 1))
    factor = factor_of_twins(mean[mask], result.x[mask], result.error.share)
    return StandardError(
        total_ppm=np.float32(factor) * _smooth_root(result, total),
        chance_ppm=_smooth_root(result, chance),
        errors=errors,
        factor=factor,
    )


def factor_of_twins(bias: FloatArray, chi: FloatArray, error_share: float) -> float:
    """Return how many times those of its twins the errors of a map are.

    Parameters
    ----------
    bias : (N,) ndarray
        Mean error of the twins in each voxel [ppm].
    chi : (N,) ndarray
        The map there [ppm]; both under any reference.
    error_share : float
        Of the error of the field: power over that of the signal (``ErrorModel.share``).
    """
    excess = float(np.interp(error_share, SHARES, (EXCESS, EXCESS_SQUARE)))
    size = float(np.abs(chi - np.median(chi)).mean(dtype=np.float64))
    lost = float(np.abs(bias - bias.mean(dtype=np.float64)).mean(dtype=np.float64))
    return 1 + excess * min(lost / size, MOST_LOST) if size > 0 else 1.0


def _solver(
    result: AdaptiveResult, problem: AdaptiveProblem, start: Float32Array | Minimiser
) -> Minimiser:
    """Return the iterations of a run on another field, from a map or from other iterations."""
    solver = Minimiser(problem, result.penalties, start)
    solver.reweigh(result.local_square, result.local_gradient)
    solver.hold_bands(result.low_weights)
    return solver


def _removed(
    problem: AdaptiveProblem, field: Float32Array, voxel_size: npt.ArrayLike | None
) -> AdaptiveProblem:
    """Return the problem with a field as a background removal leaves it, or all of it."""
    weights = problem.weights
    if voxel_size is not None:
        around = ndi.binary_dilation(problem.mask)
        removed = vsharp(field, around, voxel_size, n_threads=problem.n_threads)
        field, weights = removed.local_field, np.where(removed.mask, weights, np.float32(0))
    return replace(problem, field=field, weights=weights)


def _lost(problem: AdaptiveProblem, x: Float32Array, voxel_size: npt.ArrayLike) -> Float32Array:
    """Return what V-SHARP takes of the field of the fine part of a map: ``lost_of_map``."""
    mask, n_threads = problem.mask, problem.n_threads
    field = problem.dipole(finer_part(x, mask, voxel_size, n_threads))
    around = ndi.binary_dilation(mask)
    left = vsharp(field, around, voxel_size, rim_outlier=np.inf, n_threads=n_threads)
    return field - left.local_field


def _smooth_root(result: AdaptiveResult, square: Float32Array) -> Float32Array:
    """Return the root of squares that were averaged over neighbours, in the full shape."""
    mask = result.problem.mask
    around = LocalMean(mask, WIDTH, result.problem.n_threads)(square * mask)
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
    out = out + structured * _local_size(problem.mask, twin, problem.n_threads)
    return out.astype(np.float32, copy=False)


def _local_size(mask: Mask, twin: Float32Array, n_threads: int) -> Float32Array:
    """Return the local root mean square of a map over its whole one."""
    square = np.where(mask, twin - twin[mask].mean(dtype=np.float64), 0).astype(np.float32) ** 2
    around = LocalMean(mask, LOCAL_WIDTH, n_threads, 1e-2)(square)
    whole = max(float(around[mask].mean(dtype=np.float64)), 1e-30)
    return np.where(mask, np.sqrt(around / whole), 0).astype(np.float32)
