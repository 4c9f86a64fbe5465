r"""FANSI: total-variation dipole inversion with a nonlinear data term and weak harmonics.

Consensus section 6 and Table S2.3. The objective, in radians of phase at the reference echo, is

.. math:: \min_{x, h} \sum W^2 (1 - \cos(Dx + h - y)) + \alpha_1 \sum_d \| r_d \nabla_d x \|_1
          + \frac{\beta}{2} \| m \Delta h \|^2

with x the susceptibility, h a field that is (nearly) harmonic in the mask m, y the local field,
W the data weights (largest value 1) and r_d a regularisation weight that is small at edges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.fansi_alternating import minimise_alternating
from qsmbids.core.inversion.fansi_joint import minimise_jointly
from qsmbids.core.inversion.fansi_kernels import EDGE_FLOOR
from qsmbids.core.inversion.fansi_problem import FansiProblem, FansiState
from qsmbids.core.inversion.fansi_stages import minimise_in_stages
from qsmbids.core.inversion.fansi_start import least_squares_start
from qsmbids.core.inversion.inversion_input import check_inversion
from qsmbids.core.maths.arrays import Box, Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import fast_shape, pad_to, uncrop
from qsmbids.core.maths.gradient import difference
from qsmbids.units import TWO_PI, radians_per_ppm

__all__ = ["FansiResult", "FansiState", "fansi", "mean_edge"]


#: Newton steps for z2. They start from the linear solution (up to whole turns) and converge
#: quadratically: three reach 1e-5 rad for misfits up to 2.8 rad, 1e-11 up to 2 rad.
NEWTON_STEPS = 3
#: Zeros around the mask [voxels]. What the periodic grid does to the map hardly depends on it:
#: from 24 to 12 the error changes by at most 0.1 % of the contrast, from 24 to 40 as much.
MARGIN = 12
STARTS = ("least-squares", "zero")
MINIMISE = {
    "staged": minimise_in_stages,
    "joint": minimise_jointly,
    "alternating": minimise_alternating,
}
EDGE_SIGN = {"vector-absolute": -1.0, "vector-signed": 1.0, "none": 0.0}


@dataclass(frozen=True)
class FansiResult:
    """What :func:`fansi` returns.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility [ppm], unreferenced, zero outside the mask.
    harmonic_field : (X, Y, Z) ndarray of float32 or None
        The background field [Hz] that was left in the local field, zero outside the mask.
    n_iterations : int
        Iterations done.
    update_percent : float
        Relative change of the last iteration [%]; of linear TV in terms of plain iterations.
    converged : bool
        Whether the change fell below the tolerance.
    n_turned : int
        Voxels whose data were moved by whole turns to where the start predicts them.
    state : FansiState or None
        Where the iterations ended, if it was asked for.
    """

    chi: Float32Array
    harmonic_field: Float32Array | None
    n_iterations: int
    update_percent: float
    converged: bool
    n_turned: int = 0
    state: FansiState | None = None


def fansi(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    echo_time: float,
    gradient_l1_penalty: float = 5e-4,
    gradient_consistency: float = 5e-2,
    fidelity_consistency: float = 1.0,
    tolerance_percent: float = 0.1,
    maximum_iterations: int = 400,
    weak_harmonic: bool = True,
    harmonic_constraint: float = 150.0,
    harmonic_consistency: float = 3.0,
    nonlinear: bool = True,
    start: str = "least-squares",
    linear_start: int = 0,
    regularisation_weight: str = "vector-absolute",
    iterations: str = "staged",
    margin: int | Literal["auto"] | None = "auto",
    initial: FansiState | None = None,
    keep_state: bool = False,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> FansiResult:
    r"""Return the susceptibility [ppm] behind a local field [Hz].

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4, where susceptibility is allowed (and h is nearly harmonic).
    weights : (X, Y, Z) ndarray
        Data weights >= 0 with a median near 1. A voxel of weight 0 inside the mask is inpainted.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    echo_time : float
        Reference echo time [s]: the last echo, to which the parameters of Table S2.3 refer.
    gradient_l1_penalty, gradient_consistency, fidelity_consistency : float
        alpha1, mu1 and mu2 of Table S2.3.
    tolerance_percent : float
        Stop when x changes by less than this [%].
    maximum_iterations : int
        Most iterations.
    weak_harmonic : bool
        Estimate what is left of the background field with the susceptibility.
    harmonic_constraint, harmonic_consistency : float
        beta and muh of Table S2.3.
    nonlinear : bool
        Compare complex signals, blind to whole turns, instead of phases.
    start : {"least-squares", "zero"}
        Where iterations with a nonlinear data term start. It has a minimum at every whole turn,
        and from zero they end in a wrong one around sources whose field exceeds several turns
        at the reference echo (calcifications, haemorrhages). The map of least squares without
        outliers (:mod:`qsmbids.core.inversion.fansi_start`) is near the right one. "zero" is what
        the software of the consensus paper does. A linear data term has one minimum: zero will do.
    linear_start : int
        Of a start from zero: iterations with the linear data term before the nonlinear one.
    regularisation_weight : {"vector-absolute", "vector-signed", "none"}
        How differences of the weights lower the penalty: by their size, or only where the
        weights fall along the axis (FANSI v3, the software of the consensus paper), or not.
    iterations : {"staged", "joint", "alternating"}
        Solve for x and h together (:mod:`qsmbids.core.inversion.fansi_joint`) with consistency
        weights that start smaller (:mod:`qsmbids.core.inversion.fansi_stages`), with constant
        ones, or in turn as FANSI's own software does
        (:mod:`qsmbids.core.inversion.fansi_alternating`). The first ends nearer to the
        minimum, but goes on from an ``initial`` state less directly.
    margin : int, "auto" or None
        Zeros around the bounding box of the mask [voxels]; None keeps the given grid. "auto" is
        12.
    initial : FansiState, optional
        Start where an earlier inversion of the same mask and margin ended, in place of
        ``start``.
    keep_state : bool
        Return the state for a later ``initial``.
    n_threads : int
        Threads of the transforms and loops.
    progress : callable, optional
        Called after each iteration with its number and the change [%].

    Returns
    -------
    FansiResult

    Raises
    ------
    ValueError
        A shape or parameter is wrong, the mask is empty, or the field or the weights in it are
        not finite, negative, or all zero.

    Notes
    -----
    Alternating directions with z1 = grad x, z2 = Dx + h and zh = Lap h; six transforms for each
    iteration (four without h; seven if alternating), about 17 volumes of the cropped grid. Single
    precision, norms in double.

    References
    ----------
    Milovic C, Bilgic B, Zhao B, Acosta-Cabronero J, Tejos C. Fast nonlinear susceptibility
    inversion with variational regularization. Magn Reson Med 2018;80:814. doi:10.1002/mrm.27073

    Milovic C, Bilgic B, Zhao B, Langkammer C, Tejos C, Acosta-Cabronero J. Weak-harmonic
    regularization for quantitative susceptibility mapping. Magn Reson Med 2019;81:1399.
    doi:10.1002/mrm.27483
    """
    mask = np.asarray(mask, dtype=bool)
    check_inversion(local_field, mask, weights)
    _check_choices(regularisation_weight=regularisation_weight, start=start, iterations=iterations)
    penalties = (gradient_l1_penalty, gradient_consistency, fidelity_consistency)
    harmonic_weights = (harmonic_constraint, harmonic_consistency)
    numbers = (centre_frequency, echo_time, tolerance_percent, *penalties, *harmonic_weights)
    if not all(np.isfinite(v) and v > 0 for v in numbers):
        raise ValueError("frequency, echo time, penalties and tolerance must be > 0")
    if maximum_iterations < 1 or linear_start < 0:
        raise ValueError("the maximum of iterations must be > 0, and the linear ones >= 0")
    if margin == "auto":
        margin = MARGIN
    if isinstance(margin, str):
        raise ValueError(f"unknown margin {margin!r}")
    grid = _Grid.around(mask, margin)
    if initial is not None and initial.x.shape != grid.shape:
        raise ValueError(f"the initial state has shape {initial.x.shape}, not {grid.shape}")

    to_radians = TWO_PI * echo_time
    w_full = np.where(mask, weights, 0.0).astype(np.float32)
    # over the whole image, as FANSI does: penalties keep their meaning whatever the crop
    edge_mean = mean_edge(w_full, regularisation_weight)
    problem = FansiProblem(
        y=grid.place(np.where(mask, local_field * to_radians, 0.0).astype(np.float32)),
        weights=grid.place(w_full),
        mask=grid.place(mask),
        kernel=dipole_kernel(grid.shape, voxel_size, b0_direction),
        weight_scale=1.0 / float(w_full.max()),
        threshold=gradient_l1_penalty / gradient_consistency * edge_mean,
        edge_sign=EDGE_SIGN[regularisation_weight],
        gradient_consistency=gradient_consistency,
        fidelity_consistency=fidelity_consistency,
        harmonic_constraint=harmonic_constraint,
        harmonic_consistency=harmonic_consistency,
        weak_harmonic=weak_harmonic,
        n_newton=NEWTON_STEPS if nonlinear else 0,
        linear_start=linear_start if start == "zero" and initial is None else -1,
    )
    problem, first, n_turned = _first_state(problem, start, initial, n_threads)
    state, n_iterations, update = MINIMISE[iterations](
        problem, first.pop(), tolerance_percent, maximum_iterations, n_threads, progress
    )
    chi = grid.restore(state.x) / radians_per_ppm(centre_frequency, echo_time)
    return FansiResult(
        chi=np.where(mask, chi, 0.0).astype(np.float32),
        harmonic_field=_field(grid.restore(state.h), mask, to_radians) if weak_harmonic else None,
        n_iterations=n_iterations,
        update_percent=update,
        converged=update < tolerance_percent,
        n_turned=n_turned,
        state=state if keep_state else None,
    )


@dataclass(frozen=True)
class _Grid:
    """The box of the mask with zeros around it, on which everything is done."""

    whole: tuple[int, int, int]
    box: Box
    offset: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, mask: Mask, margin: int | None) -> "_Grid":
        x, y, z = mask.shape
        if margin is None:
            return cls((x, y, z), (slice(0, x), slice(0, y), slice(0, z)), (0, 0, 0), (x, y, z))
        box = bounding_box(mask)
        shape = fast_shape(tuple(b.stop - b.start + 2 * margin for b in box))
        return cls((x, y, z), box, (margin, margin, margin), shape)

    def place(self, volume: npt.NDArray) -> npt.NDArray:
        return pad_to(volume[self.box], self.shape, self.offset)

    def restore(self, volume: npt.NDArray) -> npt.NDArray:
        return uncrop(volume, self.whole, self.box, self.offset)


def _check_choices(**choices: str) -> None:
    """Check each option that is one of a few words."""
    words = {"regularisation_weight": EDGE_SIGN, "start": STARTS, "iterations": MINIMISE}
    for name, choice in choices.items():
        if choice not in words[name]:
            what, known = name.replace("_", " "), ", ".join(words[name])
            raise ValueError(f"unknown {what} {choice!r}, choose from {known}")


def _first_state(
    problem: FansiProblem, start: str, initial: FansiState | None, n_threads: int
) -> tuple[FansiProblem, list[FansiState], int]:
    """Return the data at their turns, where to start, and how many voxels were turned.

    The state in a list, from which it can be taken: the iterations let go of some of it.
    """
    if initial is not None:
        return problem, [initial.copy()], 0
    if start == "zero" or not problem.n_newton:
        return problem, [problem.zero_start()], 0
    turned, state = least_squares_start(problem, n_threads)
    n_turned = int(np.count_nonzero((turned.weights > 0) & (turned.y != problem.y)))
    return turned, [state], n_turned


def _field(phase: Float32Array, mask: Mask, to_radians: float) -> Float32Array:
    return np.where(mask, phase / to_radians, 0.0).astype(np.float32)


def mean_edge(weights: Float32Array, regularisation_weight: str) -> float:
    """Return the mean of max(edge, 1e-3) over a whole weights map and the three axes.

    The regularisation weight between two voxels is this mean over their own edge. For "none" it
    is 1e-3, which makes every regularisation weight 1.

    Where the weights are even, the border of the mask is all the edge there is, and the factor
    depends on how much of the image is empty. It is kept as it is in FANSI: the penalty of Table
    S2.3 counts on it. Without the border, a noisy field with even weights is smoothed too little.
    """
    floor = float(EDGE_FLOOR)
    if regularisation_weight == "none":
        return floor
    means = []
    for axis in range(3):
        edge = -difference(weights, axis)
        if regularisation_weight == "vector-absolute":
            edge = np.abs(edge)
        means.append(np.maximum(edge, floor).mean(dtype=np.float64))
    return float(np.mean(means))
