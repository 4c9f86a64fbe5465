"""XSIM against closed forms and a plain sum over the window."""

import numpy as np
import pytest

from qsmbids.core.quality.xsim import xsim, xsim_map

SHAPE = (16, 17, 18)
EVERYWHERE = np.ones(SHAPE, bool)


@pytest.fixture
def truth(rng):
    return 0.05 * rng.standard_normal(SHAPE)


def test_equal_and_opposite(truth):
    assert xsim(truth, truth, EVERYWHERE) == pytest.approx(1)
    opposite = xsim_map(-truth, truth, EVERYWHERE)
    assert -1 < opposite.min() < -0.9
    assert opposite.mean() < 0.2  # the means may have either sign, the covariance is negative


def test_symmetric(truth, rng):
    other = truth + 0.02 * rng.standard_normal(SHAPE)
    assert xsim(other, truth, EVERYWHERE) == pytest.approx(xsim(truth, other, EVERYWHERE))
    assert 0 < xsim(other, truth, EVERYWHERE) < 1


def test_two_constants():
    """Without structure only the means count: (2ab + C1) / (a^2 + b^2 + C1)."""
    shape = (24, 24, 24)
    index = xsim_map(np.full(shape, 0.1), np.full(shape, 0.02), np.ones(shape, bool))
    assert index[12, 12, 12] == pytest.approx((0.004 + 1e-4) / (0.0104 + 1e-4), rel=1e-5)


def test_scaled_structure(truth):
    """At a voxel, written out: Gaussian of 1.5 voxels over 3, K1 = 0.01, K2 = 0.001, L = 1."""
    chi = 0.6 * truth + 0.03
    x = np.arange(-1, 2)
    g = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.einsum("i,j,k", g, g, g)
    window /= window.sum()
    block = np.s_[7:10, 7:10, 7:10]
    a, b = chi[block], truth[block]
    ma, mb = (window * a).sum(), (window * b).sum()
    va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
    cov = (window * (a - ma) * (b - mb)).sum()
    expected = (2 * ma * mb + 1e-4) * (2 * cov + 1e-6)
    expected /= (ma**2 + mb**2 + 1e-4) * (va + vb + 1e-6)
    assert xsim_map(chi, truth, EVERYWHERE)[8, 8, 8] == pytest.approx(expected, rel=1e-5)


def test_noise_and_smoothing_lower_it(truth, rng):
    noise = rng.standard_normal(SHAPE)
    scores = [xsim(truth + s * noise, truth, EVERYWHERE) for s in (0, 0.01, 0.05, 0.2)]
    assert scores == sorted(scores, reverse=True)
    assert xsim(0.3 * truth, truth, EVERYWHERE) < 0.8


def test_outside_does_not_count(truth):
    mask = np.zeros(SHAPE, bool)
    mask[4:12, 4:12, 4:12] = True
    chi = 0.9 * truth
    spoilt = np.where(mask, chi, np.nan)
    assert xsim(spoilt, truth, mask) == pytest.approx(xsim(chi, truth, mask))
    assert not xsim_map(spoilt, truth, mask)[~mask].any()


@pytest.mark.parametrize(
    ("chi", "mask", "message"),
    [
        (np.zeros((3, 3, 3)), EVERYWHERE, "same 3-D"),
        (np.zeros(SHAPE), ~EVERYWHERE, "empty"),
        (np.full(SHAPE, np.nan), EVERYWHERE, "finite"),
    ],
)
def test_bad_arguments(truth, chi, mask, message):
    with pytest.raises(ValueError, match=message):
        xsim(chi, truth, mask)
