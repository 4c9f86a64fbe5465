"""Masks 2 to 4 and their morphology."""

import numpy as np
import pytest
import scipy.ndimage

from qsmbids.core.masks.masking import (
    background_mask,
    erode,
    erode_rim,
    fill_holes,
    inverse_noise_mask,
    largest_component,
    mask_with_holes,
    reliable_phase_mask,
)


def _ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    r2 = sum((i - c) ** 2 for i, c in zip(np.indices(shape), centre, strict=True))
    return np.asarray(r2 <= radius**2)


def _erode_by_subset(mask: np.ndarray, radius: float, voxel: tuple[float, ...]) -> np.ndarray:
    """Keep voxels all of whose sphere is in the mask, straight from the definition."""
    reach = [int(radius / v + 1e-9) for v in voxel]
    padded = np.pad(mask, [(r, r) for r in reach])
    kept = np.ones_like(mask)
    for shift in np.ndindex(*(2 * r + 1 for r in reach)):
        offset = [(s - r) * v for s, r, v in zip(shift, reach, voxel, strict=True)]
        if sum(o**2 for o in offset) <= radius**2 * (1 + 1e-9):
            kept &= padded[tuple(slice(s, s + n) for s, n in zip(shift, mask.shape, strict=True))]
    return kept


@pytest.mark.parametrize("radius", [1, 2, 2.5, 5])
@pytest.mark.parametrize("voxel", [(1, 1, 1), (0.8, 1, 1.6)])
def test_erosion_is_the_sphere_subset(radius, voxel, rng: np.random.Generator) -> None:
    # solid with a few pinholes; touches the border of the array on purpose
    mask = rng.random((22, 19, 17)) > 0.002
    mask[:3] = False
    np.testing.assert_array_equal(
        erode(mask, radius, voxel), _erode_by_subset(mask, radius, voxel)
    )


def test_erosion_by_one_voxel_is_the_cross(rng: np.random.Generator) -> None:
    mask = rng.random((15, 16, 17)) > 0.1
    expected = scipy.ndimage.binary_erosion(mask)
    np.testing.assert_array_equal(erode(mask, 1), expected)


def test_erosion_equals_the_distance_transform() -> None:
    mask = _ball((31, 31, 31), (15, 15, 15), 13)
    distance = scipy.ndimage.distance_transform_edt(mask)
    for radius in (1, 3, 5, 12):
        np.testing.assert_array_equal(erode(mask, radius), distance > radius)


def test_erosion_shrinks_and_keeps_the_input() -> None:
    mask = np.ones((9, 9, 9), dtype=bool)
    two = erode(mask, 2)
    assert two.sum() == 5**3  # the outside of the array is background
    assert mask.all()
    assert not erode(mask, 5).any()
    np.testing.assert_array_equal(erode(mask, 0), mask)
    assert not erode(np.zeros((4, 4, 4), dtype=bool), 2).any()
    # half a voxel reaches no neighbour
    np.testing.assert_array_equal(erode(mask, 0.5), mask)


def test_fill_holes_is_three_dimensional() -> None:
    solid = _ball((30, 28, 26), (14, 14, 13), 11)
    hollow = solid & ~_ball(solid.shape, (14, 14, 13), 5)
    np.testing.assert_array_equal(fill_holes(hollow), solid)
    tunnel = solid.copy()
    tunnel[:, 14, 13] = False  # open at both ends
    np.testing.assert_array_equal(fill_holes(tunnel), tunnel)
    # diagonal contact is no opening
    leak = np.ones((5, 5, 5), dtype=bool)
    leak[2, 2, 2] = leak[1, 1, 2] = leak[0, 0, 2] = False
    filled = fill_holes(leak)
    assert filled[2, 2, 2]
    assert not filled[0, 0, 2]
    assert not fill_holes(np.zeros((3, 3, 3), dtype=bool)).any()


