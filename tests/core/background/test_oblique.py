"""Oblique slabs: geometry of the straight array, and interpolation there and back."""

import numpy as np
import pytest

from qsmbids.core.background.oblique import (
    Grid,
    from_straight,
    mask_from_straight,
    mask_to_straight,
    straight_grid,
    to_straight,
)
from qsmbids.core.inversion.b0_direction import b0_direction_from_affine
from qsmbids.core.inversion.dipole import dipole_field

SHAPE = (52, 60, 44)


def ellipsoid(shape=SHAPE, voxel=(1.0, 1.0, 1.0), radius=0.36) -> np.ndarray:
    centre = (np.array(shape) - 1) / 2
    axes = np.array(shape) * radius
    r = (np.indices(shape) - centre[:, None, None, None]) / axes[:, None, None, None]
    return (r**2).sum(axis=0) < 1


def direction(x_degrees=30.0, y_degrees=0.0) -> np.ndarray:
    a, c = np.radians([x_degrees, y_degrees])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    return (about_x @ about_y).T @ [0, 0, 1]


def original_indices(grid: Grid) -> np.ndarray:
    """Original voxel indices of every voxel of the straight array."""
    inside = np.tensordot(grid.matrix, np.indices(grid.shape), 1)
    return inside + grid.offset[:, None, None, None]


def smooth(x: np.ndarray) -> np.ndarray:
    """A field [Hz] with a trend and structures of 16 to 25 voxels."""
    waves = np.sin(x[0] / 4) * np.cos(x[1] / 3.5) + np.sin(x[2] / 3 + 1)
    return (30.0 + 0.8 * x[0] - 0.5 * x[2] + 10.0 * waves).astype(np.float32)


DIRECTIONS = [
    direction(30),
    direction(15, 20),
    -direction(15, 20),
    direction(-40, 10),
    [0.9, 0.3, -0.2],
    [0.1, -0.95, 0.2],
]


@pytest.mark.parametrize("b0", DIRECTIONS)
@pytest.mark.parametrize("voxel", [(1, 1, 1), (0.7, 0.8, 2.0)])
def test_b0_runs_along_one_axis_after_the_smallest_rotation(b0, voxel):
    grid = straight_grid(SHAPE, voxel, b0, ellipsoid())
    b0 = np.asarray(b0) / np.linalg.norm(b0)
    # columns of the rotation: axes of the straight array in mm along the original axes
    rotation = grid.matrix * np.asarray(voxel, float)[:, None] / grid.voxel_size
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ grid.b0_direction, b0, atol=1e-12)
    assert sorted(np.abs(grid.b0_direction)) == [0, 0, 1]
    assert np.abs(grid.b0_direction).argmax() == np.abs(b0).argmax()
    angle = np.arccos((np.trace(rotation) - 1) / 2)  # no more than the tilt itself
    assert angle == pytest.approx(np.arccos(np.abs(b0).max()))


@pytest.mark.parametrize("b0", DIRECTIONS)
def test_the_whole_mask_fits_with_a_margin(b0):
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, :] = mask[-1, :, -1] = mask[20, -1, 3] = True  # corners of the array too
    grid = straight_grid(SHAPE, (0.7, 0.8, 2.0), b0, mask)
    where = np.linalg.solve(grid.matrix, np.argwhere(mask).T - grid.offset[:, None])
    assert where.min() >= 2
    assert (np.array(grid.shape)[:, None] - 1 - where).min() >= 2


@pytest.mark.parametrize("b0", DIRECTIONS)
def test_the_share_of_the_head_in_the_array_stays(b0):
    # FANSI's regularisation weights are relative to a mean over the whole array
    mask = ellipsoid()
    grid = straight_grid(SHAPE, (1, 1, 1), b0, mask)
    inside = mask_to_straight(mask, grid)
    assert inside.mean() == pytest.approx(mask.mean(), rel=0.05)  # whole voxels
    middle = np.argwhere(inside).mean(axis=0) - (np.array(grid.shape) - 1) / 2
    assert np.abs(middle).max() < 1.5


