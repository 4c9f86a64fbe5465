"""iSMV is the limit of the published iteration."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.background.ismv import ismv


def reference(field, mask, radius, n_iterations):
    """Replace the field by its spherical means wherever the sphere fits, again and again."""
    reach = np.indices((2 * radius + 1,) * 3) - radius
    ball = (reach**2).sum(axis=0) <= radius**2
    support = ndi.binary_erosion(mask, structure=ball)
    background = np.where(mask, field, 0.0)
    for _ in range(n_iterations):
        means = ndi.convolve(background, ball / ball.sum(), mode="constant")
        background = np.where(support, means, background)
    return np.where(support, field - background, 0.0), support


def test_limit_of_the_iteration(rng):
    mask = np.zeros((18, 17, 16), bool)
    mask[1:17, 1:16, 1:15] = True
    mask[8, 8, 1:4] = False
    field = ndi.gaussian_filter(rng.standard_normal(mask.shape), 1.0) + np.indices(mask.shape)[0]
    expected, support = reference(field, mask, 2, 400)
    found = ismv(field, mask, (1, 1, 1), radius=2, tolerance=1e-5)
    np.testing.assert_array_equal(found.mask, support)
    error = np.linalg.norm(found.local_field - expected)
    assert error < 1e-3 * np.linalg.norm(expected)
    assert found.n_iterations < 60


@pytest.mark.parametrize("radius", [0.5, np.inf, np.nan, 40])
def test_bad_radius(radius):
    with pytest.raises(ValueError, match="radius"):
        ismv(np.zeros((20, 20, 20)), np.ones((20, 20, 20), bool), (1, 1, 1), radius=radius)


def test_radius_is_in_mm_for_long_voxels():
    mask = np.ones((30, 30, 15), bool)
    with pytest.raises(ValueError, match="longest side"):
        ismv(np.zeros(mask.shape), mask, (1, 1, 3), radius=2)
    found = ismv(np.zeros(mask.shape), mask, (1, 1, 3), radius=4)
    assert found.mask.sum() == 22 * 22 * 13
