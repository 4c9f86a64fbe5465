"""The error of the mean of a region, against covariances that are known."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from scipy.spatial.distance import cdist

from qsmbids.core.inversion.error_of_means import ErrorOfMeans

SHAPE, ISO = (24, 24, 24), (1.0, 1.0, 1.0)
#: What twins lack: half of the size of theirs and near, 0.7 of it smooth, reaching 12.5 mm.
NEAR, SMOOTH, SMOOTH_MM = 0.5, 0.7, 12.5
#: Bias of a map over that of its twins, with errors 1.7 times theirs: of half the head, and of a
#: small region in it.
FACTOR, WIDE, DEEP, UNSURE = 1.7, 1.15, 0.54 * 0.7, 0.1
BALL = ((np.indices(SHAPE) - 12.0) ** 2).sum(axis=0) <= 5**2
CUBE = np.zeros(SHAPE, dtype=bool)
CUBE[2:6, 2:6, 2:6] = True
ALL = np.ones(SHAPE, dtype=bool)
HALF = np.indices(SHAPE)[0] < SHAPE[0] / 2


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
    found, bias = ErrorOfMeans(errors, 1.0, ISO).of(region)
    near, far = variance(region, reach), variance(region, SMOOTH_MM)
    where, everywhere = np.argwhere(region), np.argwhere(ALL[::3, ::3, ::3]) * 3 + 1
    across = np.exp(-(cdist(where, everywhere) ** 2) / (2 * SMOOTH_MM**2)).mean()
    zero = np.exp(-(cdist(everywhere, everywhere) ** 2) / (2 * SMOOTH_MM**2)).mean()
    smooth = far - 2 * across + zero
    expected = (1 + NEAR) * near + SMOOTH * smooth
    assert found == pytest.approx(0.01 * np.sqrt(expected), rel=0.1)
    assert abs(bias) < found


def biased(where, twins=0.01, n=60):
    """Errors of twins that have this bias in a region."""
    wrong = twins * (where - where.mean()) * np.ones((n, *SHAPE))
    return (wrong + 1e-6 * noise(0, n)).astype(np.float32)


def test_the_less_is_left_of_a_map_the_more_than_its_twins_it_has_lost():
    errors = biased(HALF)
    found, bias = ErrorOfMeans(errors, FACTOR, ISO).of(HALF)
    assert bias == pytest.approx(WIDE * FACTOR * 0.005, rel=1e-3)
    smooth = found**2 - (UNSURE * FACTOR * 0.005) ** 2
    assert 0 < smooth < SMOOTH * 0.005**2
    assert ErrorOfMeans(errors, 1.0, ISO).of(HALF).bias == pytest.approx(WIDE * 0.005, rel=1e-3)


def test_of_a_region_inside_a_tissue_twins_tell_less():
    errors = biased(BALL)
    share = BALL.mean()
    wide = (4 * share * (1 - share)) ** 2
    means = ErrorOfMeans(errors, FACTOR, ISO)
    twins = 0.01 * (1 - share)
    inside, outside = means.of(BALL).bias, means.of(~BALL).bias
    assert inside == pytest.approx(FACTOR * twins * (WIDE * wide + DEEP * (1 - wide)), rel=1e-3)
    assert inside < 0.6 * WIDE * FACTOR * twins
    # all of the head has no bias of its mean
    assert share * inside + (1 - share) * outside == pytest.approx(0, abs=1e-6)
    assert means.relative_to(~BALL).of(BALL).bias == pytest.approx(inside - outside, rel=1e-4)


def test_the_bias_of_a_region_inside_a_tissue_is_bounded():
    """However much a map has lost: heads of much noise have 1.0 to 1.5 times that of twins."""
    errors, share = biased(BALL), BALL.mean()
    wide = (4 * share * (1 - share)) ** 2
    twins = 0.01 * (1 - share)
    for factor in (2.5, 3.5):
        bias = ErrorOfMeans(errors, factor, ISO).of(BALL).bias
        assert bias == pytest.approx(twins * (WIDE * factor * wide + 1.4 * (1 - wide)), rel=1e-3)


def test_errors_that_reach_farther_average_out_less():
    near, far = (
        ErrorOfMeans(noise(reach), 1.0, ISO).of(BALL).standard_error for reach in (0, 1.6)
    )
    assert far > 1.1 * near


def test_smooth_errors_are_of_one_size_in_millimetres():
    """The same head in voxels of half the length: blocks stand in for the voxels."""
    coarse = noise(0.8, n=8)
    fine = coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    region = BALL.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    one = ErrorOfMeans(coarse, 1.0, ISO).of(BALL)
    other = ErrorOfMeans(fine, 1.0, (0.5,) * 3).of(region)
    assert other.bias == pytest.approx(one.bias, rel=1e-3)
    assert other.standard_error == pytest.approx(one.standard_error, rel=0.1)


def test_the_interval_lies_about_the_mean_less_its_bias():
    errors = noise(0, n=6, sigma=1e-5)
    errors[:, HALF] -= 0.010  # all twins show less there
    found = ErrorOfMeans(errors, 1.0, ISO).relative_to(~HALF).of(HALF)
    assert -0.0125 < found.bias < -0.0110
    low, high = found.interval(0.050)
    assert (low + high) / 2 == pytest.approx(0.050 - found.bias)
    assert high - low == pytest.approx(2 * 1.96 * found.standard_error)
    # an estimate of the bias is not without an error of its own
    assert found.standard_error > 0.08 * abs(found.bias)


def test_an_error_that_region_and_reference_share_does_not_count():
    errors = noise(0, n=6)
    own = ErrorOfMeans(errors, 1.0, ISO).relative_to(BALL).of(BALL)
    assert own == pytest.approx((0, 0), abs=1e-9)
    shifted = errors + np.float32(0.05)
    apart, together = (
        ErrorOfMeans(e, 1.0, ISO).relative_to(CUBE).of(BALL).bias for e in (errors, shifted)
    )
    assert together == pytest.approx(apart, abs=1e-6)


def test_without_voxels_nothing_is_known():
    means, none = ErrorOfMeans(noise(0, n=4), 1.0, ISO), np.zeros(SHAPE, dtype=bool)
    assert np.isnan(means.of(none)).all()
    assert np.isnan(means.relative_to(none).of(BALL)).all()