def test_voxel_sizes():
    mask = ellipsoid()
    b0 = direction(30)
    grid = straight_grid(SHAPE, (0.8, 0.8, 0.8), b0, mask)
    np.testing.assert_allclose(grid.voxel_size, 0.8)
    fine = straight_grid(SHAPE, (0.7, 0.7, 2.0), b0, mask).voxel_size
    assert 0.7 < fine[1] < fine[2] < 2.0  # the fine in-plane structure now runs through slices
    assert fine[0] == pytest.approx(0.7)
    finer = straight_grid(SHAPE, (0.8, 0.8, 0.8), b0, mask, oversampling=1.25)
    np.testing.assert_allclose(finer.voxel_size, 0.64)
    inside = mask_to_straight(mask, finer)
    assert inside.sum() / 1.25**3 == pytest.approx(mask.sum(), rel=0.005)


@pytest.mark.parametrize("b0", [(0, 0, 1), (0, 0, -1), (0, 1, 0), (-1, 0, 0), (0, 2e-5, 1)])
def test_a_straight_slab_is_left_alone(b0, rng):
    mask = ellipsoid()
    grid = straight_grid(SHAPE, (0.7, 0.8, 2.0), b0, mask)
    assert grid.is_identity
    volume = rng.standard_normal(SHAPE).astype(np.float32)
    expected = np.where(mask, volume, 0)
    np.testing.assert_array_equal(to_straight(volume, grid, mask), expected)
    np.testing.assert_array_equal(from_straight(volume, grid, mask), expected)
    np.testing.assert_array_equal(mask_to_straight(mask, grid), mask)
    np.testing.assert_array_equal(mask_from_straight(mask, grid), mask)


@pytest.mark.parametrize("b0", DIRECTIONS)
def test_values_are_those_of_the_original_place(b0):
    # a mirrored or inverse rotation would be off by tens of Hz
    mask = ellipsoid()
    grid = straight_grid(SHAPE, (1, 1, 1), b0, mask)
    straight = to_straight(smooth(np.indices(SHAPE)), grid, mask)
    inside = mask_to_straight(mask, grid)
    error = (straight - smooth(original_indices(grid)))[inside]
    assert np.median(np.abs(error)) < 0.03
    # the border knows one side only
    assert np.sqrt(np.mean(error**2)) < 0.15
    assert not straight[~inside].any()
    assert inside.sum() == pytest.approx(mask.sum(), rel=0.005)


@pytest.mark.parametrize("b0", [direction(30), direction(15, 20)])
def test_there_and_back(b0):
    mask = ellipsoid()
    field = smooth(np.indices(SHAPE))
    grid = straight_grid(SHAPE, (1, 1, 1), b0, mask)
    there, inside = to_straight(field, grid, mask), mask_to_straight(mask, grid)
    back, mask_back = from_straight(there, grid, inside), mask_from_straight(inside, grid)
    assert 2 * (mask & mask_back).sum() / (mask.sum() + mask_back.sum()) > 0.985
    error = (back - field)[mask & mask_back]
    assert np.sqrt(np.mean(error**2)) < 0.01 * field[mask].std()
    assert back.shape == SHAPE
    assert back.dtype == np.float32
    assert not back[~mask_back].any()


def test_a_constant_is_exact_to_the_border_and_nothing_leaks_in():
    mask = ellipsoid()
    grid = straight_grid(SHAPE, (1, 1, 1), direction(15, 20), mask)
    volume = np.where(mask, 123.0, np.nan).astype(np.float32)  # NaN outside is ignored
    straight = to_straight(volume, grid, mask)
    np.testing.assert_allclose(straight[mask_to_straight(mask, grid)], 123.0, rtol=1e-5)


def test_the_range_is_kept(rng):
    # weights must not become negative beside a sharp edge
    mask = ellipsoid()
    weights = (rng.random(SHAPE) > 0.5).astype(np.float32)
    grid = straight_grid(SHAPE, (1, 1, 1), direction(30), mask)
    straight = to_straight(weights, grid, mask)
    assert straight.min() == 0
    assert straight.max() == 1


