"""What several steps share: the records of others, the quality of the phase and its noise."""

import numpy as np
import pytest

from qsmbids.core.field.echo_combination import field_noise, noise_std
from qsmbids.core.field.romeo_weights import quality_map
from qsmbids.interfaces.base import RecordsInputSpec, StepWithRecords, record
from qsmbids.interfaces.field import averaged_noise, phase_quality

TIMES = (0.005, 0.010, 0.015)


class _Step(StepWithRecords):
    input_spec = RecordsInputSpec


@pytest.fixture
def echoes(rng):
    phase = rng.uniform(-3, 3, (3, 8, 8, 8)).astype(np.float32)
    return phase, rng.uniform(50, 100, phase.shape).astype(np.float32)


def test_the_records_come_in_the_order_of_their_steps():
    said = [record(f"step {i}", Key=i) for i in range(11)]  # record10 sorts before record2
    step = _Step(n_records=len(said))
    for number, one in reversed(list(enumerate(said, 1))):
        setattr(step.inputs, f"record{number}", one)
    assert step._records() == said
    assert _Step()._records() == []


def test_the_quality_is_that_of_the_first_two_echoes(echoes):
    phase, magnitude = echoes
    whole = phase_quality(phase, magnitude, TIMES, "romeo3", 1)
    expected = quality_map(
        phase[0], magnitude=magnitude[0], phase2=phase[1], echo_times=TIMES[:2], weights="romeo3"
    )
    np.testing.assert_array_equal(whole, expected)
    alone = phase_quality(phase[:1], magnitude[:1], TIMES[:1], "romeo3", 1)
    np.testing.assert_array_equal(alone, quality_map(phase[0], magnitude=magnitude[0]))
    assert np.abs(alone - whole).max() > 0.1


def test_the_noise_of_the_field_is_that_of_its_weights(echoes):
    _, magnitude = echoes
    mask = np.ones(magnitude.shape[1:], dtype=bool)
    noise, sigma, warning = averaged_noise(magnitude, mask, TIMES, "average")
    assert not warning
    assert sigma == noise_std(magnitude, mask) > 0
    expected = field_noise(magnitude, TIMES, sigma, weighting="average")
    np.testing.assert_array_equal(noise, expected)
