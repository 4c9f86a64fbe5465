"""What every quality measure means, from where on to look, and what to do then."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["CRITERIA", "Criterion", "Measure", "judge"]

Verdict = Literal["ok", "look", "unknown"]


class Measure(NamedTuple):
    """One quality measure of a run."""

    name: str
    value: float
    """NaN if it could not be measured."""
    unit: str
    verdict: Verdict
    meaning: str
    advice: str


@dataclass(frozen=True)
class Criterion:
    """How one measure is judged.

    Attributes
    ----------
    unit : str
        "" for a ratio.
    low, high : float
        Usual values; outside of them the map should be looked at. Infinite on a side that is
        never judged. Of a measure that a step has judged itself (``recorded``), neither counts.
    meaning, advice : str
        One sentence each: what it says, and what to do where it is unusual.
    recorded : bool
        Whether the verdict is that of the step.
    """

    unit: str
    low: float
    high: float
    meaning: str
    advice: str
    recorded: bool = False


def judge(name: str, value: float | None, bad: bool | None = None) -> Measure:
    """Return a measure with its verdict.

    Parameters
    ----------
    name : str
        Key of :data:`CRITERIA`.
    value : float, optional
        None or NaN if it could not be measured.
    bad : bool, optional
        What the step itself has found; None if it could not tell.

    Returns
    -------
    Measure

    Raises
    ------
    KeyError
        There is no such measure.
    """
    criterion = CRITERIA[name]
    number = float("nan") if value is None else float(value)
    verdict: Verdict = "unknown"
    if criterion.recorded:
        if bad is not None:
            verdict = "look" if bad else "ok"
    elif math.isfinite(number):
        verdict = "ok" if criterion.low <= number <= criterion.high else "look"
    return Measure(name, number, criterion.unit, verdict, criterion.meaning, criterion.advice)


_ANY = math.inf

#: In the order of the report. Each limit has its reason beside it, where "clean" gives the range
#: over simulated heads of 1 and 2 mm (one of full size) at 3 T and 7 T, straight and tilted, with
#: one to five echoes, over several inversions and background removals with usual parameters.
CRITERIA: dict[str, Criterion] = {
    "StreakingEnergy": Criterion(
        "", 0.0, 1.3,  # clean 0.4 to 1.1; TKD with a threshold of 0.1 has 1.4, of 0.03 has 3
        "Energy of the map near the cone of the magic angle, relative to the rest of k-space.",
        "Look for streaks in the sagittal and coronal planes; regularise more, or choose an"
        " inversion that does.",
    ),
    "StreakingAmplitude": Criterion(
        "ppm", 0.0, 0.12,  # clean 0.01 to 0.07; a wrap error of 6 x 6 x 6 voxels makes 0.7
        "Height of the strongest streaks.",
        "Find where the streaks come from: take voxels of wrong field out of Mask 2 (stricter"
        " quality threshold), or invert in two passes.",
    ),
    "ResidualBackground": Criterion(
        "ppb", 0.0, 10.0,  # clean 0.5 to 6; much less than the contrast of nuclei in the field
        "Standard deviation of the smoothest harmonic part of the local field.",
        "Background field was left: look at the rim of the mask, then try PDF, or V-SHARP with"
        " a larger sphere.",
    ),
    "ShadowingStd": Criterion(
        "ppm", 0.0, 0.015,  # clean 0.002 to 0.008
        "Standard deviation of the map after smoothing by 8 mm.",
        "Broad shadows hide real differences between regions: look at the mask near air, and"
        " at the background field.",
    ),
    "RimDifference": Criterion(
        "ppm", -0.06, 0.06,  # clean -0.01 to 0.045, cortex and fluid against white matter
        "Susceptibility within 4 mm of the rim, less that deeper than 12 mm.",
        "Erode the mask by a voxel more, and do not read values near the surface.",
    ),
    "FieldNoise": Criterion(
        "ppb", 0.0, 4.0,  # clean 1.2 to 2.6; iron-poor grey and white matter differ by 50
        "Median noise of the total field as the magnitude predicts it.",
        "The measurement is noisy: see MagnitudeSnr.",
    ),
    "LocalFieldNoise": Criterion(
        "ppb", 0.0, 4.0,  # as FieldNoise, which it should equal
        "Noise of the local field from its differences between neighbours.",
        "If FieldNoise is much lower, the noise is not that of the receiver: motion,"
        " physiology, or wrongly combined coils.",
    ),
    "SusceptibilityNoise": Criterion(
        "ppb", 0.0, 15.0,  # clean 0.2 to 11 (TKD)
        "Noise of the map from voxel to voxel.",
        "Regularise more, or acquire with a higher signal-to-noise ratio.",
    ),
    "MagnitudeSnr": Criterion(
        "", 20.0, _ANY,  # clean 24 (one late echo) to 55
        "Signal-to-noise ratio of the combined magnitude.",
        "Larger voxels, more echoes, less acceleration or a better coil combination.",
    ),
    "Ghosting": Criterion(
        "", -0.05, 0.03,  # clean below 0.002; above 0.03 a ghost is seen in the brain
        "Ghost-to-signal ratio of the magnitude, half a field of view away.",
        "Look for motion, pulsation and readout ghosts.",
    ),
    "BrainVolume": Criterion(
        "ml", 200.0, 2300.0,  # newborns have 350, adults with fluid up to 2000; BET leaves a rim
        "Volume of Mask 1.",
        "Look at the outline of Mask 1: neck or bone in it, or brain missing; give a mask.",
    ),
    "RemovedByReliability": Criterion(
        "", 0.0, 0.3,  # clean 0 to 0.2, where BET leaves skull in Mask 1
        "Part of Mask 1 that is not in Mask 3, for its phase is unreliable at the rim.",
        "Look at the quality map: late echoes, poor shim, wrong coil combination, or a Mask 1"
        " that is too large.",
    ),
    "RemovedByBackgroundRemoval": Criterion(
        "", 0.0, 0.45,  # clean 0.13 at 1 mm, up to 0.37 (LBV) in a small head of 2 mm voxels
        "Part of Mask 3 that background removal took away.",
        "Smaller spheres or a method without erosion keep the cortex.",
    ),
    "RemovedByInversion": Criterion(
        "", 0.0, 0.5,  # clean 0; MEDI's rim of 5 mm is 0.2 of an adult brain, 0.4 of a small one
        "Part of Mask 4 without holes in which the inversion gave no value.",
        "Reduce the radius of the inversion's own spherical mean.",
    ),
    "HoleFraction": Criterion(
        "", 0.0, 0.02,  # clean below 0.001; 0.02 of a brain are 25 ml
        "Part of Mask 4 without holes that is unreliable: veins, haemorrhages, calcifications.",
        "Values there are filled in, not measured: leave them out of regions of interest.",
    ),
    "ChannelFraction": Criterion(
        "", 0.0, 0.004,  # clean below 0.001; a channel of 6 mm to the middle makes 0.007
        "Gaps narrower than 8 mm that reach into Mask 3 from outside, relative to it.",
        "Close Mask 3 more (closing_mm): spheres cannot enter the tissue around a channel.",
    ),
    "RimLowSignal": Criterion(
        "", 0.0, 0.15,  # clean 0 to 0.05
        "Part of the rim of Mask 3 with less than a fifth of the brain's magnitude.",
        "Bone or air is in the mask: brain extraction with a larger threshold, or erode.",
    ),
    "RimHighR2Star": Criterion(
        "", 0.0, 0.2,  # clean 0 to 0.08, tissue dephased above air cavities
        "Part of the rim of Mask 3 with R2* above 50 1/s per tesla.",
        "Bone, air or dephased tissue is in the mask: erode, or use a stricter Mask 2.",
    ),
    "WrapJumpsPhase": Criterion(
        "per million", 0.0, 250.0,  # clean 0 to 75; a cube of 6 voxels in a small head has 3700
        "Neighbours inside the brain whose unwrapped phase differs by whole turns.",
        "Unwrapping failed somewhere: look at the unwrapped phase, choose other weights or the"
        " nonlinear fit.",
    ),
    "WrapJumpsField": Criterion(
        "per million", 0.0, 250.0,  # clean 0
        "Neighbours inside the brain whose total field differs by whole turns per echo spacing.",
        "Unwrapping failed somewhere: look at the total field.",
    ),
    "OpenFringeLines": Criterion(
        "", 0.0, _ANY,
        "Fraction of loops of the first echo's phase that do not close.",
        "Coils were combined with the wrong phase: reconstruct them anew.",
        recorded=True,
    ),
    "SliceJumps": Criterion(
        "rad", 0.0, _ANY,
        "Jumps of the phase from slice to slice.",
        "A 2D or interleaved acquisition: prefer 3D.",
        recorded=True,
    ),
    "InterpolatedWraps": Criterion(
        "", 0.0, _ANY,
        "Fraction of wraps that pass through the middle of the circle.",
        "The wrapped phase was interpolated: export it without interpolation.",
        recorded=True,
    ),
    "FilteredPhase": Criterion(
        "rad", 0.0, _ANY,
        "Slow variation of the phase over the brain.",
        "The phase was high-pass filtered (SWI): export the phase before the filter.",
        recorded=True,
    ),
    "EchoTimeError": Criterion(
        "", 0.0, _ANY,
        "Largest disagreement of phase and stated echo spacing, relative to the spacing.",
        "Check the echo times and the order of the echoes.",
        recorded=True,
    ),
    "PhaseCoverage": Criterion(
        "", 0.9, _ANY,  # clean 1; half the scale 0.5
        "Part of the circle that the wrapped phase of the last echo covers.",
        "The numbers of the phase images were taken for too few radians, or the phase is not"
        " wrapped: check its Units.",
    ),
    "MeanAtHighR2Star": Criterion(
        "ppm", 0.0, _ANY,
        "Susceptibility where R2* is highest, which iron and veins make positive.",
        "If veins are dark, run again with the other --phase-sign.",
        recorded=True,
    ),
    "SusceptibilityStd": Criterion(
        "ppm", 0.001, 0.08,  # clean 0.0025 (flat, strongly regularised) to 0.035
        "Robust standard deviation of the map.",
        "Far too small: echo times in the wrong unit, or a wrong phase scale. Too large: noise,"
        " streaks, or a mask with air in it.",
    ),
    "SusceptibilityP01": Criterion(
        "ppm", -0.2, -0.003,  # clean -0.07 to -0.013
        "1st percentile of the map, less its median.",
        "See SusceptibilityStd.",
    ),
    "SusceptibilityP99": Criterion(
        "ppm", 0.01, 0.3,  # clean 0.028 to 0.11; veins have 0.3
        "99th percentile of the map, less its median.",
        "See SusceptibilityStd.",
    ),
    "SusceptibilitySkewness": Criterion(
        "", -_ANY, _ANY,  # clean -0.4 to 0.8: to compare runs of one protocol, no proof of a sign
        "Asymmetry of the map between its 5th and 95th percentile.",
        "Compare it with other runs of the same protocol.",
    ),
    "SusceptibilityKurtosis": Criterion(
        "", -_ANY, _ANY,  # 4 to 70 with the penalty: to compare runs of one protocol
        "Excess kurtosis of the map within 0.5 ppm; lower than in other runs means noise.",
        "Compare it with other runs of the same protocol.",
    ),
    "ExtremeFraction": Criterion(
        "", 0.0, 0.01,  # clean 0; 0.01 of a brain are 13 ml of haemorrhage
        "Part of the map farther than 0.5 ppm from its median.",
        "Haemorrhages and calcifications apart, no brain tissue is there: look for streaks and"
        " for air in the mask.",
    ),
    "InversionIterations": Criterion(
        "", 0.0, _ANY,
        "Iterations of the inversion, which should converge before their limit.",
        "Allow more iterations.",
        recorded=True,
    ),
}  # fmt: skip
