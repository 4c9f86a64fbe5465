"""The error of the mean of a region, against covariances that are known."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from scipy.spatial.distance import cdist

from qsmbids.core.inversion.error_of_means import ErrorOfMeans

SHAPE, ISO = (24, 24, 24), (1.0, 1.0, 1.0)
#: Voxels have 1.8 times the error of twins; half of what these lack reaches 12.5 mm.
LACKING, SMOOTH, SMOOTH_MM = 1.8**2 - 1, 0.5, 12.5
BALL = ((np.indices(SHAPE) - 12.0) ** 2).sum(axis=0) <= 5**2
CUBE = np.zeros(SHAPE, dtype=bool)
CUBE[2:6, 2:6, 2:6] = True
ALL = np.ones(SHAPE, dtype=bool)


def noise(reach, n=60, sigma=0.01):
    """Errors whose correlation is Gaussian, of the same size everywhere."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((n, *SHAPE))
    if reach:  # a convolution of a Gaussian with itself is wider by the root of two
        white = np.stack([ndi.gaussian_filter(w, reach / np.sqrt(2), mode="wrap") for w in white])
    white *= sigma / white.std()
    return white.astype(np.float32)


def variance(region, reach):
    """Of the mean of a region, by all pairs of its voxels."""
    where = np.argwhere(region)
    if not reach:
        return 1 / len(where)
    return np.exp(-(cdist(where, where) ** 2) / (2 * reach**2)).mean()


@pytest.mark.parametrize("reach", [0, 1.0, 1.6])
@pytest.mark.parametrize("region", [BALL, CUBE], ids=["ball", "cube"])
def test_the_error_of_a_mean_follows_from_the_covariance(region, reach):
    errors = noise(reach)
    # so that the mean of all voxels, which is the zero, has hardly an error of its own
    errors -= errors.mean(axis=(1, 2, 3), keepdims=True)
    found, bias = ErrorOfMeans(errors, ISO).of(region)
    near, far = variance(region, reach), variance(region, SMOOTH_MM)
    where, everywhere = np.argwhere(region), np.argwhere(ALL[::3, ::3, ::3]) * 3 + 1
    across = np.exp(-(cdist(where, everywhere) ** 2) / (2 * SMOOTH_MM**2)).mean()
    zero = np.exp(-(cdist(everywhere, everywhere) ** 2) / (2 * SMOOTH_MM**2)).mean()
    smooth = far - 2 * across + zero
    expected = near + LACKING * ((1 - SMOOTH) * near + SMOOTH * smooth)
    assert found == pytest.approx(0.01 * np.sqrt(expected), rel=0.1)
    assert abs(bias) < found


def test_of_a_map_that_got_back_its_loss_twins_tell_less():
    errors = noise(0) + 0.01 * BALL.astype(np.float32)
    plain, again = (ErrorOfMeans(errors, ISO, put_back=back).of(BALL) for back in (False, True))
    twins = 0.01 * (1 - BALL.mean())
    np.testing.assert_allclose([plain.bias, again.bias], [2.3 * twins, twins], rtol=0.05)
    more = again.standard_error**2 - plain.standard_error**2
    assert more == pytest.approx((0.9 * twins) ** 2 - (0.2 * 2.3 * twins) ** 2, rel=0.05)


def test_errors_that_reach_farther_average_out_less():
    near, far = (ErrorOfMeans(noise(reach), ISO).of(BALL).standard_error for reach in (0, 1.6))
    assert far > 1.1 * near


def test_smooth_errors_are_of_one_size_in_millimetres():
    """The same head in voxels of half the length: blocks stand in for the voxels."""
    coarse = noise(0.8, n=8)
    fine = coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    region = BALL.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    one, other = ErrorOfMeans(coarse, ISO).of(BALL), ErrorOfMeans(fine, (0.5,) * 3).of(region)
    assert other.bias == pytest.approx(one.bias, rel=1e-3)
    assert other.standard_error == pytest.approx(one.standard_error, rel=0.1)


def test_the_interval_lies_about_the_mean_less_its_bias():
    errors = noise(0, n=6, sigma=1e-5)
    errors[:, BALL] -= 0.010  # all twins show less there
    found = ErrorOfMeans(errors, ISO).relative_to(CUBE).of(BALL)
    assert -0.026 < found.bias < -0.020
    low, high = found.interval(0.050)
    assert (low + high) / 2 == pytest.approx(0.050 - found.bias)
    assert high - low == pytest.approx(2 * 1.96 * found.standard_error)
    # an estimate of the bias is not without an error of its own
    assert found.standard_error > 0.15 * abs(found.bias)


def test_an_error_that_region_and_reference_share_does_not_count():
    errors = noise(0, n=6)
    assert ErrorOfMeans(errors, ISO).relative_to(BALL).of(BALL) == pytest.approx((0, 0), abs=1e-9)
    shifted = errors + np.float32(0.05)
    apart, together = (
        ErrorOfMeans(e, ISO).relative_to(CUBE).of(BALL).bias for e in (errors, shifted)
    )
    assert together == pytest.approx(apart, abs=1e-6)


def test_without_voxels_nothing_is_known():
    means, none = ErrorOfMeans(noise(0, n=4), ISO), np.zeros(SHAPE, dtype=bool)
    assert np.isnan(means.of(none)).all()
    assert np.isnan(means.relative_to(none).of(BALL)).all()
