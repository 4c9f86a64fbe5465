"""Quality measures of one run (Table 1 of the consensus paper): every one a number with a name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.masks.masking import erode
from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.quality.background import harmonic_part, rim_difference, shadowing
from qsmbids.core.quality.criteria import CRITERIA, Measure, judge
from qsmbids.core.quality.masks import channel_fraction, removed_fraction, rim_fraction, volume_ml
from qsmbids.core.quality.noise import ghosting, noise_of_map
from qsmbids.core.quality.streaking import streaking
from qsmbids.core.quality.values import histogram, phase_coverage
from qsmbids.core.quality.wraps import echo_differences, wrap_jumps
from qsmbids.units import GAMMA_BAR_HZ_PER_T, TWO_PI

__all__ = [
    "QualityInputs",
    "judge_values",
    "measure_images",
    "measure_magnitude",
    "measure_phase",
    "measure_quality",
]


#: R2* [1/s] per tesla that brain tissue does not reach: iron-rich pallidum has about 20.
_BONE_R2STAR_PER_TESLA = 50.0
#: Likewise; below it noise alone turns the phase of a late echo.
_DIM_MAGNITUDE = 0.5
#: Depth [mm] of Mask 3 left out when wraps are looked for: near air the field changes by turns.
_WRAP_RIM_MM = 3.0
#: Of the median of the brain; tissue keeps more, bone and air do not.
_DARK_MAGNITUDE = 0.2


@dataclass(frozen=True)
class QualityInputs:
    """What the measures are taken from; all volumes (X, Y, Z) on one array.

    It may be a box of the images that holds the masks: nothing beyond these is looked at but by
    :func:`measure_magnitude` and :func:`measure_phase`.

    Attributes
    ----------
    chi : ndarray
        Susceptibility [ppm], any reference, and ``support``, where it is known.
    total_field, local_field, noise : ndarray
        [Hz]; the noise is that which the magnitude predicts for the total field.
    magnitude : ndarray
        Combined over the echoes.
    mask1, mask3, mask4, mask4_filled : ndarray of bool
        Of Figure 5.
    voxel_size, b0_direction, echo_times
        [mm], unit vector along the array axes, [s].
    centre_frequency : float
        [Hz].
    r2star : ndarray, optional
        [1/s].
    unwrapped : sequence of ndarray
        Unwrapped phase of the echoes [rad]; empty where the field was fitted.
    wrapped : ndarray, optional
        Wrapped phase [rad] of the last echo.
    length_scale : float
        By which ``voxel_size`` was divided, as if a small head were an adult's.
    records : mapping
        What the steps have recorded: ``PhaseChecks``, ``SignCheck``, ``DipoleInversion``.
    n_threads : int
        Of the transforms.
    """

    chi: FloatArray
    support: Mask
    total_field: FloatArray
    local_field: FloatArray
    noise: FloatArray
    magnitude: FloatArray
    mask1: Mask
    mask3: Mask
    mask4: Mask
    mask4_filled: Mask
    voxel_size: npt.ArrayLike
    b0_direction: npt.ArrayLike
    echo_times: Sequence[float]
    centre_frequency: float
    r2star: FloatArray | None = None
    unwrapped: Iterable[FloatArray] = ()
    wrapped: FloatArray | None = None
    length_scale: float = 1.0
    records: Mapping[str, Any] = field(default_factory=dict)
    n_threads: int = 1


def measure_quality(inputs: QualityInputs) -> list[Measure]:
    """Return every measure of :data:`qsmbids.core.quality.criteria.CRITERIA`, in its order.

    What cannot be measured is there too, with the verdict "unknown".

    Raises
    ------
    ValueError
        Shapes differ, or a mask is empty.
    """
    values = measure_images(inputs) | measure_magnitude(inputs.magnitude, inputs.mask1)
    if inputs.wrapped is not None:
        values |= measure_phase(inputs.wrapped)
    return judge_values(values, inputs.records, inputs.length_scale)


def measure_images(inputs: QualityInputs) -> dict[str, float]:
    """Return what the masked images of a run tell; see :func:`measure_quality`."""
    shape = inputs.chi.shape
    for name in ("support", "local_field", "mask1", "mask3", "mask4", "mask4_filled"):
        volume = getattr(inputs, name)
        if volume.shape != shape:
            raise ValueError(f"{name} has shape {volume.shape}, the map {shape}")
    if not all(m.any() for m in (inputs.mask1, inputs.mask3, inputs.mask4, inputs.support)):
        raise ValueError("a mask or the support of the map is empty")
    return {
        **_of_the_map(inputs),
        **_of_the_field(inputs),
        **_of_the_masks(inputs),
    }


def measure_magnitude(magnitude: FloatArray, mask1: Mask) -> dict[str, float]:
    """Return what the combined magnitude tells, with the background of the whole image."""
    noise = noise_of_map(magnitude, mask1)
    signal = float(np.median(magnitude[mask1]))
    return {
        "MagnitudeSnr": signal / noise if noise > 0 else np.nan,
        "Ghosting": ghosting(magnitude, mask1),
    }


def measure_phase(wrapped: FloatArray) -> dict[str, float]:
    """Return what the wrapped phase [rad] of an echo tells, of the whole image."""
    return {"PhaseCoverage": phase_coverage(wrapped)}


def judge_values(
    values: Mapping[str, float], records: Mapping[str, Any], length_scale: float = 1.0
) -> list[Measure]:
    """Return every measure, from what :func:`measure_images` found and steps have recorded."""
    recorded, bad = _of_the_records(records)
    known = {**values, **recorded}
    measures = [judge(name, known.get(name), bad.get(name)) for name in CRITERIA]
    if length_scale != 1.0:  # the limits of the volume are those of people
        return [m._replace(verdict="unknown") if m.name == "BrainVolume" else m for m in measures]
    return measures


def _of_the_map(inputs: QualityInputs) -> dict[str, float]:
    chi, support, voxel = inputs.chi, inputs.support, inputs.voxel_size
    energy, height = streaking(
        chi, support, voxel, inputs.b0_direction, n_threads=inputs.n_threads
    )
    distribution = histogram(chi, support)
    return {
        "StreakingEnergy": energy,
        "StreakingAmplitude": height,
        "ShadowingStd": shadowing(chi, support, voxel),
        "RimDifference": rim_difference(chi, support, voxel),
        "SusceptibilityNoise": 1e3 * noise_of_map(chi, support),
        "SusceptibilityStd": distribution.std,
        "SusceptibilityP01": distribution.p01,
        "SusceptibilityP99": distribution.p99,
        "SusceptibilitySkewness": distribution.skewness,
        "SusceptibilityKurtosis": distribution.kurtosis,
        "ExtremeFraction": distribution.extreme,
    }


def _of_the_field(inputs: QualityInputs) -> dict[str, float]:
    ppb_per_hz = 1e9 / inputs.centre_frequency
    times = np.asarray(inputs.echo_times, dtype=float)
    spacing = float(np.min(np.diff(times))) if times.size > 1 else float(times[0])
    predicted = inputs.noise[inputs.mask1]
    predicted = predicted[predicted > 0]
    dim = _DIM_MAGNITUDE * float(np.median(inputs.magnitude[inputs.mask3]))
    inner = inputs.mask4 & erode(inputs.mask3, _WRAP_RIM_MM, inputs.voxel_size)
    inner &= inputs.magnitude > dim
    echoes = echo_differences(inputs.unwrapped, inputs.echo_times)
    return {
        "FieldNoise": ppb_per_hz * float(np.median(predicted)) if predicted.size else np.nan,
        "LocalFieldNoise": ppb_per_hz * noise_of_map(inputs.local_field, inputs.mask4),
        "ResidualBackground": ppb_per_hz
        * harmonic_part(inputs.local_field, inputs.mask4, inputs.voxel_size),
        "WrapJumpsPhase": wrap_jumps(echoes, inner, TWO_PI),
        "WrapJumpsField": wrap_jumps([inputs.total_field], inner, 1.0 / spacing),
    }


def _of_the_masks(inputs: QualityInputs) -> dict[str, float]:
    voxel = inputs.voxel_size
    dark = _DARK_MAGNITUDE * float(np.median(inputs.magnitude[inputs.mask3]))
    values = {
        "BrainVolume": volume_ml(inputs.mask1, voxel) * inputs.length_scale**3,
        "RemovedByReliability": removed_fraction(inputs.mask1, inputs.mask3),
        "RemovedByBackgroundRemoval": removed_fraction(inputs.mask3, inputs.mask4_filled),
        "RemovedByInversion": removed_fraction(inputs.mask4_filled, inputs.support),
        "HoleFraction": removed_fraction(inputs.mask4_filled, inputs.mask4),
        "ChannelFraction": channel_fraction(inputs.mask3, voxel),
        "RimLowSignal": rim_fraction(inputs.magnitude, inputs.mask3, voxel, below=dark),
    }
    if inputs.r2star is not None:
        tesla = inputs.centre_frequency / GAMMA_BAR_HZ_PER_T
        bone = _BONE_R2STAR_PER_TESLA * tesla
        values["RimHighR2Star"] = rim_fraction(inputs.r2star, inputs.mask3, voxel, above=bone)
    return values


def _of_the_records(records: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bool | None]]:
    """Return numbers that steps have recorded, and whether they found them bad."""
    values: dict[str, Any] = {}
    bad: dict[str, bool | None] = {}
    for name, measure in (
        ("OpenFringeLines", "OpenFringeLines"),
        ("SliceJumps", "SliceJumps"),
        ("InterpolatedWraps", "InterpolatedWraps"),
        ("FilteredPhase", "FilteredPhase"),
        ("EchoTimes", "EchoTimeError"),
    ):
        check = records.get("PhaseChecks", {}).get(name, {})
        values[measure], bad[measure] = check.get("Value"), check.get("Suspicious")
    sign = records.get("SignCheck", {})
    values["MeanAtHighR2Star"] = sign.get("MeanAtHighR2Star")
    bad["MeanAtHighR2Star"] = sign.get("Inverted")
    inversion = records.get("DipoleInversion", {})
    values["InversionIterations"] = inversion.get("Iterations", inversion.get("Steps"))
    converged = inversion.get("Converged")
    bad["InversionIterations"] = None if converged is None else not converged
    return values, bad
