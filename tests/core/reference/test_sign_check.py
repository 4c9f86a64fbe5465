"""Whether veins and iron come out paramagnetic."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmbids.core.phantom.head import make_phantom
from qsmbids.core.reference.sign_check import check_sign


@pytest.fixture(scope="module")
def phantom():
    return make_phantom()


@pytest.fixture(scope="module")
def maps(phantom):
    """Chi and R2* as a reconstruction has them: blurred, noisy, shifted."""
    rng = np.random.default_rng(5)
    shape = phantom.mask.shape
    chi = gaussian_filter(phantom.chi_brain, 0.5) + 0.02 * rng.standard_normal(shape) + 0.01
    r2star = phantom.r2star * (1 + 0.05 * rng.standard_normal(shape))
    return chi, r2star


def _calcification(maps, radius, chi=-1.0):
    """Put a larger ball where the phantom has its calcification."""
    x, y, z = np.indices(maps[0].shape)
    ball = (x - 65.5) ** 2 + (y - 37.5) ** 2 + (z - 51.5) ** 2 < radius**2
    return np.where(ball, chi, maps[0]), np.where(ball, 120.0, maps[1])


def test_the_right_sign(phantom, maps):
    found = check_sign(*maps, phantom.mask)
    assert found.inverted is False
    assert 0.05 < found.mean_high_r2star < 0.3


def test_the_wrong_sign(phantom, maps):
    found = check_sign(-maps[0], maps[1], phantom.mask)
    assert found.inverted is True
    assert found.mean_high_r2star == pytest.approx(
        -check_sign(*maps, phantom.mask).mean_high_r2star
    )
    assert "inverted" in found.text


@pytest.mark.parametrize("radius", [2.5, 3.5])
def test_a_calcification_does_not_outvote_nuclei_and_veins(phantom, maps, radius):
    """With the larger one the mean over the voxels is negative."""
    chi, r2star = _calcification(maps, radius)
    found = check_sign(chi, r2star, phantom.mask)
    assert found.inverted is False
    assert (found.mean_high_r2star < 0) == (radius > 3)
    assert check_sign(-chi, r2star, phantom.mask).inverted is True


def test_nothing_but_a_calcification_decides_nothing(phantom, maps):
    chi, r2star = _calcification(maps, 12)
    assert check_sign(chi, r2star, phantom.mask).inverted is None


@pytest.mark.parametrize("seed", range(5))
def test_noise_decides_nothing(phantom, maps, seed):
    noise = 0.03 * np.random.default_rng(seed).standard_normal(maps[0].shape)
    assert check_sign(noise, maps[1], phantom.mask).inverted is None
    rates = 20 + 100 * noise
    assert check_sign(maps[0], rates, phantom.mask).inverted is None


def test_the_reference_does_not_matter(phantom, maps):
    assert check_sign(maps[0] - 0.5, maps[1], phantom.mask).inverted is False


def test_maps_that_say_nothing(phantom, maps):
    mask = phantom.mask
    for chi, r2star, where in (
        (np.zeros_like(maps[0]), maps[1], mask),
        (maps[0], np.full_like(maps[1], 20.0), mask),
        (np.full_like(maps[0], np.nan), maps[1], mask),
        (*maps, np.zeros_like(mask)),
    ):
        assert check_sign(chi, r2star, where).inverted is None


def test_coarse_voxels(phantom):
    coarse = make_phantom((48, 56, 40), (2, 2, 2))
    assert check_sign(coarse.chi_brain, coarse.r2star, coarse.mask).inverted is False
    assert check_sign(-coarse.chi_brain, coarse.r2star, coarse.mask).inverted is True


def test_bad_arguments(phantom, maps):
    with pytest.raises(ValueError, match="differ"):
        check_sign(maps[0][1:], maps[1], phantom.mask)
    with pytest.raises(ValueError, match="quantile"):
        check_sign(*maps, phantom.mask, quantile=99.5)


@pytest.mark.parametrize(("sign", "inverted"), [(1, False), (-1, True)])
def test_known_nuclei_tell_the_sign_where_R2star_shows_too_few_clusters(rng, sign, inverted):
    shape = (40, 40, 40)
    mask = np.ones(shape, bool)
    chi = 0.01 * rng.standard_normal(shape)
    r2star = 20 + rng.standard_normal(shape)
    nuclei = np.zeros(shape, np.int32)
    for label, place in enumerate(((10, 12, 20), (28, 12, 20), (12, 24, 14), (26, 24, 14)), 1):
        block = tuple(slice(p, p + 4) for p in place)
        nuclei[block], chi[block] = label, chi[block] + sign * 0.1
    r2star[nuclei == 1] = 45  # the only one with more R2*
    alone = check_sign(chi, r2star, mask, quantile=0.999)
    told = check_sign(chi, r2star, mask, nuclei=nuclei, quantile=0.999)
    assert alone.inverted is None
    assert told.inverted is inverted
    assert "iron-rich nuclei" in told.text
