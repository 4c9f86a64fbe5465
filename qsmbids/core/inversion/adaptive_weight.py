r"""The gradient penalty of FANSI from the noise that is in the field (item 7.b).

For noise of standard deviation sigma in the weighted phase W y and differences of chi that follow
a Laplace distribution of mean b, the most probable susceptibility has the penalty

.. math:: \alpha_1 = \tau \, \frac{\sigma^2}{b}, \qquad
          b = \frac{1}{N} \sum_{r} \sum_d r_d |\nabla_d x|.

Both are measured after one short inversion. sigma is what is left of the field in the cone of
k-space where the dipole vanishes: no susceptibility can explain it, however weak or strong the
first penalty was. It holds thermal noise as well as what the phase processing and the
background removal have left. Numerator and denominator follow field strength, echo time and the
empty part of the image alike; finer voxels have smaller differences and get a larger penalty for
the same noise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.fansi import FansiResult, fansi, mean_edge
from qsmbids.core.inversion.fansi_kernels import EDGE_FLOOR
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import crop, irfft, rfft
from qsmbids.core.maths.gradient import difference
from qsmbids.core.maths.robust import NORMAL_MAD
from qsmbids.units import TWO_PI, radians_per_ppm

__all__ = ["AdaptiveWeight", "adaptive_weight", "cone_noise"]


#: Factor of the rule; 1 in theory. Fitted to the best penalties of simulated heads of 1 mm.
TAU = 0.45
#: Penalty of the short inversion, that of Table S2.3; TAU belongs to it.
FIRST = 5e-4
#: Gradient consistency of Table S2.3. With 0.1 a calcification at 7 T comes out less well (error
#: of a cube of 68 voxels around it 24.2 % in place of 22.2 %), and nothing comes out better.
CONSISTENCY_LIMIT = 0.05
#: Where the penalty comes out this much larger than that of the short inversion, noise made most
#: of its differences, and it is repeated with the new penalty, up to this many inversions.
FAR = 2.0
STEPS = 3
#: Penalties beyond this range are no longer a matter of noise.
LIMITS = (3e-5, 3e-2)
#: The cone of k-space: |D| below this, at these frequencies [cycles per voxel].
CONE = 0.08
BAND = (0.1, 0.5)
#: Misfits beyond this many robust standard deviations (calcifications, wrong unwrapping) are
#: clipped before the noise is measured.
OUTLIER = 8.0
#: Zeros around the mask; the misfit is not periodic.
MARGIN = 8


@dataclass(frozen=True)
class AdaptiveWeight:
    """A gradient penalty and what it was derived from.

    Attributes
    ----------
    gradient_l1_penalty, gradient_consistency : float
        For :func:`qsmbids.core.inversion.fansi.fansi`; the consistency is 100 times the penalty,
        but never above 0.05.
    field_noise : float
        Noise and inconsistency of the field [Hz], root mean square weighted by the data.
    phase_noise : float
        The same at the reference echo [rad], times the weights: sigma of the rule.
    mean_gradient : float
        b of the rule [rad].
    rule : str
        What was done, with the numbers, for a log or sidecar.
    """

    gradient_l1_penalty: float
    gradient_consistency: float
    field_noise: float
    phase_noise: float
    mean_gradient: float
    rule: str


def adaptive_weight(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    echo_time: float,
    weak_harmonic: bool = True,
    nonlinear: bool = True,
    regularisation_weight: str = "vector-absolute",
    start: str = "least-squares",
    consistency_ratio: float = 100.0,
    pilot_iterations: int = 25,
    n_threads: int = 1,
) -> AdaptiveWeight:
    r"""Return the gradient penalty that suits the noise of a local field.

    Parameters
    ----------
    local_field, mask, weights, voxel_size, b0_direction
        As for :func:`qsmbids.core.inversion.fansi.fansi`.
    centre_frequency : float
        Larmor frequency [Hz].
    echo_time : float
        Reference echo time [s], the one that the inversion will be given.
    weak_harmonic, nonlinear, regularisation_weight, start
        As the inversion will be given.
    consistency_ratio : float
        mu1 over alpha1: 100 in the paper and its software. It follows a smaller penalty down, not
        a larger one up beyond Table S2.3: strong sources then come out less well.
    pilot_iterations : int
        Of the short inversion, 15 or more.
    n_threads : int
        Threads of the transforms and loops.

    Returns
    -------
    AdaptiveWeight

    Raises
    ------
    ValueError
        See :func:`qsmbids.core.inversion.fansi.fansi`; or ``pilot_iterations`` are too few.

    References
    ----------
    Bioucas-Dias JM, Figueiredo MAT, Oliveira JP. Total variation-based image deconvolution: a
    majorization-minimization approach. Proc IEEE ICASSP 2006;2:861.
    doi:10.1109/ICASSP.2006.1660479 (the penalty as a hyperparameter that is estimated).

    Milovic C, Prieto C, Bilgic B, et al. Comparison of parameter optimization methods for
    quantitative susceptibility mapping. Magn Reson Med 2021;85:480. doi:10.1002/mrm.28435 (the
    cone of k-space tells noise from susceptibility).
    """
    if pilot_iterations < 15:
        raise ValueError("at least fifteen iterations are needed")
    if mask.shape != weights.shape or not mask.any():
        raise ValueError("the mask is empty or differs in shape from the weights")
    scale = radians_per_ppm(centre_frequency, echo_time)
    edges = _Edges.of(weights, mask, regularisation_weight)
    alpha, state = FIRST, None
    for _ in range(STEPS):
        pilot = fansi(
            local_field, mask, weights, voxel_size, b0_direction,
            centre_frequency=centre_frequency, echo_time=echo_time,
            gradient_l1_penalty=alpha,
            gradient_consistency=min(consistency_ratio * alpha, CONSISTENCY_LIMIT),
            maximum_iterations=pilot_iterations, weak_harmonic=weak_harmonic, nonlinear=nonlinear,
            regularisation_weight=regularisation_weight, start=start, margin=MARGIN,
            iterations="joint", initial=state, keep_state=True, n_threads=n_threads,
        )  # fmt: skip
        state = pilot.state
        weighted_noise, rms_weight = cone_noise(
            pilot, local_field, mask, weights, voxel_size, b0_direction,
            centre_frequency=centre_frequency, n_threads=n_threads,
        )  # fmt: skip
        sigma = TWO_PI * echo_time * weighted_noise
        slope = scale * edges.mean_gradient(pilot.chi)
        alpha = float(np.clip(TAU * sigma**2 / slope, *LIMITS)) if slope > 0 else FIRST
        if alpha < FAR * FIRST:  # beyond it b was that of the noise
            break
    field_noise = weighted_noise / rms_weight
    mu1 = min(consistency_ratio * alpha, CONSISTENCY_LIMIT)
    rule = (
        f"alpha1 = {TAU} * sigma^2 / b = {alpha:.3g}, with sigma = {sigma:.3g} rad of weighted "
        f"noise ({field_noise:.3g} Hz) in the cone of k-space that no susceptibility explains and "
        f"b = {slope:.3g} rad mean weighted gradient; mu1 = {mu1:.3g}"
    )
    return AdaptiveWeight(alpha, mu1, field_noise, sigma, slope, rule)


def cone_noise(
    result: FansiResult,
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    n_threads: int = 1,
) -> tuple[float, float]:
    """Return the SD [Hz] of the weighted misfit where the dipole vanishes in k-space.

    Parameters
    ----------
    result : FansiResult
        An inversion, rough or not.
    local_field, mask, weights, voxel_size, b0_direction, centre_frequency
        What was inverted.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    noise : float
        SD [Hz] per voxel of the misfit times the weights, of largest value 1. Misfit means what
        neither susceptibility nor the harmonic field explains.
    rms_weight : float
        Root mean square of those weights.

    Raises
    ------
    ValueError
        The mask is so small that no sample of k-space lies in the cone.
    """
    box = bounding_box(mask)
    pad = (MARGIN, MARGIN, MARGIN)
    inside = crop(mask, box, pad)
    grid = (inside.shape[0], inside.shape[1], inside.shape[2])
    kernel = dipole_kernel(grid, voxel_size, b0_direction)
    hz_per_ppm = np.float32(1e-6 * centre_frequency)
    spectrum = rfft(crop(result.chi, box, pad), n_threads) * kernel
    misfit = hz_per_ppm * irfft(spectrum, grid, n_threads, overwrite=True)
    misfit -= crop(np.where(mask, local_field, 0.0).astype(np.float32), box, pad)
    if result.harmonic_field is not None:
        misfit += crop(result.harmonic_field, box, pad)

    weight = crop(np.where(mask, weights, 0.0).astype(np.float32), box, pad)
    weight /= weight.max()
    limit = OUTLIER / NORMAL_MAD * float(np.median(np.abs(misfit[weight > 0])))
    np.clip(misfit, -limit, limit, out=misfit)
    power = np.abs(rfft(weight * misfit, n_threads)) ** 2 / np.count_nonzero(inside)

    x, y = (np.fft.fftfreq(n).astype(np.float32) for n in grid[:2])
    z = np.fft.rfftfreq(grid[2]).astype(np.float32)
    radius = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    cone = (np.abs(kernel) < CONE) & (radius > BAND[0]) & (radius < BAND[1])
    if not cone.any():
        raise ValueError("the mask is too small to measure the noise in it")
    # the power of Gaussian noise is exponentially distributed, with the median log(2) of the mean
    noise = float(np.sqrt(np.median(power[cone]) / np.log(2.0)))
    return noise, float(np.sqrt(np.square(weight[inside], dtype=np.float64).mean()))


@dataclass(frozen=True)
class _Edges:
    """Regularisation weights r_d between the voxels of a mask."""

    between: tuple[Mask, ...]
    weights: tuple[FloatArray, ...]
    n_voxels: int

    @classmethod
    def of(cls, weights: FloatArray, mask: Mask, regularisation_weight: str) -> "_Edges":
        w = np.where(mask, weights, 0.0).astype(np.float32)
        mean = mean_edge(w, regularisation_weight)
        between, r = [], []
        for axis in range(3):
            both = mask & np.roll(mask, -1, axis)
            edge = -difference(w, axis)[both]
            if regularisation_weight == "vector-absolute":
                edge = np.abs(edge)
            elif regularisation_weight == "none":
                edge = np.zeros_like(edge)
            between.append(both)
            r.append(mean / np.maximum(edge, EDGE_FLOOR))
        return cls(tuple(between), tuple(r), int(np.count_nonzero(mask)))

    def mean_gradient(self, chi: Float32Array) -> float:
        """Return the sum of r_d |grad_d chi| over the axes, per voxel of the mask."""
        total = 0.0
        for axis, (both, r) in enumerate(zip(self.between, self.weights, strict=True)):
            step = np.abs(difference(chi, axis)[both])
            total += float((r * step).sum(dtype=np.float64))
        return total / self.n_voxels
