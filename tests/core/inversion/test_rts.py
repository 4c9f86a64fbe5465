"""The rapid two-step inversion on known susceptibilities."""

import numpy as np
import pytest

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.rts import rts
from qsmbids.core.inversion.tkd import tkd

SHAPE = (40, 44, 36)
F0 = 127.7e6
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([16, 18, 14], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
BALL = (R**2).sum(axis=0) <= 5**2
CHI = 0.1 * BALL
ONES = np.ones(SHAPE, np.float32)
OBLIQUE = (0.0, 0.6, 0.8)


def invert(field, mask=MASK, weights=ONES, b0=OBLIQUE, **options):
    return rts(field, mask, weights, (1, 1, 1), b0, centre_frequency=F0, **options)


def field_of(chi, b0=OBLIQUE):
    return 1e-6 * F0 * dipole_field(chi.astype(np.float32), (1, 1, 1), b0)


def error(chi):
    difference = (chi - CHI)[MASK]
    return difference.std() / CHI[MASK].std()


def test_recovers_a_ball():
    """Its value, and with half the streaks of a division."""
    field = field_of(CHI)
    result = invert(field)
    contrast = result.chi[BALL].mean() - result.chi[MASK & ~BALL].mean()
    assert contrast == pytest.approx(0.1, rel=0.05)
    quick = tkd(field, MASK, ONES, (1, 1, 1), OBLIQUE, centre_frequency=F0).chi
    assert error(result.chi) < 0.5 * error(quick)
    assert result.converged
    assert not result.chi[~MASK].any()


def test_layers_along_b0_are_exact():
    """Of layers across B0 the field is -2/3 chi: no part of it lies in the cone."""
    shape = (16, 18, 64)
    layers = np.zeros(shape)
    layers[:, :, 20:30] = 0.1
    layers -= layers.mean()
    ones = np.ones(shape)
    chi = invert(-2 / 3 * 1e-6 * F0 * layers, ones > 0, ones, (0, 0, 1), margin=0).chi
    np.testing.assert_allclose(chi, layers, atol=1e-4)


def test_the_well_conditioned_part_obeys_the_data():
    """On the whole periodic grid its field is that of the data, whatever fills the cone."""
    grid = (24, 27, 20)  # of sizes that transform fast: nothing is put around it
    kernel, ones = dipole_kernel(grid, (1, 1, 1), OBLIQUE), np.ones(grid)
    noise = np.random.default_rng(3).standard_normal(grid)
    chi = invert(noise, ones > 0, ones, margin=0, threshold=0.2, least_squares_steps=8).chi
    there = np.abs(kernel) > 0.2
    expected = np.fft.rfftn(noise / (1e-6 * F0))[there]
    found = (np.fft.rfftn(chi) * kernel)[there]
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_a_hole_without_data_is_spanned():
    """What the field holds where the weight is zero does not matter."""
    weights = np.where((R**2).sum(axis=0) < 4, 0, 1)
    spoilt = np.where(weights == 0, 1e3, field_of(CHI))
    chi = invert(spoilt, weights=weights).chi
    assert chi[BALL].mean() - chi[MASK & ~BALL].mean() == pytest.approx(0.1, rel=0.1)


def test_threads_do_not_change_the_result():
    noisy = field_of(CHI) + np.random.default_rng(2).standard_normal(SHAPE)
    one, three = (invert(noisy, n_threads=n).chi for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_no_field_gives_no_susceptibility():
    result = invert(np.zeros(SHAPE))
    assert not result.chi.any()
    assert result.converged


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"threshold": 0.7}, "threshold"),
        ({"least_squares_steps": 0}, "steps"),
        ({"tolerance_percent": 0.0}, "tolerance"),
        ({"maximum_iterations": 0}, "iterations"),
        ({"margin": -1}, "margin"),
        ({"mask": np.zeros(SHAPE, bool)}, "empty"),
    ],
)
def test_refuses(change, named):
    with pytest.raises(ValueError, match=named):
        invert(**{"field": field_of(CHI), **change})
