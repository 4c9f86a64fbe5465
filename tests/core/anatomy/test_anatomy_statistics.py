"""Values of a region: erosion and standard error with answers known beforehand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmbids.core.anatomy.statistics import (
    eroded_regions,
    standard_error,
    standard_errors,
)


def cube(edge: int, shape: int = 20) -> np.ndarray:
    labels = np.zeros((shape,) * 3, dtype=np.uint8)
    labels[4 : 4 + edge, 4 : 4 + edge, 4 : 4 + edge] = 7
    return labels


def test_erosion_takes_off_the_rim_of_a_cube() -> None:
    labels = cube(6)
    found = eroded_regions(labels, [7], [7])
    assert (found.n_inner, found.eroded) == ({7: 64}, {7})
    inner = np.zeros(labels.shape, bool)
    inner[5:9, 5:9, 5:9] = True
    np.testing.assert_array_equal(found.labels == 7, inner)
    counted = eroded_regions(labels, [7])
    assert (counted.n_inner, counted.eroded) == ({7: 64}, set())
    np.testing.assert_array_equal(counted.labels, labels)


def test_a_region_that_would_nearly_vanish_stays_whole() -> None:
    thin, small = cube(12), cube(4)
    thin[:, :, 7:] = 0  # a plate: a third of its voxels would be left
    assert eroded_regions(thin, [7], [7]).eroded == {7}
    assert eroded_regions(cube(2), [7], [7]).n_inner == {7: 0}
    kept = eroded_regions(small, [7], [7])  # 8 of 64 voxels: too few for a mean
    assert (kept.n_inner, kept.eroded) == ({7: 8}, set())
    np.testing.assert_array_equal(kept.labels, small)


def test_a_neighbour_is_no_inside() -> None:
    """Two regions that touch lose their rims on both sides of the border."""
    labels = cube(8)
    labels[8:12, 4:12, 4:12] = 3
    found = eroded_regions(labels, [3, 7], [3, 7])
    assert found.n_inner == {3: 2 * 6 * 6, 7: 2 * 6 * 6}


def test_region_at_the_border_of_the_volume_loses_its_rim_there_too() -> None:
    assert eroded_regions(np.full((5, 5, 5), 7), [7, 9]).n_inner == {7: 27, 9: 0}


def test_only_voxels_inside_the_support_count_for_the_error() -> None:
    labels = cube(8)
    values = np.random.default_rng(1).standard_normal(labels.shape)
    support = np.ones(labels.shape, dtype=bool)
    support[4:8] = False
    inside, absent = standard_errors(values, labels, support, [7, 8])
    assert inside == standard_error(values, (labels == 7) & support)
    assert np.isnan(absent)


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
