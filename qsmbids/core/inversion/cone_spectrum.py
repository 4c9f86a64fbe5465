r"""The error of a local field by spatial frequency, from the cone where no susceptibility acts.

Where the unit dipole vanishes, any field is error. Noise there is white. What microstructure,
anisotropy, motion and the phase processing leave has the spectrum of the tissue itself, so that

.. math:: S_e(k) = a + b \, S_\chi(k)

with k the distance from the centre of k-space. The power of the field in the cone |D| < 0.08 and
outside of it, |D| > 0.25, gives S_e and S_chi for each shell,

.. math:: P_c = S_e + \overline{D^2}_c \, S_\chi, \qquad
          P_o = S_e + \overline{D^2}_o \, S_\chi,

and their relation gives a and b. No truth is asked for, and the field strength has no bearing.

What a background removal leaves is harmonic. A harmonic field can be fitted to any field, so the
fit alone tells nothing; but where it is real, a map without it leaves at the lowest frequencies of
the cone many times the error a + b S_chi that is there with it.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.adaptive_solver import (
    AdaptiveProblem,
    frequency_radius,
    mean_gradient,
    square_frequencies,
)
from qsmbids.core.maths.arrays import Float32Array, Float64Array
from qsmbids.core.maths.fft import rfft
from qsmbids.core.maths.masked import mean_in
from qsmbids.core.maths.parallel import planes
from qsmbids.core.maths.robust import NORMAL_MAD
from qsmbids.core.maths.smoothing import LocalMean

__all__ = ["ErrorModel", "local_error", "measure_error", "shell_powers"]


#: The cone, and where the dipole is large.
CONE, OUTER = 0.08, 0.25
#: Shells for each cycle per voxel.
SHELLS = 40
#: Frequencies [cycles per voxel] at which a and b are fitted, and at which sigma is taken.
FITTED, BAND = (0.1, 0.5), (0.1, 0.5)
#: Shells with fewer samples in the cone are not fitted.
LEAST_SAMPLES = 50
FIT_STEPS = 10
#: Frequencies at which a harmonic field is told from the error; below lies what the mean hides.
SMOOTH = (0.025, 0.1)
#: Of the signal, what truncation leaves in the cone there and a harmonic field takes without need.
TRUNCATED = 3e-4
#: Part of b that filling in the field around the mask hides, in simulated fields.
HIDDEN = 0.16
#: b is 0 unless it is this many times its standard error: noise has no signal to tell it from.
SURE = 3.0
#: Misfits beyond this many robust standard deviations (calcifications, wrong unwrapping) are
#: clipped before they are transformed.
OUTLIER = 8.0
#: Standard deviation of the window [voxels] in which the error is told apart by place, and the
#: range of its relative variance.
LOCAL_WIDTH, LOCAL_RANGE = 5.0, (0.05, 20.0)
#: Least part of that window that counts as having data.
LEAST_DATA = 0.1


@dataclass(frozen=True)
class ErrorModel:
    """What the cone of k-space tells of a local field.

    Attributes
    ----------
    white_ppm : float
        sqrt(a): standard deviation of the white part in one voxel [ppm], at the mean weight.
    share : float
        b: power of the other part over that of the susceptibility.
    sigma_ppm : float
        Standard deviation of both at 0.1 to 0.5 cycles per voxel [ppm].
    gradient_ppm : float
        Mean length of the gradient of the first map [ppm], in which there is noise.
    calm_gradient_ppm : float
        The same of a map with the penalties that followed [ppm].
    white_percent, structured_percent : float
        Norm of the two parts [% of that of the field], beyond 0.1 cycles per voxel.
    harmonic_ratio : float
        Power in the cone that a map needs a harmonic field for, over that of the error which is
        left, as modelled, at 0.025 to 0.1 cycles per voxel. In simulated and real heads it is 0.3
        to 1 where an error of the spectrum of the tissue prevails, and more than 3 where the rest
        of a background removal does.
    """

    white_ppm: float
    share: float
    sigma_ppm: float
    gradient_ppm: float
    calm_gradient_ppm: float
    white_percent: float
    structured_percent: float
    harmonic_ratio: float = 0.0

    @property
    def white_variance(self) -> float:
        """Variance of the white part [ppm^2], at most that of all error."""
        return min(self.white_ppm, self.sigma_ppm) ** 2

    @property
    def error_percent(self) -> float:
        """Norm of all error [% of that of the field]."""
        return float(np.hypot(self.white_percent, self.structured_percent))


@dataclass(frozen=True)
class _Shells:
    """Sums over shells of k-space; ``error`` and ``signal`` are mean powers, n of the cone."""

    radius: Float64Array
    in_cone: Float64Array
    in_all: Float64Array
    error: Float64Array
    signal: Float64Array
    power: Float64Array


def measure_error(
    problem: AdaptiveProblem,
    x: Float32Array,
    voxel_size: npt.ArrayLike,
    harmonic: Float32Array | None = None,
    held: Float32Array | None = None,
) -> ErrorModel:
    """Return the error model of a field.

    Parameters
    ----------
    problem : AdaptiveProblem
        Field, weights and kernel.
    x : ndarray
        A map that fits the field, however roughly penalised. Its field stands in for the data
        outside the mask and in holes, but not with what x has outside of the mask: that explains
        error by sources there. It tells the mean gradient, too.
    voxel_size : (3,) array_like
        [mm].
    harmonic : ndarray, optional
        A harmonic field [ppm] that was fitted with x; it is no error of the field.
    held : ndarray, optional
        A map of the same penalties without a harmonic field. What this cannot explain, but x
        with its harmonic field can, is the rest of a background.

    Returns
    -------
    ErrorModel

    Raises
    ------
    ValueError
        The mask is so small that no sample of k-space lies in the cone.
    """
    shells = _shells(problem if harmonic is None else problem.less(harmonic), x, voxel_size)
    n_voxels = np.count_nonzero(problem.mask)
    white, share = _fit(shells)
    ratio = 0.0
    if held is not None:
        smooth = (shells.radius > SMOOTH[0]) & (shells.radius < SMOOTH[1])
        alone = _shells(problem, held, voxel_size)
        taken = alone.error - shells.error
        model = white + share * shells.signal + TRUNCATED * alone.signal
        left = float((shells.in_cone * model)[smooth].sum())
        ratio = max(float((shells.in_cone * taken)[smooth].sum()), 0.0) / left if left > 0 else 0.0
    share /= 1 - HIDDEN
    band = (shells.radius > BAND[0]) & (shells.radius < BAND[1])
    samples = shells.in_cone[band]
    if not samples.sum() > 0:
        raise ValueError("the mask is too small to measure the error of the field in it")
    sigma = float((samples * shells.error[band]).sum() / samples.sum() / n_voxels)

    seen = shells.radius > FITTED[0]
    total = float((shells.in_all * shells.power)[seen].sum())
    parts = [
        float((shells.in_all * part)[seen].sum())
        for part in (white * np.ones_like(shells.signal), share * shells.signal)
    ]
    gradient = mean_gradient(x, problem.mask, problem.steps, problem.n_threads)
    percent = [
        100 * float(np.sqrt(min(1.0, part / total))) if total > 0 else 0.0 for part in parts
    ]
    return ErrorModel(
        white_ppm=float(np.sqrt(white / n_voxels)),
        share=share,
        sigma_ppm=float(np.sqrt(sigma)),
        gradient_ppm=gradient,
        calm_gradient_ppm=gradient,
        white_percent=percent[0],
        structured_percent=percent[1],
        harmonic_ratio=ratio,
    )


def _shells(problem: AdaptiveProblem, x: Float32Array, voxel_size: npt.ArrayLike) -> _Shells:
    """Return the powers by radius of the field."""
    spectrum = _filled(problem, x)
    squares = square_frequencies(problem.grid, voxel_size)
    sums = np.zeros((problem.grid[0], SHELLS, len(_SUMS)))
    with planes(problem.grid[0], problem.n_threads) as run:
        run(_add_to_shells, spectrum, problem.kernel, *squares, problem.grid[2], sums)
    found = dict(zip(_SUMS, sums.sum(axis=0).T, strict=True))

    def mean(name: str, where: str) -> Float64Array:
        return found[f"{name} {where}"] / np.maximum(found[f"samples {where}"], 1.0)

    inside, outside = mean("power", "cone"), mean("power", "outer")
    low, high = mean("square", "cone"), mean("square", "outer")
    signal = np.maximum(outside - inside, 0.0) / np.maximum(high - low, 1e-9)
    return _Shells(
        radius=(np.arange(SHELLS) + 0.5) / SHELLS,
        in_cone=found["samples cone"] / 2.0,
        in_all=found["samples all"],
        error=np.maximum(inside - low * signal, 0.0),
        signal=signal,
        power=mean("power", "all"),
    )


#: Sums over the samples of a shell: of those in the cone, in its outside and of all.
_SUMS = (
    "samples all", "power all", "samples cone", "power cone", "square cone", "samples outer",
    "power outer", "square outer",
)  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _add_to_shells(start, stop, spectrum, kernel, x2, y2, z2, nz, sums):  # type: ignore[no-untyped-def]
    """Add to the sums of each plane; a sample of the half spectrum stands for two but on its ends.

    ``x2``, ``y2`` and ``z2`` are squares of the frequencies along the axes.
    """
    cone, outer = np.float32(CONE**2), np.float32(OUTER**2)
    for i in range(start, stop):
        for j in range(spectrum.shape[1]):
            s, d = spectrum[i, j], kernel[i, j]
            for k in range(d.size):
                radius = np.float32(np.sqrt(x2[i] + y2[j] + z2[k]))
                to = sums[i, min(int(radius * np.float32(SHELLS)), SHELLS - 1)]
                times = 1.0 if k == 0 or 2 * k == nz else 2.0
                power = times * float(s[k].real * s[k].real + s[k].imag * s[k].imag)
                square = d[k] * d[k]
                to[0] += times
                to[1] += power
                if square < cone:
                    to[2] += times
                    to[3] += power
                    to[4] += times * float(square)
                elif square > outer:
                    to[5] += times
                    to[6] += power
                    to[7] += times * float(square)


def local_error(
    problem: AdaptiveProblem, fit: Float32Array, error: ErrorModel, by_data: float = 0.0
) -> Float32Array:
    """Return the relative variance of the error around each voxel: 1 on average.

    What a penalised map leaves of the field, squared and smoothed, tells where the error is: in
    half a real head the logarithm of that correlates by 0.94 with that of the error against
    COSMOS. The white part of the error is alike everywhere. Near the rim less is left, for sources
    outside explain a part: there it is divided by the part of the window that has data.

    Parameters
    ----------
    problem : AdaptiveProblem
        Field and mask.
    fit : ndarray
        The field [ppm] of a map with the penalties of the error, and of its harmonics.
    error : ErrorModel
        What :func:`measure_error` returned.
    by_data : float
        Power of the part that has data: 0 takes what is left as it is.
    """
    square = np.where(problem.weights > 0, fit - problem.field, 0).astype(np.float32) ** 2
    window = LocalMean(problem.weights > 0, LOCAL_WIDTH, problem.n_threads, 1e-2)
    around = window(square)
    if by_data > 0:
        around /= np.maximum(window.share, LEAST_DATA) ** np.float32(by_data)
    mean_around = mean_in(around, problem.mask, problem.n_threads)
    if not (mean_around > 0 and error.sigma_ppm > 0):
        return np.ones_like(fit)
    structured = 1 - error.white_variance / error.sigma_ppm**2
    relative = (1 - structured) + structured * np.clip(around / mean_around, *LOCAL_RANGE)
    return np.where(problem.mask, relative, 1).astype(np.float32)


def shell_powers(
    problem: AdaptiveProblem,
    x: Float32Array,
    spectrum: npt.NDArray[np.complexfloating],
    voxel_size: npt.ArrayLike,
) -> tuple[npt.NDArray[np.int32], Float64Array, Float64Array]:
    """Return the shell of each sample, the measured power of the tissue in it, and of a spectrum.

    Parameters are those of :func:`measure_error`, and a half spectrum on the same grid.
    """
    shells = _shells(problem, x, voxel_size)
    shell = np.minimum(
        (frequency_radius(problem.grid, voxel_size) * SHELLS).astype(np.int32), SHELLS - 1
    )
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float64)
    n = np.bincount(shell.ravel(), minlength=SHELLS)
    own = np.bincount(shell.ravel(), power.ravel(), SHELLS) / np.maximum(n, 1)
    return shell, shells.signal, own


def _filled(problem: AdaptiveProblem, x: Float32Array) -> npt.NDArray[np.complexfloating]:
    """Return the spectrum of the weighted field, filled in by that of the map in the mask."""
    filled = problem.dipole(np.where(problem.mask, x, np.float32(0)))
    misfit = problem.field - filled
    used = problem.weights > 0
    limit = OUTLIER / NORMAL_MAD * float(np.median(np.abs(misfit[used])))
    np.clip(misfit, -limit, limit, out=misfit)
    misfit *= np.sqrt(problem.weights)
    misfit += filled
    return rfft(misfit, problem.n_threads)


def _fit(shells: _Shells) -> tuple[float, float]:
    """Return a and b of S_e = a + b S_chi, neither negative, by relative least squares."""
    from scipy.optimize import nnls  # 0.2 s that a dry run need not wait for

    used = (
        (shells.radius > FITTED[0])
        & (shells.radius < FITTED[1])
        & (shells.in_cone > LEAST_SAMPLES)
        & (shells.signal > 0)
    )
    if np.count_nonzero(used) < 2:
        return float(shells.error[shells.in_cone > 0].mean()), 0.0
    error, signal = shells.error[used], shells.signal[used]
    scale = np.sqrt(shells.in_cone[used])
    model, a, b = error, 0.0, 0.0
    for _ in range(FIT_STEPS):
        weight = scale / np.maximum(model, 1e-30)
        matrix = np.stack([weight, weight * signal], axis=1)
        size = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
        found, _ = nnls(matrix / size, weight * error)
        a, b = (found / size).tolist()
        model = a + b * signal
    if b > 0:
        weight = scale / np.maximum(model, 1e-30)
        spread = np.linalg.pinv((matrix / size).T @ (matrix / size))[1, 1] / size[1] ** 2
        excess = np.mean((weight * (error - model)) ** 2)
        if b < SURE * np.sqrt(spread * max(excess, 1.0)):
            return float((scale**2 * error).sum() / (scale**2).sum()), 0.0
    return float(a), float(b)
