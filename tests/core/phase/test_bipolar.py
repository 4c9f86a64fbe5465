"""Detection and removal of the phase of a bipolar readout against known ones."""

import numpy as np
import pytest
from volumes import wrap

from qsmbids.core.field.echo_combination import weighted_echo_average
from qsmbids.core.field.romeo import unwrap_echoes
from qsmbids.core.phase.bipolar import correct_bipolar, detect_bipolar
from qsmbids.core.phase.offset import mcpc3ds
from qsmbids.core.phase.readout import correct_readout

SHAPE = (34, 32, 28)
VOXEL = (2.0, 2.0, 2.0)
UNIFORM = np.array([5.25, 11.08, 16.91, 22.74, 28.57]) * 1e-3
UNEVEN = np.array([4.7, 10.7, 15.2, 22.1, 27.3]) * 1e-3
EVEN_ECHOES = np.arange(5)[:, None, None, None] % 2  # 0, 1, 0, 1, 0 for echoes 1 to 5


def rms(x):
    return np.sqrt(np.mean((x - np.mean(x)) ** 2))


X, Y, Z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
MASK = (X / 0.9) ** 2 + (Y / 0.88) ** 2 + (Z / 0.86) ** 2 < 1


def bowl():
    """Field [Hz] that wraps every echo, with a median near zero."""
    field = 70 * X - 40 * Y + 90 * (X**2 + Z**2)
    return field - np.median(field[MASK])


def acquire(readout, times=UNIFORM, field=None, noise=0.0, rng=None):
    te = times[:, None, None, None]
    field = bowl() if field is None else field
    offset = 0.5 + 0.4 * Y - 0.3 * Z**2
    angle = offset + 2 * np.pi * te * field + EVEN_ECHOES[: times.size] * readout
    signal = np.exp(-te / 0.03) * np.exp(1j * angle) * (1.2 + 0.5 * X)
    if noise:
        signal = signal + noise * (
            rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
        )
    return np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32)


def field_of(phase, magnitude, times, smoothing_mm=1e-3):
    corrected, _ = mcpc3ds(phase, magnitude, times, VOXEL, MASK, smoothing_mm=smoothing_mm)
    return weighted_echo_average(
        unwrap_echoes(corrected, magnitude, times, MASK), magnitude, times
    )


@pytest.mark.slow
@pytest.mark.parametrize("ramp", [1.5 * X + 0.4, -1.5 * Y - 1.0, 1.5 * Z + 2.8, 0 * X + 0.9])
@pytest.mark.parametrize("method", ["linear", "mcpc3ds"])
@pytest.mark.parametrize("times", [UNIFORM, UNIFORM[:4], UNIFORM[:3], UNEVEN, UNEVEN[:3]])
def test_straight_readout_phase_of_known_field(times, method, ramp):
    phase, magnitude = acquire(ramp, times)
    result = correct_bipolar(phase, magnitude, times, VOXEL, MASK, method=method)
    assert result.method == method
    assert result.phase.dtype == result.readout_phase.dtype == np.float32
    error = wrap(2 * (result.readout_phase - ramp))[MASK]
    assert np.abs(error).max() < 2e-3
    assert rms((field_of(result.phase, magnitude, times) - bowl())[MASK]) < 0.1
    assert result.residual_after < 1e-6 < result.residual_before or not np.ptp(ramp)


@pytest.mark.slow
@pytest.mark.parametrize("times", [UNIFORM, UNIFORM[:3]])
def test_pipeline_defaults_recover_the_field(times):
    phase, magnitude = acquire(1.5 * X + 0.4, times)
    bare, _ = acquire(0, times)
    result = correct_bipolar(phase, magnitude, times, VOXEL, MASK)
    assert result.method == ("linear" if times.size > 3 else "mcpc3ds")
    expected = field_of(bare, magnitude, times, smoothing_mm=7.0)
    field = field_of(result.phase, magnitude, times, smoothing_mm=7.0)
    assert rms((field - expected)[MASK]) < 0.1
    assert rms((field_of(phase, magnitude, times, smoothing_mm=7.0) - expected)[MASK]) > 1