def test_fill_holes_at_the_border_of_the_array() -> None:
    mask = np.ones((8, 8, 8), dtype=bool)
    mask[3:5, 3:5, 3:5] = False
    mask[0, 0, 0] = False  # a notch of the border is no hole
    filled = fill_holes(mask)
    assert filled.sum() == 8**3 - 1
    # a bowl open to the border of the array stays open
    bowl = np.ones((8, 8, 8), dtype=bool)
    bowl[0:5, 3:5, 3:5] = False
    np.testing.assert_array_equal(fill_holes(bowl), bowl)


def test_closing_fills_a_cavity_that_touches_the_rim() -> None:
    solid = _ball((40, 40, 40), (20, 20, 20), 15)
    lesion = _ball(solid.shape, (20, 20, 29), 4)
    opened = solid & ~lesion
    opened[20, 20, 33:] = False  # one voxel wide, to the outside
    assert not fill_holes(opened)[20, 20, 30]
    filled = fill_holes(opened, closing_mm=2.0)
    assert filled[lesion & solid].mean() > 0.95
    assert filled[20, 20, 30]
    assert not (filled & ~solid).any()
    # the surface away from the cavity stays as it is
    far = np.indices(solid.shape)[2] < 20
    notched = opened.copy()
    notched[20, 20, 4:8] = False
    np.testing.assert_array_equal(fill_holes(notched, closing_mm=2.0)[far], notched[far])


@pytest.mark.parametrize("scale", [1, 2])
def test_closing_radius_is_in_mm(scale: int) -> None:
    solid = np.zeros((24, 24, 24), dtype=bool)
    solid[2:22, 2:22, 2:22] = True
    solid[8:16, 8:16, 8:16] = False
    solid[11:14, 11:14, 16:] = False  # three voxels wide
    voxel = (scale, scale, scale)
    assert not fill_holes(solid, voxel_size=voxel, closing_mm=0.4 * scale)[12, 12, 12]
    assert fill_holes(solid, voxel_size=voxel, closing_mm=2 * scale)[12, 12, 12]


def test_largest_component() -> None:
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[1:4, 1:4, 1:4] = True
    mask[4, 4, 4] = True  # joined by a corner only
    mask[6:11, 6:11, 6:11] = True
    expected = np.zeros_like(mask)
    expected[6:11, 6:11, 6:11] = True
    np.testing.assert_array_equal(largest_component(mask), expected)
    np.testing.assert_array_equal(largest_component(expected), expected)
    with pytest.raises(ValueError, match="empty"):
        largest_component(np.zeros((3, 3, 3), dtype=bool))


def test_reliable_phase() -> None:
    quality = np.array([[[0.0, 0.3, 0.31, 0.9, np.nan]]])
    assert reliable_phase_mask(quality).tolist() == [[[False, False, True, True, False]]]
    assert reliable_phase_mask(quality, 0.5).sum() == 1


def test_inverse_noise_threshold_is_the_mean_over_the_field_of_view() -> None:
    # 1 / SD: 4, 4, 1, unknown, unknown, unknown -> mean 1.5 with the unknown as 0
    noise = np.array([0.25, 0.25, 1, 0, np.nan, np.inf]).reshape(1, 1, 6)
    assert inverse_noise_mask(noise).ravel().tolist() == [True, True] + [False] * 4
    assert inverse_noise_mask(noise, 0.6).sum() == 3
    assert inverse_noise_mask(noise, 2.7).sum() == 0
    np.testing.assert_array_equal(inverse_noise_mask(7 * noise), inverse_noise_mask(noise))


