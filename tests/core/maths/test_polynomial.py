"""Removal of polynomials."""

import numpy as np
import pytest

from qsmbids.core.maths.polynomial import remove_polynomial


def test_a_polynomial_vanishes_and_the_rest_stays(rng):
    x, y, z = np.indices((20, 24, 18)) / 10.0 - 1.0
    mask = x**2 + y**2 + z**2 < 1
    polynomial = 3 + x - 2 * x * y**2 * z + 4 * z**4
    assert np.abs(remove_polynomial(polynomial, mask)).max() < 1e-5
    noise = rng.standard_normal(x.shape)
    rest = remove_polynomial(polynomial + noise, mask)
    assert rest[mask].std() == pytest.approx(noise[mask].std(), rel=0.05)
    assert (rest[~mask] == 0).all()


def test_higher_orders_stay():
    x = np.indices((20, 24, 18))[0] / 10.0 - 1.0
    mask = np.ones(x.shape, dtype=bool)
    assert np.abs(remove_polynomial(x**3, mask, order=2)).max() > 0.1


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="empty"):
        remove_polynomial(np.ones((4, 4, 4)), np.zeros((4, 4, 4), dtype=bool))
