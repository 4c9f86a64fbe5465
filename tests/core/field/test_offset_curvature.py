"""The curvature of a phase offset, told from the field by spherical means."""

import numpy as np
import pytest

from qsmbids.core.field.offset_curvature import remove_offset_curvature
from qsmbids.core.maths.arrays import EmptyMaskError
from qsmbids.core.phantom.head import make_phantom, simulate_field

VOXEL = np.array((3.0, 2.0, 4.0))
SHAPE = (34, 50, 26)


@pytest.fixture(scope="module")
def ball():
    """Return coordinates [mm] about the middle of a grid, and a ball of 45 mm."""
    grid = [(np.arange(n) - (n - 1) / 2) * v for n, v in zip(SHAPE, VOXEL, strict=True)]
    xyz = np.stack(np.meshgrid(*grid, indexing="ij"))
    return xyz, (xyz**2).sum(axis=0) < 45**2


def test_a_paraboloid_is_found_whatever_the_background_is(ball):
    (x, y, z), mask = ball
    background = 3 + 0.4 * x - 0.2 * z + 0.01 * (x**2 - y**2) + 0.02 * y * z
    a = -0.0042
    found = remove_offset_curvature(background + a * (x**2 + y**2 + z**2), mask, VOXEL)
    assert found.curvature == pytest.approx(a, rel=0.02)  # spheres of 4 mm voxels are no spheres
    assert found.radius_mm == 24
    rest = (found.field - background)[mask]
    assert np.ptp(rest) < 0.02 * np.ptp(a * (x**2 + y**2 + z**2)[mask])
    assert np.ptp(found.field[~mask] - (background + a * (x**2 + y**2 + z**2))[~mask]) < 1e-4


def test_it_does_not_matter_where_the_mask_lies(ball):
    (x, y, z), mask = ball
    field = 0.003 * (x**2 + y**2 + z**2)
    whole = remove_offset_curvature(field, mask, VOXEL).curvature
    padded = [np.pad(v, ((9, 2), (0, 5), (3, 7))) for v in (field, mask)]
    assert remove_offset_curvature(*padded, VOXEL).curvature == pytest.approx(whole, rel=1e-3)


def test_a_head_without_an_offset_keeps_its_field():
    phantom = make_phantom((48, 56, 40), (3.0, 3.0, 3.0))
    field = simulate_field(phantom)[0]
    found = remove_offset_curvature(field, phantom.mask, (3.0, 3.0, 3.0))
    assert abs(found.curvature) * 50**2 < 0.5  # Hz, where background makes hundreds


def test_small_masks_have_smaller_spheres(ball):
    (x, y, z), _ = ball
    square = x**2 + y**2 + z**2
    found = remove_offset_curvature(0.01 * square, square < 20**2, VOXEL)
    assert found.radius_mm < 14
    assert found.curvature == pytest.approx(0.01, rel=0.02)
    flat = np.zeros(SHAPE, bool)
    flat[:, :, 12] = True
    assert remove_offset_curvature(0.01 * square, flat, VOXEL).curvature == 0


def test_wrong_input_is_refused(ball):
    _, mask = ball
    with pytest.raises(EmptyMaskError):
        remove_offset_curvature(np.zeros(SHAPE), np.zeros(SHAPE, bool), VOXEL)
    with pytest.raises(ValueError, match="not finite"):
        remove_offset_curvature(np.full(SHAPE, np.nan), mask, VOXEL)