@pytest.fixture
def masks(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask 1, Mask 2 and a lesion of unreliable phase deep inside."""
    mask1 = _ball((40, 40, 40), (20, 20, 20), 16)
    lesion = _ball(mask1.shape, (24, 20, 20), 4)
    mask2 = rng.random(mask1.shape) > 0.02
    mask2[lesion] = rng.random(int(lesion.sum())) > 0.8
    mask2[:, :, :8] = False  # no signal at the base
    mask2[10, 10, 2:4] = True
    return mask1, mask2, lesion


def test_masks_are_nested(masks) -> None:
    mask1, mask2, lesion = masks
    mask3 = background_mask(mask1, mask2)
    mask4 = erode(mask3, 1)
    holes = mask_with_holes(mask4, mask2)
    assert not (mask3 & ~mask1).any()
    assert not (mask4 & ~mask3).any()
    assert not (holes & ~mask4).any()
    assert mask3[lesion].all()
    assert not mask3[:, :, :8].any()
    assert holes[lesion].mean() < 0.3
    assert scipy.ndimage.label(mask3)[1] == 1
    np.testing.assert_array_equal(background_mask(mask3, mask3), mask3)


def test_background_mask_stays_inside_mask_1_where_it_is_notched() -> None:
    mask1 = _ball((30, 30, 30), (15, 15, 15), 12)
    mask1[14:16, 14:16, 20:] = False  # a fissure that belongs to no tissue
    mask2 = np.ones_like(mask1)
    mask3 = background_mask(mask1, mask2, closing_mm=3)
    np.testing.assert_array_equal(mask3, mask1)


def test_bad_arguments() -> None:
    mask = np.ones((3, 3, 3), dtype=bool)
    with pytest.raises(ValueError, match="no voxel in common"):
        background_mask(mask, ~mask)
    with pytest.raises(ValueError, match="shape"):
        background_mask(mask, mask[1:])
    with pytest.raises(ValueError, match="radius"):
        erode(mask, -1)
    with pytest.raises(ValueError, match="radius"):
        fill_holes(mask, closing_mm=np.nan)
    with pytest.raises(ValueError, match="voxel size"):
        erode(mask, 1, (1, 0, 1))


def _hemispheres() -> np.ndarray:
    mask = _ball((40, 40, 40), (20, 20, 20), 15)
    mask[19:21] = False
    return mask


def test_every_part_of_a_drawn_mask_keeps_its_largest_piece() -> None:
    drawn = _hemispheres()
    drawn[2, 2, 2] = True
    reliable = np.ones_like(drawn)
    reliable[:, 20, :] = False  # halves each part
    reliable[:, 20, 15:25] = True
    np.testing.assert_array_equal(background_mask(drawn, np.ones_like(drawn), closing_mm=0), drawn)
    reliable[:, 20, :] = False
    reliable[:, 21:23, :] = False
    kept = background_mask(drawn, reliable, closing_mm=0)
    assert kept[2, 2, 2]
    for side in (slice(0, 19), slice(21, 40)):
        assert kept[side, :20].sum() > 0.9 * drawn[side, :20].sum()
        assert not kept[side, 23:].any()


def test_a_hole_that_was_drawn_stays_and_one_of_unreliable_phase_is_filled() -> None:
    drawn = _ball((30, 30, 30), (15, 15, 15), 12)
    drawn[15, 15, 15] = False
    reliable = np.ones_like(drawn)
    reliable[15, 15, 20] = False
    mask3 = background_mask(drawn, reliable)
    assert not mask3[15, 15, 15]
    assert mask3[15, 15, 20]
    np.testing.assert_array_equal(mask3, drawn)


def test_the_rim_between_parts_is_not_taken_off() -> None:
    mask = _hemispheres()
    whole = mask.copy()
    whole[19:21] = _ball(mask.shape, (20, 20, 20), 15)[19:21]
    eroded = erode_rim(mask, 1)
    inner = _ball(mask.shape, (20, 20, 20), 11)
    np.testing.assert_array_equal(eroded[inner], mask[inner])
    assert not (eroded & ~erode(whole, 1)).any()
    np.testing.assert_array_equal(erode_rim(whole, 2), erode(whole, 2))
    apart = mask.copy()
    apart[14:26] = False  # no narrow gap: every rim counts
    np.testing.assert_array_equal(erode_rim(apart, 1), erode(apart, 1))
    assert not erode_rim(np.zeros_like(mask), 1).any()
