r"""Phase difference between the two readout directions of a bipolar acquisition.

Echoes read in alternating directions carry a phase that is not in the field: eddy currents and
delays shift the echo in k-space, one way in the odd echoes (1, 3, ...) and the other way in the
even ones (2, 4, ...). With the readout phase :math:`\theta`, even less odd,

.. math:: \phi_e = \phi_0 + 2\pi f\,TE_e \pm \theta / 2 .

In three equally spaced echoes the field and the offset cancel,

.. math:: 2\phi_{e+1} - \phi_e - \phi_{e+2} = \pm 2\theta,

with + where the middle echo is an even one. Whole cycles of any echo drop out of this, which is
why it is taken from products of the complex signals, and why it leaves :math:`\theta` open by
:math:`\pi`.

References
----------
.. [1] Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of
   multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med
   2018;79:2996-3006. doi:10.1002/mrm.26963; the bipolar form of MCPC-3D-S.
.. [2] Li J, Chang S, Liu T, et al. Phase-corrected bipolar gradients in multiecho gradient-echo
   sequences for quantitative susceptibility mapping. MAGMA 2015;28:347-355.
   doi:10.1007/s10334-014-0470-3; the readout phase is nearly linear in space.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.field.nonlinear_fit import nonlinear_fit
from qsmbids.core.field.romeo import unwrap
from qsmbids.core.field.romeo_weights import padded_box
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.local_linear import phase_factors, smooth_phase
from qsmbids.core.phase.masked_echoes import checked_echoes, echoes_inside
from qsmbids.core.phase.phase_checks import thinned
from qsmbids.core.phase.phase_plane import fit_phase_plane
from qsmbids.core.phase.readout_polarity import Polarity, alternating, echo_combinations
from qsmbids.units import TWO_PI

__all__ = ["BipolarCorrection", "BipolarEvidence", "correct_bipolar", "detect_bipolar"]

#: Readout phase [rad, root mean square over the mask] from which the readout is called bipolar;
#: a ramp from -0.5 to 0.5 over a head has 0.2, a monopolar readout about 0.01 or less.
_THRESHOLD = 0.1
#: Coherence with a straight readout phase below which nothing is concluded.
_LEAST_COHERENCE = 0.5
#: Voxels that are enough to judge a correction, and to tell whether one is needed.
_JUDGED_VOXELS, _TELLING_VOXELS = 20_000, 200_000


@dataclass(frozen=True)
class BipolarEvidence:
    """What the echoes say about the readout.

    Attributes
    ----------
    is_bipolar : bool
        The phase alternates from echo to echo.
    strength : float
        Root mean square [rad] over the mask of the straight part of the readout phase.
    constant : float
        Its mean [rad] over the mask, -pi/2 to pi/2 as the readout phase is open by pi.
    gradient : tuple of float
        Readout phase per voxel [rad] along the three array axes.
    coherence : float
        0 to 1: how well a straight alternating phase explains all echoes; noise alone gives 0.
    """

    is_bipolar: bool
    strength: float
    constant: float
    gradient: tuple[float, float, float]
    coherence: float


@dataclass(frozen=True)
class BipolarCorrection:
    """Result of :func:`correct_bipolar`.

    Attributes
    ----------
    phase : (E, X, Y, Z) ndarray of float32
        Phase [rad] as of a monopolar readout, wrapped to -pi to pi; 0 outside the mask and where
        the echo is not finite.
    method : str
        ``mcpc3ds`` or ``linear``.
    readout_phase : (X, Y, Z) ndarray of float32
        Phase [rad] of the even echoes less that of the odd ones; 0 outside the mask.
    residual_before, residual_after : float
        Mean over the mask of what a line through the echoes leaves of the signal energy, see
        :class:`~qsmbids.core.field.nonlinear_fit.NonlinearFit`.
    """

    phase: Float32Array
    method: str
    readout_phase: Float32Array
    residual_before: float
    residual_after: float


def detect_bipolar(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    mask: Mask,
    *,
    polarity: Polarity | None = None,
    threshold: float = _THRESHOLD,
    n_threads: int = 1,
) -> BipolarEvidence:
    """Tell from the echoes whether the readout direction alternates.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Measured phase [rad] of at least three echoes, wrapped or not.
    magnitude : (E, X, Y, Z) ndarray
        Magnitude.
    echo_times : (E,) array_like
        [s], increasing.
    mask : (X, Y, Z) ndarray of bool
        Tissue with signal.
    polarity : tuple of int, optional
        1 or -1 per echo, see :func:`qsmbids.core.phase.readout_polarity.polarity_candidates`.
        Default: in turn.
    threshold : float
        Least strength [rad] of a bipolar readout.
    n_threads : int
        Threads of the unwrapping that only unequally spaced echoes need.

    Returns
    -------
    BipolarEvidence
        With four echoes or more a phase that drifts without alternating does not count. Of three
        unequally spaced echoes the constant is not determined, and the smallest one is taken.

    Raises
    ------
    ValueError
        Fewer than three echoes, shapes or echo times that do not fit, an empty mask, or no voxel
        with signal in all echoes.
    """
    phase, magnitude, mask, times = checked_echoes(phase, magnitude, echo_times, mask)
    polarity = polarity or alternating(times.size)
    box, stride = padded_box(mask), 1
    if echo_combinations(times, polarity)[1]:  # nothing is unwrapped: no neighbours are needed
        thin = thinned(mask[box].shape, _TELLING_VOXELS)
        phase, magnitude = (v[:, *box][:, *thin] for v in (phase, magnitude))
        mask = mask[box][thin]
        box, stride = (slice(None),) * 3, thin[0].step
    fits = []
    for signal, weight in _doubled_readout_phase(
        phase, magnitude, times, polarity, mask, box, n_threads
    ):
        plane = fit_phase_plane(signal)
        straight, inside = plane.at(signal.shape), weight > 0
        agreeing = np.sum(signal[inside] * np.exp(-1j * straight[inside]))
        coherence = float(np.abs(agreeing)) / float(np.sum(weight, dtype=np.float64))
        theta = straight[inside].astype(np.float64) / 2
        fits.append((float(np.sqrt(np.mean(theta**2))), theta.mean(), plane.slopes, coherence))
    limit = 0.99 * max(coherence for _, _, _, coherence in fits)
    strength, constant, slopes, coherence = min(
        (f for f in fits if f[3] >= limit), key=lambda candidate: candidate[0]
    )
    gx, gy, gz = (slopes / (2 * stride)).tolist()
    return BipolarEvidence(
        is_bipolar=strength >= threshold and coherence >= _LEAST_COHERENCE,
        strength=strength,
        constant=float(constant - np.pi * np.rint(constant / np.pi)),
        gradient=(gx, gy, gz),
        coherence=coherence,
    )


def correct_bipolar(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    voxel_size: npt.ArrayLike,
    mask: Mask,
    *,
    polarity: Polarity | None = None,
    method: str = "auto",
    smoothing_mm: float = 7.0,
    n_threads: int = 1,
) -> BipolarCorrection:
    r"""Remove the phase difference between the readout directions.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Measured phase [rad] of at least three echoes, wrapped or not.
    magnitude : (E, X, Y, Z) ndarray
        Magnitude.
    echo_times : (E,) array_like
        [s], increasing; the spacing need not be uniform.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    mask : (X, Y, Z) ndarray of bool
        Where to estimate and remove the readout phase.
    polarity : tuple of int, optional
        1 or -1 per echo, see :func:`qsmbids.core.phase.readout_polarity.polarity_candidates`.
        Default: in turn.
    method : str
        ``linear`` (a plane, ref. [2]_), ``mcpc3ds`` (any smooth shape, ref. [1]_) or ``auto``:
        ``mcpc3ds`` for three echoes, ``linear`` for more.
    smoothing_mm : float
        Standard deviation [mm] of the Gaussian that smooths what is not straight (``mcpc3ds``).
    n_threads : int
        Threads of the loops.

    Returns
    -------
    BipolarCorrection
        Ready for :func:`qsmbids.core.phase.offset.mcpc3ds`, which takes it for monopolar.

    Raises
    ------
    ValueError
        Fewer than three echoes, shapes or echo times that do not fit, an empty mask, an unknown
        method, a voxel size or smoothing that is not positive, no voxel with signal in all echoes.

    Notes
    -----
    Half of the readout phase is taken from the even echoes and added to the odd ones. Ref. [1]_
    subtracts other shares of the same map, after an offset from echoes of both directions: the
    field is the same. Here ``mcpc3ds`` fits the plane as well and smooths only what that leaves,
    so that the Gaussian has no slope to flatten at the surface.

    The readout phase is open by pi, so that both branches are tried, and the one whose echoes lie
    closer to a line is taken. Equally spaced echoes fit a line equally well in both: the branches
    then differ by half a cycle per echo spacing in the field, a constant, and nothing else; the
    one with the smaller mean phase advance between echoes is taken.

    Unequal spacing leaves a part of the field in the products. It is taken out with the field of
    echoes 1 and 3, unwrapped in space, for each number of cycles that may lie between those.
    """
    phase, magnitude, mask, times = checked_echoes(phase, magnitude, echo_times, mask)
    voxel = np.asarray(voxel_size, dtype=float)
    if method not in ("auto", "mcpc3ds", "linear"):
        raise ValueError(f"unknown method {method!r}, choose from auto, mcpc3ds, linear")
    if voxel.shape != (3,) or not np.all(voxel > 0) or not smoothing_mm > 0:
        raise ValueError(f"voxel size {voxel} and smoothing {smoothing_mm} must be positive")
    polarity = polarity or alternating(times.size)
    if method == "auto":
        method = "mcpc3ds" if times.size == 3 else "linear"

    box = padded_box(mask)
    index = np.flatnonzero(mask)
    index = index[:: max(1, index.size // _JUDGED_VOXELS) | 1]
    sample = phase.reshape(times.size, -1)[:, index]
    signal_size = magnitude.reshape(times.size, -1)[:, index]
    halves = np.array([[sign / 2] for sign in polarity], dtype=np.float32)
    before, _ = _line_misfit(sample, signal_size, times, n_threads)
    tried = []
    for signal, weight in _doubled_readout_phase(
        phase, magnitude, times, polarity, mask, box, n_threads
    ):
        doubled = fit_phase_plane(signal).at(signal.shape)
        if method == "mcpc3ds":
            bent = (signal * np.exp(-1j * doubled)).astype(np.complex64)
            bent = np.where(bent == 0, 0, phase_factors(bent))
            smooth = smooth_phase(bent, smoothing_mm / voxel, n_threads=n_threads)
            doubled += unwrap(smooth, magnitude=weight, mask=mask[box], n_threads=n_threads)
        for branch in (0, np.pi):
            theta = np.zeros(mask.shape, dtype=np.float32)
            theta[box] = np.where(mask[box], doubled / 2 + branch, 0)
            attempt = sample + halves * theta.ravel()[index]
            tried.append((theta, *_line_misfit(attempt, signal_size, times, n_threads)))
    # within a hundredth two residuals are the same
    limit = 1.01 * min(residual for _, residual, _ in tried) + 1e-6
    theta, after, _ = min((t for t in tried if t[1] <= limit), key=lambda t: t[2])

    corrected = np.zeros(phase.shape, dtype=np.float32)
    for e, echo in enumerate(phase):
        usable = mask[box] & np.isfinite(echo[box])
        values = np.where(usable, echo[box], 0) + halves[e] * theta[box]
        corrected[e][box] = np.where(usable, values - TWO_PI * np.rint(values / TWO_PI), 0)
    return BipolarCorrection(corrected, method, theta, before, after)


def _doubled_readout_phase(
    phase: Float32Array,
    magnitude: Float32Array,
    times: Float64Array,
    polarity: Polarity,
    mask: Mask,
    box: tuple[slice, ...],
    n_threads: int,
) -> list[tuple[npt.NDArray[np.complex64], Float32Array]]:
    """Return candidates of a volume whose angle is twice the readout phase, with its weight.

    Where the field does not cancel, one for each number of cycles between two echoes of one
    direction. The weight, a
    squared magnitude, is zero outside the mask and where any echo is not finite.
    """
    inside, phi, size = echoes_inside(phase, magnitude, mask, box)
    combinations, field_cancels = echo_combinations(times, polarity)
    fields: list[FloatArray | None] = [None]
    if not field_cancels:
        i, j = next(
            (a, b) for b in range(1, times.size) for a in range(b) if polarity[a] == polarity[b]
        )
        psi = unwrap(
            phi[j] - phi[i],
            magnitude=np.sqrt(size[i] * size[j]),
            mask=inside,
            weights="romeo4",
            n_threads=n_threads,
        )
        fields = [(psi + TWO_PI * n) / (TWO_PI * (times[j] - times[i])) for n in (-1, 0, 1)]

    candidates = []
    for field in fields:
        signal = np.zeros(inside.shape, dtype=np.complex64)
        weight = np.zeros(inside.shape, dtype=np.float32)
        for (a, b, c), (x, y, z), sign in combinations:
            angle = y * phi[b] + x * phi[a] + z * phi[c]
            if field is not None:
                angle -= TWO_PI * (y * times[b] + x * times[a] + z * times[c]) * field
            w = size[b] * np.sqrt(size[a] * size[c])
            signal += w * np.exp((1j * sign) * angle)
            weight += w
        if not weight.any():
            raise ValueError("no voxel of the mask has a signal in three successive echoes")
        candidates.append((signal, weight))
    return candidates


def _line_misfit(
    phase: Float32Array, magnitude: Float32Array, times: Float64Array, n_threads: int
) -> tuple[float, float]:
    """Return the mean misfit of a line through (E, N) echoes, and their mean advance [rad]."""
    volume = (*phase.shape, 1, 1)
    fit = nonlinear_fit(
        phase.reshape(volume), magnitude.reshape(volume), times, n_threads=n_threads
    )
    fitted = fit.noise_std > 0
    if not fitted.any():
        return 0.0, 0.0
    advance = np.angle(np.sum(np.exp(1j * fit.phase_slope[fitted])))
    return float(np.mean(fit.residual[fitted], dtype=np.float64)), float(abs(advance))
