"""Iterative Tikhonov inversion on known susceptibilities."""

import numpy as np
import pytest

from qsmbids.core.inversion.dipole import dipole_field, dipole_kernel
from qsmbids.core.inversion.tikhonov import iterative_tikhonov

SHAPE = (36, 40, 32)
F0 = 127.7e6
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
MASK = ((R / np.reshape([14, 16, 12], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
BALL = (R**2).sum(axis=0) <= 4**2
ONES = np.ones(SHAPE, np.float32)


def field_of(chi, b0=(0, 0, 1)):
    return 1e-6 * F0 * dipole_field(chi.astype(np.float32), (1, 1, 1), b0)


def invert(field, mask=MASK, weights=ONES, b0=(0, 0, 1), **options):
    return iterative_tikhonov(field, mask, weights, (1, 1, 1), b0, centre_frequency=F0, **options)


def test_without_holes_it_is_the_filter_of_the_normal_equations():
    """With even weights everywhere, x = D f / (D^2 + lambda) for every frequency."""
    field = field_of(0.1 * BALL)
    everywhere = np.ones(SHAPE, bool)
    found = invert(field, everywhere, tolerance=1e-6, size_penalty=0.05, margin=0)
    kernel = dipole_kernel(SHAPE, (1, 1, 1), (0, 0, 1))
    spectrum = np.fft.rfftn(field / (1e-6 * F0)) * kernel / (kernel**2 + 0.05)
    assert found.converged
    assert np.allclose(found.chi, np.fft.irfftn(spectrum, SHAPE), atol=2e-5)


def test_a_ball_is_found_and_a_larger_penalty_takes_more_of_it():
    field = field_of(0.1 * BALL)
    contrasts = []
    for penalty in (1e-3, 1e-2, 1e-1):
        chi = invert(field, size_penalty=penalty).chi
        assert not chi[~MASK].any()
        contrasts.append(chi[BALL].mean() - chi[MASK & ~BALL].mean())
    assert 0.06 < contrasts[0] < 0.105
    assert contrasts[0] > contrasts[1] > contrasts[2]


def test_data_of_no_weight_do_not_count():
    field = field_of(0.1 * BALL)
    hole = (np.abs(R - 6) < 2).all(axis=0)
    weights = np.where(hole, 0, ONES)
    spoilt = np.where(hole, 50.0, field)
    assert np.array_equal(
        invert(spoilt, weights=weights).chi, invert(np.where(hole, 0, field), weights=weights).chi
    )
    assert np.abs(invert(spoilt).chi - invert(field).chi).max() > 0.1


def test_the_axes_may_be_permuted_and_b0_tilted():
    b0 = (0.0, 0.6, 0.8)
    field = field_of(0.1 * BALL, b0)
    plain = invert(field, b0=b0).chi
    turned = invert(field.transpose(2, 0, 1), MASK.transpose(2, 0, 1), ONES.transpose(2, 0, 1),
                    b0=(0.8, 0.0, 0.6)).chi  # fmt: skip
    assert np.allclose(turned, plain.transpose(2, 0, 1), atol=2e-4)


@pytest.mark.parametrize("wrong", [{"size_penalty": 0.0}, {"centre_frequency": -1.0}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match="must be > 0"):
        iterative_tikhonov(
            ONES, MASK, ONES, (1, 1, 1), (0, 0, 1), **{"centre_frequency": F0, **wrong}
        )