def test_anisotropic_voxels():
    voxel = np.array([0.8, 0.8, 1.6])
    mask = ellipsoid()
    grid = straight_grid(SHAPE, voxel, direction(25), mask)
    scale = voxel[:, None, None, None]
    straight = to_straight(smooth(np.indices(SHAPE) * scale), grid, mask)
    inside = mask_to_straight(mask, grid)
    error = (straight - smooth(original_indices(grid) * scale))[inside]
    assert np.sqrt(np.mean(error**2)) < 0.25
    volume = mask.sum() * voxel.prod()
    assert inside.sum() * grid.voxel_size.prod() == pytest.approx(volume, rel=0.005)


def test_the_dipole_field_of_the_rotated_source_is_the_rotated_field():
    """The point of it all: chi and field are related by an untilted kernel afterwards."""
    x = np.indices(SHAPE) - np.array([25.0, 30.0, 21.0])[:, None, None, None]
    chi = np.exp(-(x[0] ** 2 / 60 + x[1] ** 2 / 30 + x[2] ** 2 / 20)).astype(np.float32)
    b0 = b0_direction_from_affine(
        [[1, 0, 0, 0], [0, 0.866, -0.5, 0], [0, 0.5, 0.866, 0], [0, 0, 0, 1]]
    )
    mask = ellipsoid()
    grid = straight_grid(SHAPE, (1, 1, 1), b0, mask)
    inside = mask_to_straight(mask, grid)
    field = to_straight(dipole_field(chi, (1, 1, 1), b0), grid, mask)
    whole = to_straight(chi, grid, mask)  # chi has decayed at the border of the mask
    expected = dipole_field(whole, grid.voxel_size, grid.b0_direction)
    wrong = dipole_field(whole, grid.voxel_size, b0)
    error = np.abs(field - expected)[inside].max()
    assert error < 0.02 * np.abs(expected).max()  # of the worst voxel, at the border
    assert np.abs(field - wrong)[inside].max() > 10 * error


def test_threads_do_not_matter(rng):
    mask = ellipsoid()
    volume = rng.standard_normal(SHAPE).astype(np.float32)
    before = volume.copy()
    grid = straight_grid(SHAPE, (1, 1, 1), direction(30), mask)
    one = to_straight(volume, grid, mask, n_threads=1)
    np.testing.assert_array_equal(one, to_straight(volume, grid, mask, n_threads=4))
    np.testing.assert_array_equal(volume, before)


def test_wrong_arguments():
    mask = ellipsoid()
    grid = straight_grid(SHAPE, (1, 1, 1), direction(30), mask)
    volume = np.zeros(SHAPE, np.float32)
    with pytest.raises(ValueError, match="empty"):
        straight_grid(SHAPE, (1, 1, 1), direction(30), np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="shape"):
        straight_grid((5, 5, 5), (1, 1, 1), direction(30), mask)
    with pytest.raises(ValueError, match="voxel_size"):
        straight_grid(SHAPE, (1, 0, 1), direction(30), mask)
    with pytest.raises(ValueError, match="oversampling"):
        straight_grid(SHAPE, (1, 1, 1), direction(30), mask, oversampling=0.5)
    with pytest.raises(ValueError, match="b0_direction"):
        straight_grid(SHAPE, (1, 1, 1), (0, 0, 0), mask)
    with pytest.raises(ValueError, match="shape"):
        to_straight(volume[1:], grid, mask)
    with pytest.raises(ValueError, match="shape"):
        from_straight(volume[1:], grid, np.ones(grid.shape, bool))
    with pytest.raises(ValueError, match="shape"):
        mask_from_straight(mask[1:], grid)
    with pytest.raises(ValueError, match="order"):
        to_straight(volume, grid, mask, order=6)
    with pytest.raises(ValueError, match="finite"):
        to_straight(np.full(SHAPE, np.nan, np.float32), grid, mask)
