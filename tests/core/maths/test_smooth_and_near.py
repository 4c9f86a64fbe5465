"""Smoothing, distances and the order of voxels: what numpy and scipy give, only faster."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from qsmbids.core.maths.axis_order import in_c_order, in_fortran_order
from qsmbids.core.maths.distance import limited_distance
from qsmbids.core.maths.gaussian import gaussian
from qsmbids.core.maths.smoothing import block_sums


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(17, 9, 12)).astype(np.float32)


@pytest.mark.parametrize("mode", ["reflect", "nearest"])
@pytest.mark.parametrize("sigma", [0.4, (0.0, 1.3, 2.0), 6.0])
def test_a_gaussian_is_that_of_scipy(volume, mode, sigma):
    expected = gaussian_filter(volume, sigma, mode=mode, truncate=3.0)
    found = gaussian(volume, sigma, mode=mode, truncate=3.0)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.dtype == np.float32


def test_a_gaussian_of_no_width_gives_a_copy(volume):
    found = gaussian(volume, 0.0)
    assert np.array_equal(found, volume)
    assert not np.shares_memory(found, volume)


def test_a_gaussian_of_a_mask_is_a_share():
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True
    assert gaussian(mask, 0.6).sum() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.7, 1.9, 3.1)])
def test_a_distance_is_that_of_scipy_up_to_its_limit(volume, size):
    mask = volume > 1.8
    assert mask.any()
    found = limited_distance(mask, size, 4.0)
    expected = np.minimum(distance_transform_edt(~mask, sampling=size), 4.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.max() == 4.0 > np.median(expected)


def test_nothing_is_as_far_as_the_limit():
    assert (limited_distance(np.zeros((3, 4, 5), dtype=bool), (1, 1, 1), 7.5) == 7.5).all()


@pytest.mark.parametrize("dtype", [np.int16, np.float32, bool])
def test_voxels_stay_where_they_are(volume, dtype):
    stored = in_fortran_order(volume > 0 if dtype is bool else 100 * volume, dtype)
    assert stored.flags.f_contiguous
    assert stored.dtype == dtype
    back = in_c_order(stored, np.float32)
    assert back.flags.c_contiguous
    assert np.array_equal(back, stored)
    assert in_c_order(back, np.float32) is back


@pytest.mark.parametrize("widths", [[1, 1, 1], [2, 3, 4], [20, 1, 5]])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_blocks_of_voxels_are_summed(volume, widths, dtype):
    """The last one along an axis may be smaller."""
    volume = volume.astype(dtype)
    before = volume.copy()
    expected = volume
    for axis, size in enumerate(widths):
        starts = np.arange(0, volume.shape[axis], size)
        expected = np.add.reduceat(expected, starts, axis=axis)
    found = block_sums(volume, widths)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == dtype
    np.testing.assert_array_equal(volume, before)
