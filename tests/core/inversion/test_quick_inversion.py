"""Truncated division and closed-form L2 on known susceptibilities."""

import numpy as np
import pytest
from volumes import turn

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.l2 import closed_form_l2
from qsmbids.core.inversion.quick_inversion import symmetric_mean
from qsmbids.core.inversion.tkd import tkd
from qsmbids.core.maths.gradient import gradient

SHAPE = (40, 44, 36)
F0 = 127.7e6
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([16, 18, 14], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
BALL = (R**2).sum(axis=0) <= 5**2
ONES = np.ones(SHAPE, np.float32)
METHODS = [tkd, closed_form_l2]


def field_of(chi, b0=(0, 0, 1), voxel=(1, 1, 1)):
    return 1e-6 * F0 * dipole_field(chi.astype(np.float32), voxel, b0)


def invert(method, field, mask=MASK, weights=ONES, voxel=(1, 1, 1), b0=(0, 0, 1), **options):
    return method(field, mask, weights, voxel, b0, **{"centre_frequency": F0, **options})


def contrast(chi):
    return chi[BALL].mean() - chi[MASK & ~BALL].mean()


def test_tkd_recovers_a_ball():
    """The correction puts back what the threshold has taken."""
    field = field_of(0.1 * BALL)
    everywhere = np.ones(SHAPE, bool)
    plain = invert(tkd, field, everywhere, correct_underestimation=False)
    corrected = invert(tkd, field, everywhere)
    assert contrast(corrected.chi) == pytest.approx(0.1, rel=0.1)
    assert contrast(plain.chi) < 0.9 * contrast(corrected.chi)
    assert corrected.n_iterations == 1
    assert corrected.converged


def test_tkd_of_a_point_is_one():
    """The corrected filter gives a point source back its own value, periodic and without noise."""
    grid = (17, 20, 22)
    point = np.zeros(grid, np.float32)
    point[8, 9, 10] = 1.0
    kernel = dipole_kernel(grid, (1, 1, 1), (0, 0.6, 0.8))
    field = 1e-6 * F0 * np.fft.irfftn(np.fft.rfftn(point) * kernel, grid)
    chi = invert(tkd, field, np.ones(grid, bool), np.ones(grid), b0=(0, 0.6, 0.8), margin=None).chi
    assert chi[8, 9, 10] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("lam", [1e-3, 1e-1])
def test_l2_is_the_minimum(lam, rng):
    """The gradient of the objective vanishes: no small change lowers it."""
    field = field_of(0.1 * BALL).astype(float) + rng.standard_normal(SHAPE)
    everywhere = np.ones(SHAPE, bool)
    best = invert(
        closed_form_l2, field, everywhere, margin=None, gradient_l2_penalty=lam
    ).chi.astype(float)
    kernel = dipole_kernel(SHAPE, (1, 1, 1), (0, 0, 1))

    def objective(chi):
        misfit = np.fft.irfftn(np.fft.rfftn(chi) * kernel, SHAPE) - field / (1e-6 * F0)
        return (misfit**2).sum() + lam * (gradient(chi) ** 2).sum()

    lowest = objective(best)
    for size in (1e-3, 1e-2):
        assert objective(best + size * rng.standard_normal(SHAPE)) > lowest
        assert objective((1 + size) * best) > lowest
        assert objective((1 - size) * best) > lowest


def test_l2_smooths_more_with_more_penalty(rng):
    noise = rng.standard_normal(SHAPE)
    rough = [
        np.square(gradient(invert(closed_form_l2, noise, gradient_l2_penalty=lam).chi)).sum()
        for lam in (1e-3, 1e-2, 1e-1)
    ]
    assert rough[0] > 3 * rough[1] > 9 * rough[2]


@pytest.mark.parametrize("method", METHODS)
def test_axes_may_be_permuted_and_flipped(method):
    field, voxel = field_of(0.1 * BALL, voxel=(1, 1.2, 0.9)), (1, 1.2, 0.9)
    straight = invert(method, field, voxel=voxel).chi
    turned = invert(
        method, turn(field), turn(MASK), turn(ONES), voxel=(0.9, 1, 1.2), b0=(-1, 0, 0)
    ).chi
    if method is tkd:
        np.testing.assert_allclose(turned[::-1].transpose(1, 2, 0), straight, atol=1e-5)
    else:  # its filter has odd sizes on one grid only
        np.testing.assert_allclose(turned[::-1].transpose(1, 2, 0), straight, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_zero_outside_linear_and_input_untouched(method, rng):
    field = np.where(MASK, rng.standard_normal(SHAPE), np.nan)
    weights = np.where(MASK, 1.0, np.nan)
    before = field.copy()
    one, two = invert(method, field, weights=weights), invert(method, 2 * field, weights=weights)
    np.testing.assert_array_equal(field, before)
    assert one.chi.dtype == np.float32
    assert not one.chi[~MASK].any()
    np.testing.assert_allclose(two.chi, 2 * one.chi, rtol=1e-3, atol=1e-6)
    threaded = invert(method, field, weights=weights, n_threads=2)
    np.testing.assert_array_equal(threaded.chi, one.chi)


def test_no_data_counts_as_no_field():
    field = field_of(0.1 * BALL)
    hole = R[0] > 8
    spoilt = np.where(hole, 1e6, field)
    chi = invert(tkd, spoilt, weights=np.where(hole, 0, ONES)).chi
    np.testing.assert_array_equal(chi, invert(tkd, np.where(hole, 0, field)).chi)


def test_symmetric_mean(rng):
    for shape in ((6, 7, 8), (5, 6, 7)):
        power = np.abs(np.fft.fftn(rng.standard_normal(shape))) ** 2
        half = power[:, :, : shape[2] // 2 + 1]
        assert symmetric_mean(half, shape) == pytest.approx(power.mean(), rel=1e-10)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        (tkd, {"threshold": 0.0}, "threshold"),
        (tkd, {"threshold": 0.7}, "threshold"),
        (closed_form_l2, {"gradient_l2_penalty": 0.0}, "penalty"),
        (tkd, {"mask": np.zeros(SHAPE, bool)}, "empty"),
        (tkd, {"mask": np.ones((3, 3, 3), bool)}, "same 3-D"),
        (closed_form_l2, {"field": np.full(SHAPE, np.nan)}, "finite"),
        (closed_form_l2, {"weights": -ONES}, "weights"),
        (tkd, {"centre_frequency": 0.0}, "frequency"),
        (tkd, {"margin": -1}, "margin"),
    ],
)
def test_bad_arguments(method, change, message):
    with pytest.raises(ValueError, match=message):
        invert(method, **{"field": np.zeros(SHAPE), **change})
