"""Values of a region: erosion and standard error with answers known beforehand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmbids.core.anatomy.statistics import region_values, standard_error


def cube(edge: int, shape: int = 20) -> np.ndarray:
    labels = np.zeros((shape,) * 3, dtype=np.uint8)
    labels[4 : 4 + edge, 4 : 4 + edge, 4 : 4 + edge] = 7
    return labels


def test_erosion_takes_off_the_rim_of_a_cube() -> None:
    labels = cube(6)
    values = np.where(labels == 7, 0.1, 0.0)
    rim = labels == 7
    rim[5:9, 5:9, 5:9] = False
    values[rim] = 0.02  # partial volume
    inner = region_values(values, labels, labels < 9, 7, (1, 2, 3))
    whole = region_values(values, labels, labels < 9, 7, (1, 2, 3), erode=False)
    assert (inner.n_voxels, inner.n_eroded, inner.eroded) == (216, 64, True)
    assert inner.volume_mm3 == 216 * 6
    assert inner.mean == pytest.approx(0.1)
    assert inner.std == pytest.approx(0, abs=1e-12)
    assert whole.mean == pytest.approx((64 * 0.1 + 152 * 0.02) / 216)


def test_thin_region_is_not_eroded() -> None:
    labels = cube(2)
    found = region_values(labels * 0.5, labels, labels < 9, 7, (1, 1, 1))
    assert (found.n_eroded, found.eroded, found.n_used) == (0, False, 8)


def test_region_at_the_border_of_the_volume_loses_its_rim_there_too() -> None:
    labels = np.full((5, 5, 5), 7, dtype=np.uint8)
    assert region_values(labels * 1.0, labels, labels > 0, 7, (1, 1, 1)).n_eroded == 27


def test_share_outside_the_support() -> None:
    labels = cube(4)
    support = np.ones(labels.shape, dtype=bool)
    support[4] = False
    found = region_values(labels * 1.0, labels, support, 7, (1, 1, 1), erode=False)
    assert found.share_outside == pytest.approx(0.25)
    assert found.n_used == 48


def test_absent_region_has_no_values() -> None:
    labels = cube(4)
    found = region_values(labels * 1.0, labels, labels < 9, 8, (1, 1, 1))
    assert found.n_voxels == 0
    assert np.isnan(found.mean)


def test_percentiles_of_a_ramp() -> None:
    labels = np.full((101, 1, 1), 7, dtype=np.uint8)
    ramp = np.arange(101.0).reshape(101, 1, 1)
    found = region_values(ramp, labels, labels > 0, 7, (1, 1, 1), erode=False)
    assert (found.median, found.iqr) == (50.0, 50.0)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_standard_error_is_the_spread_of_means_of_many_maps(sigma: float) -> None:
    # the mean over the same region of 60 independent maps spreads by the true standard error
    rng = np.random.default_rng(3)
    region = cube(12) > 0
    maps = [rng.standard_normal(region.shape) for _ in range(60)]
    if sigma:
        maps = [gaussian_filter(m, sigma) for m in maps]
    truth = np.std([m[region].mean() for m in maps])
    found = np.median([standard_error(m, region) for m in maps])
    assert found == pytest.approx(truth, rel=0.35)
    naive = np.median([m[region].std() for m in maps]) / np.sqrt(region.sum())
    assert (found > 3 * naive) if sigma else (found < 1.3 * naive)
