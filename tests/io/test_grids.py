"""When two images lie on the same voxels."""

import numpy as np
import pytest

from qsmbids.io.grids import GRID_TOLERANCE, corner_distance, difference, is_same_place

SHAPE = (64, 72, 56)


def _affine(voxel=2.5, shift=0.0, degrees=0.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * voxel
    affine[0, 3] = shift
    return affine


@pytest.mark.parametrize("voxel", [0.1, 0.8, 2.5])
def test_the_tolerance_is_a_part_of_a_voxel(voxel):
    good = _affine(voxel)
    assert is_same_place(SHAPE, good, _affine(voxel, 0.9 * GRID_TOLERANCE * voxel))
    assert not is_same_place(SHAPE, good, _affine(voxel, 1.1 * GRID_TOLERANCE * voxel))


def test_a_small_turn_counts_at_the_corner():
    # 63 * 2.5 mm and 71 * 2.5 mm from the first voxel, turned by 0.02 and by 0.1 degrees
    for degrees, same in ((0.02, True), (0.1, False)):
        turned = _affine(degrees=degrees)
        expected = np.radians(degrees) * 2.5 * np.hypot(63, 71)
        assert corner_distance(SHAPE, _affine(), turned) == pytest.approx(expected, rel=1e-3)
        assert is_same_place(SHAPE, _affine(), turned) is same


def test_another_order_of_the_axes_is_the_same_grid():
    flipped = _affine() @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] += 2.5 * 63 * np.array([1, 0, 0])
    assert difference(SHAPE, flipped, SHAPE, _affine()) == ""
    swapped = _affine()[:, [1, 0, 2, 3]]
    assert difference((72, 64, 56), swapped, SHAPE, _affine()) == ""


def test_what_differs_is_said_with_its_size():
    said = difference(SHAPE, _affine(shift=20.0), SHAPE, _affine())
    assert "20 mm away in the middle" in said
    assert "voxels" not in said
    assert "2.5 x 2.5 x 2.5 mm" in difference(SHAPE, _affine(2.0), SHAPE, _affine())
    said = difference((32, 36, 28), _affine(5.0), SHAPE, _affine())
    assert "32 x 36 x 28" in said
    assert "64 x 72 x 56" in said
    mirrored = _affine() @ np.diag([-1.0, 1, 1, 1])
    assert "lies elsewhere" in difference(SHAPE, mirrored, SHAPE, _affine())
