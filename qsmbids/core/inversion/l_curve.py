r"""The L-curve: how misfit and smoothness trade as the regularisation grows (item 7.b).

Plotted as log10 regularity against log10 residual the curve bends where the noise stops being
fitted. The bend is the point of largest curvature

.. math:: \kappa = \frac{\rho' \eta'' - \rho'' \eta'}{(\rho'^2 + \eta'^2)^{3/2}},

with rho and eta the two logarithms as functions of log10 alpha.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import UnivariateSpline

from qsmbids.core.inversion.adaptive_weight import CONSISTENCY_LIMIT
from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.fansi import FansiResult, fansi
from qsmbids.core.maths.arrays import Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import crop, irfft, rfft
from qsmbids.core.maths.gradient import difference

__all__ = [
    "LCurve",
    "fansi_l_curve",
    "find_corner",
    "l_curve",
    "total_variation",
]


#: Three decades about the value of Table S2.3 (5e-4), four to a decade.
DEFAULT_PENALTIES = tuple(float(a) for a in np.geomspace(3e-5, 3e-2, 13))
#: The spline may miss a point by this much in log10 units (0.5 %): what the tolerance of the
#: inversion leaves open, and the curvature should not follow.
CURVE_NOISE = 2e-3
#: Points at which the curvature is sought.
DENSITY = 501


@dataclass(frozen=True)
class LCurve:
    """An L-curve and its corner.

    Attributes
    ----------
    strengths : (N,) ndarray
        Regularisation strengths, increasing.
    residual : (N,) ndarray
        log10 of the weighted misfit norm.
    regularity : (N,) ndarray
        log10 of the total variation.
    curvature : (N,) ndarray
        Curvature at each strength; positive where the curve bends like the letter L.
    corner : float
        Strength of the largest curvature, between the given ones too.
    at_the_edge : bool
        The corner is at the first or last strength: the range holds none.
    """

    strengths: Float64Array
    residual: Float64Array
    regularity: Float64Array
    curvature: Float64Array
    corner: float
    at_the_edge: bool


def find_corner(
    strengths: npt.ArrayLike, residual: npt.ArrayLike, regularity: npt.ArrayLike
) -> LCurve:
    """Return the L-curve through given points, with its corner.

    Parameters
    ----------
    strengths : (N,) array_like
        Regularisation strengths > 0, in any order, at least five.
    residual, regularity : (N,) array_like
        Norms > 0 of the misfit and of the total variation (not their logarithms).

    Returns
    -------
    LCurve

    Raises
    ------
    ValueError
        The shapes differ, fewer than five or repeated strengths, or a number is not > 0.

    Notes
    -----
    Both logarithms are smoothing quintic splines of log10 alpha, whose second derivatives are
    smooth.

    References
    ----------
    Hansen PC, O'Leary DP. The use of the L-curve in the regularization of discrete ill-posed
    problems. SIAM J Sci Comput 1993;14:1487. doi:10.1137/0914086

    Examples
    --------
    >>> import numpy as np
    >>> a = np.geomspace(1e-4, 1e-1, 13)
    >>> curve = find_corner(a, 1 + a / 3e-3, 1 + 3e-3 / a)
    >>> round(curve.corner, 4)
    0.003
    """
    points = np.array([np.ravel(strengths), np.ravel(residual), np.ravel(regularity)], dtype=float)
    if points.shape[1] < 5:
        raise ValueError("an L-curve needs at least five strengths")
    if not (np.isfinite(points).all() and (points > 0).all()):
        raise ValueError("strengths and norms must be > 0")
    t, rho, eta = np.log10(points[:, np.argsort(points[0])])
    if np.diff(t).min() <= 0:
        raise ValueError("a strength is given twice")

    smooth = t.size * CURVE_NOISE**2
    degree = min(5, t.size - 1)
    splines = [UnivariateSpline(t, values, k=degree, s=smooth) for values in (rho, eta)]

    def curvature(at: Float64Array) -> Float64Array:
        (r1, r2), (e1, e2) = ([f(at, nu) for nu in (1, 2)] for f in splines)
        return np.asarray((r1 * e2 - r2 * e1) / np.maximum(np.hypot(r1, e1), 1e-12) ** 3)

    fine = np.linspace(t[0], t[-1], DENSITY)
    best = int(np.argmax(curvature(fine)))
    return LCurve(
        10.0**t, rho, eta, curvature(t), float(10.0 ** fine[best]), best in (0, DENSITY - 1)
    )


def l_curve(
    invert: Callable[[float], tuple[float, float]],
    strengths: npt.ArrayLike = DEFAULT_PENALTIES,
    *,
    progress: Callable[[int, float], None] | None = None,
) -> LCurve:
    """Return the L-curve of an inversion.

    Parameters
    ----------
    invert : callable
        Takes a strength, returns the norms of the misfit and of the total variation.
    strengths : array_like
        Strengths; called from the largest to the smallest, in which order a warm start from the
        result before helps most.
    progress : callable, optional
        Called after each inversion with its number and strength.

    Returns
    -------
    LCurve

    Raises
    ------
    ValueError
        See :func:`find_corner`.
    """
    ordered = np.sort(np.ravel(np.asarray(strengths, dtype=float)))[::-1]
    norms = []
    for number, alpha in enumerate(ordered, start=1):
        norms.append(invert(float(alpha)))
        if progress is not None:
            progress(number, float(alpha))
    return find_corner(ordered, *np.transpose(norms))


def fansi_l_curve(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    gradient_l1_penalties: npt.ArrayLike = DEFAULT_PENALTIES,
    consistency_ratio: float = 100.0,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
    **options: object,
) -> LCurve:
    """Return the L-curve of :func:`~qsmbids.core.inversion.fansi.fansi`, one point after another.

    Parameters
    ----------
    local_field, mask, weights, voxel_size, b0_direction
        As for the inversion.
    gradient_l1_penalties : array_like
        alpha1 of the inversions.
    consistency_ratio : float
        mu1 over alpha1; the software of the consensus paper has 100. mu1 is at most 0.05.
    n_threads : int
        Threads.
    progress : callable, optional
        Called after each inversion with its number and strength.
    **options
        Other arguments of the inversion; ``centre_frequency`` and ``echo_time`` at least. Staged
        iterations are joint ones here.

    Returns
    -------
    LCurve
        Misfit norm in Hz (times weights of largest value 1), total variation in ppm.

    Raises
    ------
    ValueError
        See :func:`qsmbids.core.inversion.fansi.fansi` and :func:`find_corner`.
    """
    box = bounding_box(np.asarray(mask, dtype=bool))
    pad = (24, 24, 24)
    inside = crop(mask, box, pad)
    weight = crop(np.where(mask, weights, 0.0).astype(np.float32), box, pad)
    weight /= weight.max()
    target = crop(np.where(mask, local_field, 0.0).astype(np.float32), box, pad)
    grid = (inside.shape[0], inside.shape[1], inside.shape[2])
    kernel = dipole_kernel(grid, voxel_size, b0_direction)
    if options.get("iterations", "staged") == "staged":
        # stages would begin anew at every strength, which goes on from the one before
        options["iterations"] = "joint"
    hz_per_ppm = np.float32(1e-6 * float(options["centre_frequency"]))  # type: ignore[arg-type]
    last: list[FansiResult] = []

    def invert(alpha: float) -> tuple[float, float]:
        result = fansi(
            local_field, mask, weights, voxel_size, b0_direction,
            gradient_l1_penalty=alpha,
            gradient_consistency=min(consistency_ratio * alpha, CONSISTENCY_LIMIT),
            n_threads=n_threads, keep_state=True,
            initial=last.pop().state if last else None,
            **options,  # type: ignore[arg-type]
        )  # fmt: skip
        last.append(result)
        chi = crop(result.chi, box, pad)
        misfit = hz_per_ppm * irfft(rfft(chi, n_threads) * kernel, grid, n_threads) - target
        if result.harmonic_field is not None:
            misfit += crop(result.harmonic_field, box, pad)
        return _norm(weight * misfit), total_variation(chi, inside)

    return l_curve(invert, gradient_l1_penalties, progress=progress)


def _norm(volume: FloatArray) -> float:
    return float(np.sqrt(np.square(volume, dtype=np.float64).sum()))


def total_variation(chi: FloatArray, inside: Mask) -> float:
    """Sum the absolute differences between neighbours that are both in the mask."""
    total = 0.0
    for axis in range(3):
        both = inside & np.roll(inside, -1, axis)
        total += float(np.abs(difference(chi, axis))[both].sum(dtype=np.float64))
    return total