@pytest.mark.parametrize("constant", [0.4, 2.5, -2.9])
def test_unequal_spacing_resolves_the_branch(constant):
    ramp = 1.0 * X + constant
    phase, magnitude = acquire(ramp, UNEVEN, field=bowl() + 60)
    result = correct_bipolar(phase, magnitude, UNEVEN, VOXEL, MASK)
    assert np.abs(wrap(result.readout_phase - ramp))[MASK].max() < 2e-3
    assert np.abs(result.phase[:, ~MASK]).max() == 0


def test_branch_of_equal_spacing_keeps_the_mean_advance_small():
    # the echoes of one branch advance by half a cycle more
    for constant in (0.2, 1.2, 2.9, -2.2):
        phase, magnitude = acquire(constant + 0.5 * X)
        result = correct_bipolar(phase, magnitude, UNIFORM, VOXEL, MASK)
        steps = np.exp(1j * np.diff(result.phase, axis=0))[:, MASK]
        assert abs(np.angle(steps.sum())) < np.pi / 2


def test_curved_readout_phase_needs_the_smooth_map():
    curved = 1.2 * X + 0.8 * Y**2 - 0.6 * X * Z
    phase, magnitude = acquire(curved)
    straight = correct_bipolar(phase, magnitude, UNIFORM, VOXEL, MASK, method="linear")
    smooth = correct_bipolar(phase, magnitude, UNIFORM, VOXEL, MASK, method="mcpc3ds")
    assert rms((smooth.readout_phase - curved)[MASK]) < 0.02
    assert rms((straight.readout_phase - curved)[MASK]) > 0.1
    assert smooth.residual_after < 0.1 * straight.residual_after
    assert straight.residual_after < straight.residual_before


def test_noise_hardly_reaches_the_readout_phase(rng):
    ramp = -1.5 * X + 0.3
    phase, magnitude = acquire(ramp, noise=0.05, rng=rng)
    for method, bound in (("linear", 2e-3), ("mcpc3ds", 0.03)):
        result = correct_bipolar(phase, magnitude, UNIFORM, VOXEL, MASK, method=method)
        assert rms(wrap(2 * (result.readout_phase - ramp))[MASK]) / 2 < bound


@pytest.mark.parametrize("times", [UNIFORM, UNIFORM[:3], UNEVEN, UNEVEN[:3]])
@pytest.mark.parametrize("axis", [X, Y, Z])
def test_bipolar_readout_is_detected(times, axis, rng):
    phase, magnitude = acquire(0.6 * axis, times, noise=0.05, rng=rng)
    evidence = detect_bipolar(phase, magnitude, times, MASK)
    assert evidence.is_bipolar
    assert evidence.strength == pytest.approx(np.sqrt(np.mean((0.6 * axis[MASK]) ** 2)), rel=0.05)
    slopes = [0.6 * 2 / (n - 1) if a is axis else 0 for a, n in zip((X, Y, Z), SHAPE, strict=True)]
    np.testing.assert_allclose(evidence.gradient, slopes, atol=1e-3)
    assert evidence.constant == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("times", [UNIFORM, UNIFORM[:3], UNEVEN])
def test_constant_of_the_readout_phase(times, rng):
    phase, magnitude = acquire(0.6 * Z + 0.7, times, field=bowl() + 20, noise=0.05, rng=rng)
    assert detect_bipolar(phase, magnitude, times, MASK).constant == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("times", [UNIFORM, UNIFORM[:3], UNEVEN, UNEVEN[:3]])
@pytest.mark.parametrize("scale", [0, 1, 3.4])
def test_monopolar_readout_is_not(times, scale, rng):
    field = scale * bowl() + 15
    phase, magnitude = acquire(0, times, field=field, noise=0.05, rng=rng)
    evidence = detect_bipolar(phase, magnitude, times, MASK)
    assert not evidence.is_bipolar
    assert evidence.strength < 0.02
    assert evidence.coherence > 0.9


def test_no_signal_is_no_evidence(rng):
    phase = rng.uniform(-np.pi, np.pi, (5, *SHAPE))
    evidence = detect_bipolar(phase, np.ones_like(phase), UNIFORM, MASK)
    assert not evidence.is_bipolar
    assert evidence.coherence < 0.1


