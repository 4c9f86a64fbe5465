"""Nonlinear complex fit of the field against exact signals and its own noise map."""

import numpy as np
import pytest
from volumes import wrap

from qsmbids.core.field.nonlinear_fit import (
    echo_grid,
    field_from_fit,
    noise_from_fit,
    nonlinear_fit,
)

UNIFORM = np.array([5.25, 11.08, 16.91, 22.74, 28.57]) * 1e-3
UNEVEN = np.array([4.0, 9.1, 16.3, 21.2, 30.0]) * 1e-3
SHAPE = (12, 10, 8)


def acquire(field, offset, times, noise=0.0, rng=None, t2star=0.03):
    te = times[:, None, None, None]
    signal = np.exp(-te / t2star) * np.exp(1j * (offset + 2 * np.pi * te * field))
    if noise:
        signal = signal + noise * (
            rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
        )
    return np.angle(signal), np.abs(signal)


def spacing_of(times):
    return echo_grid(times)[1]


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN, UNIFORM[:3], UNEVEN[:3]])
def test_noise_free_signal_is_fitted_exactly(times, rng):
    # beyond one cycle per spacing, with any offset
    field = rng.uniform(-1.4, 1.4, SHAPE) / spacing_of(times)
    offset = rng.uniform(-10, 10, SHAPE)
    fit = nonlinear_fit(*acquire(field, offset, times), times)
    assert fit.phase_slope.dtype == fit.offset.dtype == np.float32
    assert np.abs(fit.phase_slope).max() <= np.float32(np.pi)
    assert np.abs(wrap(fit.phase_slope - 2 * np.pi * fit.spacing * field)).max() < 1e-6
    at_first_echo = offset + 2 * np.pi * times[0] * field
    assert np.abs(wrap(fit.offset - at_first_echo)).max() < 2e-6
    assert fit.residual.max() < 1e-11


def test_spacing_of_the_echoes():
    assert spacing_of(UNIFORM) == pytest.approx(5.83e-3)
    assert spacing_of(UNEVEN) == pytest.approx(4.9e-3)
    rounded = np.array([0.00493, 0.00986, 0.01479, 0.01971])
    tau, _, order = echo_grid(rounded)
    assert tau.tolist() == [0, 1, 2, 3]
    assert order.size == 0
    # the closest pair is echoes 3 and 4, then 2 and 5
    assert echo_grid(UNEVEN)[2].tolist() == [2, 3, 1, 4, 0]


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN])
def test_standard_deviation_is_that_of_the_noise_map(times, rng):
    shape = (40, 40, 25)
    sigma = 0.05  # SNR 20 at TE = 0, down to 8 at the last echo
    phase, magnitude = acquire(np.full(shape, 30.0), 1.0, times, noise=sigma, rng=rng)
    _, clean = acquire(np.full((1, 1, 1), 30.0), 1.0, times)
    fit = nonlinear_fit(phase, magnitude, times)
    error = wrap(fit.phase_slope.astype(float) - 2 * np.pi * fit.spacing * 30.0)
    predicted = nonlinear_fit(np.zeros_like(clean), clean, times).noise_std.item() * sigma
    assert error.std() == pytest.approx(predicted, rel=0.05)
    # the map of the noisy data themselves, as users see it
    assert np.sqrt(np.mean((sigma * fit.noise_std) ** 2)) == pytest.approx(error.std(), rel=0.05)
    assert abs(error.mean()) < 5 * predicted / np.sqrt(error.size)
    hz = noise_from_fit(fit, sigma)
    np.testing.assert_allclose(hz, sigma * fit.noise_std / (2 * np.pi * fit.spacing), rtol=1e-5)


