"""The fluid of the ventricles is found, and nothing else is taken for it."""

import numpy as np
import pytest

from qsmbids.core.reference.csf import find_csf

SHAPE, VOXEL = (60, 70, 50), (2.0, 2.0, 2.0)


def _grid():
    axes = [(np.arange(n) - n / 2) * v for n, v in zip(SHAPE, VOXEL, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


@pytest.fixture
def head(rng):
    """Ventricle of 12 x 30 x 14 mm in tissue of 20 /s, sulcal fluid in the rim."""
    x, y, z = _grid()
    radius = np.sqrt((x / 54) ** 2 + (y / 64) ** 2 + (z / 45) ** 2)
    mask = radius < 1
    ventricle = (x / 6) ** 2 + (y / 15) ** 2 + (z / 7) ** 2 < 1
    r2star = np.where(ventricle | (radius > 0.92), 2.0, 20.0)
    r2star = (r2star + rng.normal(0, 0.5, SHAPE)).astype(np.float32) * mask
    chi = np.where(ventricle, 0.01, 0.0).astype(np.float32)
    return r2star, np.where(mask, 100.0, 1.0).astype(np.float32), mask, chi, ventricle


def test_the_ventricle_is_found_and_the_sulci_are_not(head):
    r2star, magnitude, mask, chi, ventricle = head
    found = find_csf(r2star, magnitude, mask, VOXEL, chi)
    assert found.found
    assert not (found.region & ~ventricle).any()
    assert found.region.sum() > 0.3 * ventricle.sum()
    assert found.volume_ml == pytest.approx(found.region.sum() * 8 / 1000)


def test_choroid_plexus_is_left_out(head):
    r2star, magnitude, mask, chi, ventricle = head
    plexus = np.zeros(SHAPE, bool)
    plexus[29:31, 36:38, 25] = True
    chi[plexus & ventricle] += 0.3
    found = find_csf(r2star, magnitude, mask, VOXEL, chi)
    assert found.found
    assert not found.region[plexus].any()
    assert find_csf(r2star, magnitude, mask, VOXEL).region[plexus].any()


def test_air_and_unknown_rates_are_no_fluid(head):
    r2star, magnitude, mask, _, ventricle = head
    magnitude[ventricle] = 2.0
    assert not find_csf(r2star, magnitude, mask, VOXEL).found
    magnitude[ventricle] = 100.0
    r2star[ventricle] = 0.0
    refused = find_csf(r2star, magnitude, mask, VOXEL)
    assert not refused.found
    assert "no voxel" in refused.text
    assert not refused.region.any()
    r2star[ventricle] = np.nan
    assert not find_csf(r2star, magnitude, mask, VOXEL).found


def test_volumes_that_no_ventricle_has_are_refused(head):
    r2star, magnitude, mask, *_ = head
    small = find_csf(r2star, magnitude, mask, VOXEL, smallest_volume_ml=50.0)
    assert not small.found
    assert "less than" in small.text
    assert not small.region.any()
    large = find_csf(r2star, magnitude, mask, VOXEL, largest_volume_ml=1.0)
    assert not large.found
    assert "more than" in large.text


def test_voxel_order_does_not_matter(head):
    r2star, magnitude, mask, chi, _ = head
    voxel = (2.0, 2.0, 2.0)
    expected = find_csf(r2star, magnitude, mask, voxel, chi).region
    turned = [v.transpose(2, 0, 1)[:, ::-1] for v in (r2star, magnitude, mask, chi)]
    region = find_csf(*turned[:3], voxel, turned[3]).region
    assert np.array_equal(region, expected.transpose(2, 0, 1)[:, ::-1])


def test_bad_arguments(head):
    r2star, magnitude, mask, *_ = head
    with pytest.raises(ValueError, match="same 3-D volume"):
        find_csf(r2star[1:], magnitude, mask, VOXEL)
    with pytest.raises(ValueError):
        find_csf(r2star, magnitude, np.zeros_like(mask), VOXEL)