def test_drift_that_does_not_alternate_is_not_bipolar():
    phase, magnitude = acquire(0)
    drift = 0.15 * (1 + X) * np.arange(5)[:, None, None, None] ** 2
    evidence = detect_bipolar(phase + drift, magnitude, UNIFORM, MASK)
    assert not evidence.is_bipolar


def test_threads_and_inputs():
    phase, magnitude = acquire(1.5 * X + 0.4)
    phase[1, 5, 18, 16] = np.nan
    before = phase.copy()
    one = correct_bipolar(phase, magnitude, UNIFORM, VOXEL, MASK, method="mcpc3ds")
    two = correct_bipolar(phase, magnitude, UNIFORM, VOXEL, MASK, method="mcpc3ds", n_threads=2)
    np.testing.assert_array_equal(one.phase, two.phase)
    np.testing.assert_array_equal(one.readout_phase, two.readout_phase)
    np.testing.assert_array_equal(phase, before)
    assert np.all(np.isfinite(one.phase))
    assert one.phase[1, 5, 18, 16] == 0
    assert not one.phase[:, ~MASK].any()
    assert not one.readout_phase[~MASK].any()
    assert np.abs(one.phase).max() <= np.pi + 1e-6


@pytest.mark.parametrize(
    ("n_echoes", "times", "options"),
    [
        (2, UNIFORM[:2], {}),
        (3, UNIFORM, {}),
        (3, UNIFORM[:3], {"method": "quadratic"}),
        (3, UNIFORM[:3], {"voxel_size": (1, 0, 1)}),
        (3, UNIFORM[:3], {"smoothing_mm": 0}),
        (3, UNIFORM[:3], {"mask": np.zeros((3, 3, 3), bool)}),
        (3, UNIFORM[:3], {"mask": np.ones((3, 3, 4), bool)}),
    ],
)
def test_bad_arguments(n_echoes, times, options):
    echoes = np.ones((n_echoes, 3, 3, 3))
    arguments = {"voxel_size": VOXEL, "mask": np.ones((3, 3, 3), bool), **options}
    with pytest.raises(ValueError):
        correct_bipolar(echoes, echoes, times, **arguments)


def test_magnitude_of_zero_is_an_error():
    echoes = np.zeros((3, 3, 3, 3))
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="signal"):
        detect_bipolar(echoes, echoes, UNIFORM[:3], mask)


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers", [(1, 2, 4, 5), (1, 3, 4, 5), (2, 3, 4, 6), (1, 2, 3, 6, 7), (2, 3, 4), (1, 2, 4)]
)
@pytest.mark.parametrize("renumbered", [False, True])
def test_echoes_that_were_left_out(numbers, renumbered):
    """Readout directions go by the echo as acquired; names may have been numbered anew."""
    ramp = 1.5 * X + 0.4
    index = np.array(numbers) - 1
    times = 3e-3 + 4e-3 * index
    te = times[:, None, None, None]
    angle = 0.5 + 0.4 * Y + 2 * np.pi * te * bowl() + (index % 2)[:, None, None, None] * ramp
    magnitude = np.exp(-te / 0.03) * (1.2 + 0.5 * X)
    phase = wrap(angle).astype(np.float32)
    result = correct_readout(
        phase,
        magnitude.astype(np.float32),
        times,
        VOXEL,
        MASK,
        echo_numbers=range(1, 1 + len(numbers)) if renumbered else numbers,
    )
    assert result.bipolar is not None
    signs = 1 - 2 * (index % 2)
    assert result.polarity == tuple(signs * signs[0])
    assert rms((field_of(result.phase, magnitude, times) - bowl())[MASK]) < 0.1


@pytest.mark.parametrize("numbers", [(1, 3, 5), (1, 3, 5, 7), (2, 4, 6)])
def test_echoes_of_one_direction_need_no_correction(numbers):
    index = np.array(numbers) - 1
    te = (3e-3 + 2e-3 * index)[:, None, None, None]
    angle = 2 * np.pi * te * bowl() + (index % 2)[:, None, None, None] * (1.5 * X)
    magnitude = np.exp(-te / 0.03) * np.ones(SHAPE)
    result = correct_readout(wrap(angle), magnitude, te.ravel(), VOXEL, MASK, echo_numbers=numbers)
    assert not result.changed
