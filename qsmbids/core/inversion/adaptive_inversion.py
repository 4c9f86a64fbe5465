r"""An inversion that sets itself from the error of the field (recommendation 7.b).

The field is inverted once with weak penalties and a harmonic field, its error is measured in the
cone of k-space where no susceptibility acts (:mod:`qsmbids.core.inversion.cone_spectrum`), the
penalties follow from it (:mod:`qsmbids.core.inversion.adaptive_rule`), and the iterations go on
with them (:mod:`qsmbids.core.inversion.adaptive_solver`). Holes, strong sources and wrong turns
are met as in FANSI: by a start of least squares without outliers
(:mod:`qsmbids.core.inversion.fansi_start`). A weakly penalised map explains a field that is wrong
in many neighbours by strong sources, so outliers are told anew with each better map; but not where
the error has the spectrum of the tissue, for that has far values that are not wrong.

What a background removal has taken of the field of the map is put back once, after the last
round, and a few more follow: before, the penalties would be too weak for an error that a map made
smaller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsmbids.core.background.lost_field import lost_of_map
from qsmbids.core.background.result import BackgroundResult
from qsmbids.core.inversion.adaptive_data import (
    AdaptiveGrid,
    least_squares,
    problem_of,
    without_outliers,
)
from qsmbids.core.inversion.adaptive_rule import (
    FIRST,
    LEAST_TIKHONOV,
    NEGLIGIBLE,
    WITHOUT_HARMONIC,
    LocalGradient,
    LocalSquare,
    local_say,
    penalties_for,
    textured,
    with_local_error,
)
from qsmbids.core.inversion.adaptive_solver import (
    AdaptiveProblem,
    Minimiser,
    Penalties,
    mean_gradient,
)
from qsmbids.core.inversion.cone_spectrum import ErrorModel, local_error, measure_error
from qsmbids.core.inversion.image_edges import ImageEdges, image_edges
from qsmbids.core.inversion.inversion_input import check_inversion
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.units import radians_per_ppm

__all__ = ["AdaptiveResult", "adaptive_inversion"]


#: Iterations of the first map, and most of each round that goes on from it or one that follows.
FIRST_ITERATIONS, ROUND_ITERATIONS = 14, 7
#: Rounds of the last map.
ROUNDS = 3
#: Rounds after what a background removal took was put back.
ROUNDS_AFTER = 2
#: A round ends before when x changes by less than this [%].
TOLERANCE = 0.5


@dataclass(frozen=True)
class AdaptiveResult:
    """What :func:`adaptive_inversion` returns.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility [ppm], unreferenced, zero outside the mask.
    harmonic_field : (X, Y, Z) ndarray of float32
        What the background removal left [ppm], zero outside the mask.
    harmonic_percent : float
        Its norm [% of that of the field].
    error : ErrorModel
        What was measured, or given.
    penalties : Penalties
        What followed from it.
    n_iterations : int
        Iterations of both maps.
    update_percent : float
        Relative change of the last one [%].
    n_turned : int
        Voxels whose data were moved by whole turns.
    problem : AdaptiveProblem
        Data at the right turns less the harmonic field, on the padded grid of ``grid``; outliers
        have small weights.
    x : ndarray of float32
        The map on that grid, outside of the mask too.
    local_square, local_gradient : ndarray of float32
        What its square term and its gradient penalty were made local by; None for a square term
        that is nothing.
    low_weights : list of ndarray of float32, or None
        Weights of its low bands, on half of the grid, where these were held.
    grid : AdaptiveGrid
        Where that grid lies.
    edge_shares : tuple of float
        Part of the expected gradient that each image has, 0 for one that tells nothing.
    put_back_percent : float
        Norm of what was put back of what the background removal took [% of that of the field].
    n_iterations_before : int
        Those before that; all where nothing was put back.
    """

    chi: Float32Array
    harmonic_field: Float32Array
    harmonic_percent: float
    error: ErrorModel
    penalties: Penalties
    n_iterations: int
    update_percent: float
    n_turned: int
    problem: AdaptiveProblem
    x: Float32Array
    local_square: Float32Array | None
    local_gradient: Float32Array
    low_weights: list[Float32Array] | None
    grid: AdaptiveGrid
    edge_shares: tuple[float, ...] = ()
    put_back_percent: float = 0.0
    n_iterations_before: int = 0


def adaptive_inversion(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    echo_time: float,
    error: ErrorModel | None = None,
    images: Sequence[FloatArray] = (),
    removal: Callable[[Float32Array, list[int]], BackgroundResult] | None = None,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> AdaptiveResult:
    r"""Return the susceptibility [ppm] behind a local field [Hz], without any setting.

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4.
    weights : (X, Y, Z) ndarray
        Data weights >= 0, any scale. A voxel of weight 0 inside the mask is inpainted.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    echo_time : float
        Reference echo time [s], at which the phase may be off by whole turns.
    error : ErrorModel, optional
        Of a study, for the same penalties in all of its runs; by default it is measured.
    images : sequence of (X, Y, Z) ndarray
        Images of the same head, any unit, whose edges may be those of the susceptibility: see
        :mod:`qsmbids.core.inversion.image_edges`. Without any, edges are those of the map alone.
    removal : callable, optional
        The background removal that left the field, linear: from a field in the whole volume, in
        any unit, on blocks of so many voxels along every axis, to what it leaves of that. What it
        took of the field of the map is put back:
        :func:`qsmbids.core.background.lost_field.lost_of_map`. Without it nothing is.
    n_threads : int
        Threads of the transforms and loops; the result does not depend on them.
    progress : callable, optional
        Called after each iteration with its number and the change [%].

    Returns
    -------
    AdaptiveResult

    Raises
    ------
    ValueError
        A shape or number is wrong, the mask is empty or very small, or the field or the weights
        in it are not finite, negative, or all zero.

    Notes
    -----
    30 to 56 iterations of four transforms, and two of half of the grid; about 16 volumes of the
    cropped grid, and two for each image.
    """
    mask = np.asarray(mask, dtype=bool)
    check_inversion(local_field, mask, weights)
    if any(image.shape != mask.shape for image in images):
        raise ValueError("the images must have the shape of the mask")
    if not all(np.isfinite(v) and v > 0 for v in (centre_frequency, echo_time)):
        raise ValueError("the frequency and the echo time must be > 0")
    grid = AdaptiveGrid.around(mask)
    ppm_per_turn = 1e6 / (centre_frequency * echo_time)
    problem = problem_of(
        grid, local_field / (1e-6 * centre_frequency), mask, weights, voxel_size,
        b0_direction, n_threads,
    )  # fmt: skip
    measured = problem.field
    radians = radians_per_ppm(centre_frequency, echo_time)
    problem, x = least_squares(problem, radians)

    first = Minimiser(problem, FIRST, x)
    first.run(FIRST_ITERATIONS, progress=progress)
    at_turns = problem
    problem = without_outliers(at_turns, first.fit, ppm_per_turn)
    given = error
    harmonic = first.harmonic
    if error is None:
        alone = Minimiser(problem, WITHOUT_HARMONIC, first).run(ROUND_ITERATIONS)
        error = measure_error(problem, first.x, voxel_size, harmonic, alone)
        del alone
    calm = Minimiser(problem, penalties_for(error), first)
    calm.run(ROUND_ITERATIONS, TOLERANCE, progress)
    del first
    if given is None:
        gradient = mean_gradient(calm.x, problem.mask, problem.steps, n_threads)
        error = replace(error, calm_gradient_ppm=min(gradient, error.gradient_ppm))
    penalties = penalties_for(error)
    texture = textured(error)
    say = local_say(local_error(problem, calm.fit, error, texture), texture)

    def data(fit: Float32Array) -> AdaptiveProblem:
        """Return the data as a better map has them."""
        anew = problem
        if error.share <= NEGLIGIBLE:
            anew = without_outliers(at_turns, fit, ppm_per_turn)
        return with_local_error(anew, say)

    second = Minimiser(data(calm.fit), penalties, calm)
    del calm
    seen = image_edges([grid.cut(v) for v in images], problem.mask, problem.steps, n_threads)
    by_place = _ByPlace(problem, penalties, seen)
    square, gradients, low, shares = _in_rounds(second, data, by_place, progress)
    n_before, put_back = second.n_iterations, 0.0
    if removal is not None:
        chi = np.where(mask, grid.back(second.x), 0).astype(np.float32)
        lost = lost_of_map(chi, mask, voxel_size, b0_direction, removal, n_threads)
        lost = grid.cut(lost)
        put_back = _percent(lost, problem)
        if put_back > 0:
            parts = (replace(problem, field=measured), problem, at_turns)
            with_lost, problem, at_turns = (p.less(-lost) for p in parts)
            measured = with_lost.field
            second.replace_data(data(second.fit + lost))
            square, gradients, low, shares = _in_rounds(
                second, data, by_place, progress, ROUNDS_AFTER
            )
    n_turned = int(np.count_nonzero(second.problem.field != measured))
    harmonic = second.harmonic
    chi, harmonic_field = (
        np.where(mask, grid.back(volume), 0).astype(np.float32) for volume in (second.x, harmonic)
    )
    return AdaptiveResult(
        chi, harmonic_field, _percent(harmonic, problem), error, penalties, second.n_iterations,
        second.update_percent, n_turned, second.problem.less(harmonic), second.x, square,
        gradients, low, grid, shares, put_back, n_before,
    )  # fmt: skip


class _ByPlace:
    """What penalties are multiplied by, from map to map."""

    def __init__(self, problem: AdaptiveProblem, penalties: Penalties, edges: ImageEdges) -> None:
        self.gradient = LocalGradient(problem, edges)
        self._square = None
        if penalties.tikhonov > LEAST_TIKHONOV:  # the least is there where nothing else holds x
            self._square = LocalSquare(problem.mask, problem.n_threads)

    def square(self, x: Float32Array) -> Float32Array | None:
        return None if self._square is None else self._square(x)


def _in_rounds(
    solver: Minimiser,
    data: Callable[[Float32Array], AdaptiveProblem],
    by_place: _ByPlace,
    progress: Callable[[int, float], None] | None,
    rounds: int = ROUNDS,
) -> tuple[Float32Array | None, Float32Array, list[Float32Array] | None, tuple[float, ...]]:
    """Iterate with penalties by place and data as each better map has them; return the former."""
    low = None
    for number in range(rounds):
        if number:
            solver.replace_data(data(solver.fit))
        square = by_place.square(solver.x)
        gradient, shares = by_place.gradient(solver.x)
        solver.reweigh(square, gradient)
        if solver.bands is not None and square is not None:
            low = solver.bands.weights(solver.x, solver.problem.mask, square)
            solver.hold_bands(low)
        solver.run(ROUND_ITERATIONS, TOLERANCE, progress)
    return square, gradient, low, shares


def _percent(part: Float32Array, problem: AdaptiveProblem) -> float:
    """Return the norm of a field over that of the data, where these are [%]."""
    used = problem.weights > 0
    norms = [float(np.linalg.norm(v[used].astype(np.float64))) for v in (part, problem.field)]
    return 100 * norms[0] / norms[1] if norms[1] > 0 else 0.0
