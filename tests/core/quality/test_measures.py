"""Every detector finds its artefact in a simulated head and is quiet on clean ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from qsmbids.core.background.vsharp import vsharp
from qsmbids.core.field.echo_combination import field_noise, noise_std, weighted_echo_average
from qsmbids.core.field.relaxometry import r2star_map
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.tkd import tkd
from qsmbids.core.masks.masking import background_mask, erode
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, phase_offset, simulate_field
from qsmbids.core.quality.criteria import CRITERIA
from qsmbids.core.quality.measures import QualityInputs, measure_images, measure_quality
from qsmbids.core.reference.sign_check import check_sign
from qsmbids.units import TWO_PI, larmor_frequency

VOXEL = (2.0, 2.0, 2.0)
ECHO_TIMES = (0.004, 0.010, 0.016, 0.022, 0.028)
PATCH = (slice(18, 24), slice(20, 26), slice(16, 22))
CLEAN = {
    "3 T": {},
    "7 T": {"b0_tesla": 7.0, "times": (0.004, 0.009, 0.014, 0.019), "seed": 2},
    "tilted": {"b0": (0.0, 0.5, 0.866), "seed": 3},
    "one echo": {"times": (0.02,), "seed": 4},
    "two echoes": {"times": (0.008, 0.018), "seed": 5},
}


def simulate(
    *, seed=1, b0_tesla=3.0, b0=(0.0, 0.0, 1.0), times=ECHO_TIMES, noise=0.02, corrupt=None, **more
):
    """Return the inputs of the measures of a run; ``corrupt`` may change the total field."""
    phantom = make_phantom((48, 56, 40), VOXEL, b0_direction=b0, seed=seed)
    total, _ = simulate_field(phantom, b0_tesla=b0_tesla)
    offset = phase_offset(phantom)
    signal = multi_echo_signal(
        phantom, total, times, offset=offset, b0_tesla=b0_tesla, noise_std=noise, seed=seed
    )
    truth = np.stack([TWO_PI * t * total for t in times]).astype(np.float32)
    phase = truth + np.angle(signal * np.exp(-1j * (truth + offset))).astype(np.float32)
    magnitude = np.abs(signal)
    mask = phantom.mask
    sd = noise_std(magnitude, mask)
    combined = np.sqrt(np.sum(magnitude**2, axis=0))
    given = QualityInputs(
        chi=np.zeros(mask.shape, np.float32),
        support=mask,
        total_field=weighted_echo_average(phase, magnitude, times) * mask,
        local_field=np.zeros(mask.shape, np.float32),
        noise=field_noise(magnitude, times, noise_std=sd),
        magnitude=combined,
        mask1=mask,
        mask3=mask,
        mask4=mask,
        mask4_filled=mask,
        voxel_size=VOXEL,
        b0_direction=phantom.b0_direction,
        echo_times=times,
        centre_frequency=larmor_frequency(b0_tesla),
        r2star=r2star_map(magnitude, times, mask).r2star if len(times) > 1 else None,
        unwrapped=list(phase * mask),
        wrapped=np.angle(signal[-1]),
    )
    given = replace(given, **more)
    return reconstruct(given if corrupt is None else corrupt(given))


def reconstruct(given):
    """Return the inputs with local field, Mask 4 and map made anew from the total field."""
    mask2 = given.magnitude > 0.2 * np.median(given.magnitude[given.mask1])
    mask3 = background_mask(given.mask1, mask2, voxel_size=VOXEL)
    removed = vsharp(given.total_field, erode(mask3, 1), VOXEL)
    given = replace(given, local_field=removed.local_field, mask3=mask3, mask4_filled=removed.mask)
    return invert(replace(given, mask4=removed.mask & mask2))


def invert(given, **options):
    """Return the inputs with the map made anew from the local field."""
    found = fansi(
        given.local_field,
        given.mask4_filled,
        given.mask4.astype(np.float32),
        VOXEL,
        given.b0_direction,
        centre_frequency=given.centre_frequency,
        echo_time=given.echo_times[-1],
        tolerance_percent=0.3,
        maximum_iterations=150,
        margin=12,
        **options,
    )
    return replace(given, chi=found.chi, support=given.mask4_filled)


def measured(given):
    """Return the measures by name."""
    return {m.name: m for m in measure_quality(given)}


def unusual(given):
    """Return the names that the verdict "look" falls on."""
    return {m.name for m in measure_quality(given) if m.verdict == "look"}


@pytest.fixture(scope="module")
def clean():
    return simulate()


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEAN)
def test_clean_heads_have_nothing_unusual(name, clean):
    given = simulate(**CLEAN[name]) if CLEAN[name] else clean
    assert unusual(given) == set()
    known = {m.name for m in measure_quality(given) if m.verdict == "ok"}
    missing = {"RimHighR2Star"} if name == "one echo" else set()
    recorded = {k for k, c in CRITERIA.items() if c.recorded}
    assert known == set(CRITERIA) - missing - recorded


# ---- artefacts: what a head looks like with one


def _wrong_field(g):
    local = g.local_field.copy()
    local[PATCH] += 60.0
    # to a nonlinear data term that is about a turn, and no artefact is left
    return invert(replace(g, local_field=local), nonlinear=False)


def _little_regularisation(g):
    weights = g.mask4.astype(np.float32)
    found = tkd(
        g.local_field,
        g.mask4_filled,
        weights,
        VOXEL,
        g.b0_direction,
        centre_frequency=g.centre_frequency,
        threshold=0.03,
    )
    return replace(g, chi=found.chi)


def _residual_background(g):
    x, y, _ = (i.astype(np.float32) for i in np.indices(g.chi.shape))
    left = 5.0 * ((x - 24) ** 2 - (y - 28) ** 2) / 400.0  # [Hz]
    return replace(g, local_field=g.local_field + left * g.mask4_filled)


def _shadow(g):
    x, y, z = np.indices(g.chi.shape)
    shadow = 0.15 * np.exp(-((x - 24) ** 2 + (y - 40) ** 2 + (z - 14) ** 2) / (2 * 6.0**2))
    return replace(g, chi=g.chi + shadow.astype(np.float32) * g.support)


def _bright_rim(g):
    rim = g.support & ~erode(g.support, 4.0, VOXEL)
    return replace(g, chi=g.chi + np.float32(0.08) * rim)


def _noisier(_):
    return simulate(noise=0.08)


def _noisy_map(g):
    rng = np.random.default_rng(1)
    noise = 0.02 * rng.standard_normal(g.chi.shape, dtype=np.float32)
    return replace(g, chi=g.chi + noise * g.support)


def _ghost(g):
    return replace(g, magnitude=g.magnitude + 0.08 * np.roll(g.magnitude, 28, axis=1))


def _skull_in_the_mask(g):
    leaking = binary_dilation(g.mask1, iterations=3)
    return replace(g, mask1=leaking, mask3=leaking)


def _bone_at_the_rim(g):
    rim = g.mask3 & ~erode(g.mask3, 3.0, VOXEL)
    half = np.indices(rim.shape)[0] > 24
    return replace(g, r2star=np.where(rim & half, np.float32(300.0), g.r2star))


def _neck(g):
    return replace(g, voxel_size=(4.5, 4.5, 4.5))


def _unreliable_rim(g):
    return replace(g, mask1=binary_dilation(g.mask1, iterations=3))


def _eroded_too_much(g):
    return replace(g, mask4_filled=erode(g.mask4_filled, 8.0, VOXEL))


def _support_too_small(g):
    return replace(g, support=erode(g.support, 10.0, VOXEL))


def _hole(g):
    holes = np.zeros_like(g.mask4)
    holes[26:34, 18:30, 18:26] = True
    return replace(g, mask4=g.mask4 & ~holes)


def _channel(g):
    open_mask = g.mask3.copy()
    open_mask[22:25, :28, 18:21] = False
    return replace(g, mask3=open_mask)


def _wrap_of_one_echo(g):
    unwrapped = [u.copy() for u in g.unwrapped]
    unwrapped[3][PATCH] += np.float32(2 * np.pi)
    return replace(g, unwrapped=unwrapped)


def _wrap_of_all_echoes(g):
    unwrapped = [u.copy() for u in g.unwrapped]
    for phase, time in zip(unwrapped, ECHO_TIMES, strict=True):
        phase[PATCH] += np.float32(2 * np.pi * round(time / ECHO_TIMES[0]))
    return replace(g, unwrapped=unwrapped)


def _wrap_of_the_field(g):
    field = g.total_field.copy()
    field[PATCH] += 1.0 / 0.006
    return replace(g, total_field=field, unwrapped=())


def _checks(**verdicts):
    return {name: {"Value": 1.0, "Suspicious": bad} for name, bad in verdicts.items()}


def _recorded(g):
    checks = _checks(
        OpenFringeLines=True,
        SliceJumps=True,
        InterpolatedWraps=True,
        FilteredPhase=True,
        EchoTimes=True,
    )
    inversion = {"Iterations": 400, "Converged": False}
    sign = {"MeanAtHighR2Star": -0.1, "Inverted": True}
    records = {"PhaseChecks": checks, "DipoleInversion": inversion, "SignCheck": sign}
    return replace(g, records=records)


def _inverted(g):
    found = check_sign(-g.chi, g.r2star, g.support)
    sign = {"MeanAtHighR2Star": found.mean_high_r2star, "Inverted": found.inverted}
    return replace(g, chi=-g.chi, records={"SignCheck": sign})


def _milliseconds(g):
    return replace(g, chi=g.chi / 1000, local_field=g.local_field / 1000)


ARTEFACTS = {
    "wrong field in a cube": (_wrong_field, {"StreakingAmplitude", "ShadowingStd"}),
    "streaks everywhere": (_little_regularisation, {"StreakingEnergy"}),
    "residual background": (_residual_background, {"ResidualBackground"}),
    "shadow": (_shadow, {"ShadowingStd"}),
    "bright rim": (_bright_rim, {"RimDifference"}),
    "noise x 4": (_noisier, {"FieldNoise", "LocalFieldNoise", "MagnitudeSnr"}),
    "noisy map": (_noisy_map, {"SusceptibilityNoise"}),
    "ghost": (_ghost, {"Ghosting"}),
    "skull in the mask": (_skull_in_the_mask, {"RimLowSignal"}),
    "bone at the rim": (_bone_at_the_rim, {"RimHighR2Star"}),
    "mask with neck": (_neck, {"BrainVolume"}),
    "unreliable rim": (_unreliable_rim, {"RemovedByReliability"}),
    "eroded too much": (_eroded_too_much, {"RemovedByBackgroundRemoval"}),
    "support too small": (_support_too_small, {"RemovedByInversion"}),
    "hole": (_hole, {"HoleFraction"}),
    "channel": (_channel, {"ChannelFraction"}),
    "wrap of one echo": (_wrap_of_one_echo, {"WrapJumpsPhase"}),
    "wrap of all echoes": (_wrap_of_all_echoes, {"WrapJumpsPhase"}),
    "wrap of the field": (_wrap_of_the_field, {"WrapJumpsField"}),
    "found by a step": (
        _recorded,
        {name for name, c in CRITERIA.items() if c.recorded},
    ),
    "half the phase scale": (
        lambda g: replace(g, wrapped=g.wrapped / 2),
        {"PhaseCoverage"},
    ),
    "inverted sign": (_inverted, {"MeanAtHighR2Star"}),
    "milliseconds": (
        _milliseconds,
        {"SusceptibilityStd", "SusceptibilityP01", "SusceptibilityP99"},
    ),
    "air in the mask": (
        lambda g: replace(g, chi=np.where(g.support & ~erode(g.support, 3.0, VOXEL), 2.0, g.chi)),
        {"ExtremeFraction"},
    ),
}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_is_found(name, clean):
    inject, expected = ARTEFACTS[name]
    assert expected <= unusual(inject(clean))


def test_an_artefact_of_one_volume_sets_off_its_own_measure_alone(clean):
    for name in ("ghost", "hole", "channel", "wrap of one echo", "half the phase scale"):
        inject, expected = ARTEFACTS[name]
        assert unusual(inject(clean)) == expected


def test_every_measure_that_is_judged_has_an_artefact():
    judged = {k for k, c in CRITERIA.items() if c.recorded or np.isfinite([c.low, c.high]).any()}
    assert set().union(*(names for _, names in ARTEFACTS.values())) == judged
    assert all(c.meaning.endswith(".") and c.advice.endswith(".") for c in CRITERIA.values())


def test_a_good_verdict_of_a_step_is_passed_on(clean):
    good = {"PhaseChecks": _checks(EchoTimes=False), "SignCheck": {"Inverted": None}}
    found = measured(replace(clean, records=good))
    assert found["EchoTimeError"].verdict == "ok"
    assert found["EchoTimeError"].value == 1.0
    assert found["MeanAtHighR2Star"].verdict == "unknown"
    assert found["FilteredPhase"].verdict == "unknown"


def test_order_and_names_do_not_depend_on_the_run(clean):
    few = replace(clean, r2star=None, unwrapped=(), wrapped=None)
    assert [m.name for m in measure_quality(few)] == list(CRITERIA)
    assert measured(few)["WrapJumpsPhase"].verdict == "unknown"


def test_shapes_that_differ_are_refused(clean):
    with pytest.raises(ValueError, match="mask3 has shape"):
        measure_quality(replace(clean, mask3=clean.mask3[1:]))
    with pytest.raises(ValueError, match="empty"):
        measure_quality(replace(clean, support=np.zeros_like(clean.support)))


def test_nothing_beyond_the_masks_is_looked_at(clean):
    """The box of the masks tells the same, but for the air of the magnitude."""
    box = bounding_box(clean.mask1)
    cut = {
        name: value[box]
        for name, value in vars(clean).items()
        if isinstance(value, np.ndarray) and value.shape == clean.chi.shape and name != "wrapped"
    }
    boxed = replace(clean, **cut, unwrapped=[echo[box] for echo in clean.unwrapped])
    assert boxed.chi.size < 0.8 * clean.chi.size
    whole = measure_images(clean)
    assert measure_images(boxed) == pytest.approx(whole, rel=1e-4, nan_ok=True)
