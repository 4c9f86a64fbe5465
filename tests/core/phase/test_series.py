"""The complex mean of a short series."""

import numpy as np
import pytest

from qsmbids.core.phase.series import average_series

SHAPE = (12, 14, 10)


@pytest.fixture
def series(rng):
    """Two echoes of four volumes whose field drifts, slice by slice."""
    field = 20 * np.linspace(-1, 1, SHAPE[0])[:, None, None] * np.ones(SHAPE)
    drift = rng.uniform(0, 30, (4, SHAPE[2]))
    drift[0] = 0
    times = np.array([0.012, 0.030])
    turns = 2 * np.pi * (field + drift[:, None, None, :]) * times[:, None, None, None, None]
    phase = turns + rng.normal(0, 0.05, turns.shape)
    return np.full(phase.shape, 100.0), np.angle(np.exp(1j * phase)), field, times, drift


def test_the_mean_is_of_the_field_of_the_first_volume(series):
    magnitude, phase, field, times, drift = series
    mean = average_series(magnitude, phase)
    assert mean.used == (0, 1, 2, 3)
    for e, time in enumerate(times):
        error = np.angle(np.exp(1j * (mean.phase[e] - 2 * np.pi * field * time)))
        assert np.std(error) < 0.05 * 0.75  # noise of one volume is 0.05
        assert abs(error.mean()) < 0.01
    assert mean.magnitude.mean() > 99
    plain = np.abs((magnitude * np.exp(1j * phase))[1].mean(axis=0))
    assert plain.mean() < 80  # the drift would have cost signal
    wrapped = np.angle(np.exp(2j * np.pi * drift * times[1]))
    assert mean.drift == pytest.approx(np.abs(wrapped).max(), abs=0.1)


def test_a_volume_of_a_head_that_moved_is_left_out(series, rng):
    magnitude, phase, *_ = series
    phase[:, 2] = rng.uniform(-np.pi, np.pi, phase[:, 2].shape)
    assert average_series(magnitude, phase).used == (0, 1, 3)


def test_one_volume_is_itself(series):
    magnitude, phase, *_ = series
    mean = average_series(magnitude[:, :1], phase[:, :1])
    np.testing.assert_allclose(mean.phase, phase[:, 0], atol=1e-5)
    np.testing.assert_allclose(mean.magnitude, 100, rtol=1e-5)


def test_what_is_no_series_is_refused(series):
    magnitude, phase, *_ = series
    with pytest.raises(ValueError, match="no series"):
        average_series(magnitude[0], phase[0])
