"""Agreement of two maps on numbers that are known."""

import numpy as np
import pytest

from qsmbids.core.quality.agreement import agreement

SHAPE = (6, 7, 8)
MASK = np.indices(SHAPE).sum(0) % 3 != 0


def test_equal_maps(rng):
    volume = rng.normal(size=SHAPE)
    found = agreement(volume, volume, MASK)
    assert found.n_voxels == MASK.sum()
    assert found[1:] == pytest.approx((1, 0, 1, 0), abs=1e-12)


def test_a_straight_line(rng):
    reference = rng.normal(3, 2, SHAPE)
    found = agreement(-0.25 * reference + 2, reference, MASK)
    assert found[1:4] == pytest.approx((-0.25, 2, -1))


def test_noise_lowers_the_correlation_and_not_the_slope(rng):
    reference = rng.normal(0, 1, (30, 30, 30))
    noisy = reference + rng.normal(0, 0.5, reference.shape)
    found = agreement(noisy, reference, np.ones(reference.shape, bool))
    assert found.slope == pytest.approx(1, abs=0.02)
    assert found.correlation == pytest.approx(1 / np.sqrt(1.25), abs=0.01)
    assert found.nrmse == pytest.approx(0.5, abs=0.01)


def test_what_is_outside_the_mask_does_not_count(rng):
    reference = rng.normal(size=SHAPE)
    found = np.where(MASK, reference, np.nan)
    assert agreement(found, reference, MASK).slope == pytest.approx(1)


@pytest.mark.parametrize(
    ("found", "mask", "words"),
    [
        (np.ones(SHAPE), MASK, "constant"),
        (np.full(SHAPE, np.nan), MASK, "finite"),
        (np.ones((2, 2, 2)), MASK, "one shape"),
        (np.ones(SHAPE), np.zeros(SHAPE, bool), "too few"),
    ],
)
def test_what_cannot_be_compared(rng, found, mask, words):
    with pytest.raises(ValueError, match=words):
        agreement(found, rng.normal(size=SHAPE), mask)