def test_noise_of_equal_echoes_in_closed_form():
    magnitude = np.full((4, 1, 1, 1), 3.0)
    fit = nonlinear_fit(np.zeros((4, 1, 1, 1)), magnitude, [0.01, 0.02, 0.03, 0.04])
    # sum of (tau - mean)^2 of 0..3 is 5
    assert fit.noise_std.item() == pytest.approx(1 / (3 * np.sqrt(5)), rel=1e-6)


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN])
def test_whole_cycles_of_the_phase_change_nothing(times, rng):
    field = rng.uniform(-90, 90, SHAPE)
    phase, magnitude = acquire(field, 2.0, times, noise=0.05, rng=rng)
    cycles = 2 * np.pi * rng.integers(-3, 4, phase.shape)
    fit = nonlinear_fit(phase, magnitude, times)
    again = nonlinear_fit(phase + cycles, 1e3 * magnitude, times)
    # float32 phase of up to 20 rad
    assert np.abs(wrap(fit.phase_slope - again.phase_slope)).max() < 1e-5
    np.testing.assert_allclose(again.residual, fit.residual, atol=1e-5)
    np.testing.assert_allclose(again.noise_std * 1e3, fit.noise_std, rtol=1e-5)


def test_fit_is_the_least_squares_solution(rng):
    phase, magnitude = acquire(rng.uniform(-80, 80, SHAPE), 0.3, UNIFORM, noise=0.1, rng=rng)
    fit = nonlinear_fit(phase, magnitude, UNIFORM, maximum_iterations=200, smallest_step=1e-9)
    tau = np.arange(5)[:, None, None, None]
    for d_offset, d_slope in ((0, 0.01), (0, -0.01), (0.01, 0), (-0.01, 0)):
        line = fit.offset + d_offset + (fit.phase_slope + d_slope) * tau
        left = 2 * np.sum(magnitude**2 * (1 - np.cos(phase - line)), 0) / np.sum(magnitude**2, 0)
        assert np.all(left > fit.residual)


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN])
def test_field_over_several_cycles(times):
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (32, 30, 28)), indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.9
    field = 260 * x - 90 * y * z + 120 * z**2
    phase, magnitude = acquire(field, 1.5 * x + y, times)
    fit = nonlinear_fit(phase, magnitude, times, mask=mask)
    result = field_from_fit(fit, np.sqrt((magnitude**2).sum(0)), mask)
    error = (result - field)[mask]
    cycles = np.median(error) * fit.spacing
    assert abs(cycles - np.rint(cycles)) < 1e-4
    assert np.abs(error - np.median(error)).max() < 1e-3
    assert abs(np.median(result[mask])) * fit.spacing < 0.5 + 1e-3
    assert not result[~mask].any()
    assert not any(m[~mask].any() for m in (fit.phase_slope, fit.noise_std, fit.residual))


def test_threads_do_not_change_the_result(rng):
    shape = (30, 20, 20)
    field = rng.uniform(-90, 90, shape)
    phase, magnitude = acquire(field, 0.2, UNIFORM, noise=0.2, rng=rng)
    one = nonlinear_fit(phase, magnitude, UNIFORM)
    two = nonlinear_fit(phase, magnitude, UNIFORM, n_threads=2)
    for name in ("phase_slope", "noise_std", "residual", "offset"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_voxels_without_a_signal_are_zero(rng):
    phase, magnitude = acquire(np.full((2, 2, 2), 20.0), 0.2, UNIFORM)
    phase[2, 0, 0, 0] = np.nan
    magnitude[1, 0, 0, 1] = np.inf
    magnitude[:, 0, 1, 0] = 0
    magnitude[1:, 0, 1, 1] = 0
    before = phase.copy(), magnitude.copy()
    fit = nonlinear_fit(phase, magnitude, UNIFORM)
    for values in (fit.phase_slope, fit.noise_std, fit.residual, fit.offset):
        assert np.all(np.isfinite(values))
        assert not values[0].any()
    assert np.all(fit.noise_std[1] > 0)
    np.testing.assert_array_equal(phase, before[0])
    np.testing.assert_array_equal(magnitude, before[1])


@pytest.mark.parametrize(
    ("n_echoes", "times", "options"),
    [
        (2, UNIFORM[:2], {}),
        (5, UNIFORM[:4], {}),
        (5, UNIFORM[::-1], {}),
        (5, UNIFORM, {"maximum_iterations": 0}),
        (5, UNIFORM, {"smallest_step": 0.0}),
        (5, UNIFORM, {"mask": np.ones((2, 2, 3), bool)}),
    ],
)
def test_bad_arguments(n_echoes, times, options):
    echoes = np.ones((n_echoes, 2, 2, 2))
    with pytest.raises(ValueError):
        nonlinear_fit(echoes, echoes, times, **options)
