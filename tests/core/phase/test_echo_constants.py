"""Constants of the echoes hold no susceptibility and must not bend the phase."""

import numpy as np
import pytest

from qsmbids.core.field.echo_combination import weighted_echo_average
from qsmbids.core.field.romeo import unwrap_echoes
from qsmbids.core.phase.echo_constants import find_echo_constants, remove_echo_constants
from qsmbids.core.phase.offset import mcpc3ds
from qsmbids.core.phase.readout import correct_readout

SHAPE, VOXEL = (36, 34, 32), (2.0, 2.0, 2.0)
X, Y, Z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 0.8
FIELD = 60 * X - 30 * Y + 70 * (X**2 - Z**2)
UNIFORM, UNEVEN = (0.004, 0.010, 0.016, 0.022), (0.004, 0.009, 0.0155, 0.022)


def acquire(times, constants, readout=0.0, noise=0.005):
    te, rng = np.array(times)[:, None, None, None], np.random.default_rng(1)
    turn = np.array(constants)[:, None, None, None]
    turn = turn + np.arange(len(times))[:, None, None, None] % 2 * readout
    signal = np.exp(-te * (40 + 35 * Y) + 1j * (0.6 + 0.4 * Y + 2 * np.pi * te * FIELD + turn))
    signal = signal + noise * (
        rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
    )
    return np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32)


def field_error(phase, magnitude, times):
    corrected, _ = mcpc3ds(phase, magnitude, times, VOXEL, MASK)
    unwrapped = unwrap_echoes(corrected, magnitude, times, MASK)
    error = (weighted_echo_average(unwrapped, magnitude, times) - FIELD)[MASK]
    return np.std(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "constants"),
    [
        (UNIFORM, (0, 1.3, -0.9, 2.4)),
        (UNIFORM, (0, 0, 3.0, 0)),
        (UNIFORM, (2.0, 0.5, 0.5, 0.5)),
        (UNIFORM, (0, 0, 0, 0.2)),
        (UNIFORM, (0, 0, 1.5)),
        (UNEVEN, (0, 1.3, -0.9, 2.4)),
        (UNEVEN, (0, 0, 1.5)),
    ],
)
def test_the_field_is_that_of_undisturbed_phase(times, constants):
    times = times[: len(constants)]
    phase, magnitude = acquire(times, constants)
    expected = field_error(*acquire(times, [0] * len(times)), times)
    result = correct_readout(
        phase, magnitude, times, VOXEL, MASK, echo_numbers=range(1, 1 + len(times))
    )
    assert field_error(result.phase, magnitude, times) < 1.5 * expected + 0.05
    if np.ptp(constants) > 1:
        assert field_error(phase, magnitude, times) > 2 * expected + 0.1


def test_constants_with_a_bipolar_readout():
    phase, magnitude = acquire(UNIFORM, (0, 1.3, -0.9, 2.4), readout=1.5 * X + 0.4)
    expected = field_error(*acquire(UNIFORM, [0] * 4), UNIFORM)
    result = correct_readout(phase, magnitude, UNIFORM, VOXEL, MASK, echo_numbers=range(1, 5))
    assert result.bipolar is not None
    assert field_error(result.phase, magnitude, UNIFORM) < 1.5 * expected + 0.05


def test_constants_are_known_relative_to_a_line():
    phase, magnitude = acquire(UNIFORM, (0, 0, 0.7, -1.1))
    found = find_echo_constants(phase, magnitude, UNIFORM, MASK)
    np.testing.assert_allclose(found.constants, [0, 0, 0.7, -1.1], atol=0.02)
    mended = remove_echo_constants(phase, found)
    again = find_echo_constants(mended, magnitude, UNIFORM, MASK)
    np.testing.assert_allclose(again.constants, 0, atol=1e-4)


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN])
def test_whole_phase_is_left_alone(times):
    phase, magnitude = acquire(times, [0] * 4)
    result = correct_readout(phase, magnitude, times, VOXEL, MASK, echo_numbers=range(1, 5))
    assert not result.changed
    assert result.phase is phase


def test_noise_has_no_constants(rng):
    phase = rng.uniform(-np.pi, np.pi, (4, *SHAPE)).astype(np.float32)
    found = find_echo_constants(phase, np.ones_like(phase), UNIFORM, MASK)
    assert not found.stand_out
