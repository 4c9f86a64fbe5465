"""Means over a mask, against numpy's index by it."""

import numpy as np
import pytest

from qsmbids.core.maths.masked import mean_in, scale_in

VOLUME = np.random.default_rng(3).standard_normal((9, 10, 11)).astype(np.float32)
MASK = VOLUME > 0.4


@pytest.mark.parametrize("n_threads", [1, 3])
def test_mean_in_a_mask(n_threads):
    wanted = VOLUME[MASK].mean(dtype=np.float64)
    assert mean_in(VOLUME, MASK, n_threads) == pytest.approx(wanted, rel=1e-6)
    assert mean_in(VOLUME, MASK, n_threads) == mean_in(VOLUME, MASK)
    assert mean_in(VOLUME, np.zeros_like(MASK), n_threads) == 0


def test_values_outside_do_not_count():
    """Even those that are no numbers."""
    broken = np.where(MASK, VOLUME, np.nan).astype(np.float32)
    assert mean_in(broken, MASK) == pytest.approx(mean_in(VOLUME, MASK))


def test_scale_in_a_mask():
    scaled = VOLUME.copy()
    scale_in(scaled, 3.0, MASK, 2)
    np.testing.assert_array_equal(scaled, np.where(MASK, np.float32(3) * VOLUME, VOLUME))
