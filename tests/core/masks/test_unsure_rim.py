"""Phase too steep to be unwrapped: found where it reaches the border, left alone inside."""

import numpy as np
import pytest

from qsmbids.core.masks.unsure_rim import STEEP, find_unsure_rim

TURN = 200.0
SHAPE = (24, 26, 22)


@pytest.fixture
def brain():
    """An ellipsoid, not centred."""
    r = np.indices(SHAPE) - np.reshape([11, 13, 10], (3, 1, 1, 1))
    return np.einsum("i...,i->...", r**2, [1 / 81, 1 / 121, 1 / 64]) <= 1


@pytest.fixture
def smooth():
    """A field that nowhere changes by as much as a fifth of a turn [Hz]."""
    x, y, z = np.indices(SHAPE)
    return (30 * np.sin(x / 2) + 8 * y + 12 * np.cos(z / 3)).astype(np.float32)


@pytest.fixture
def cap(brain):
    """The top of the brain."""
    return brain & (np.indices(SHAPE)[2] >= 16)


def test_a_smooth_field_loses_nothing(brain, smooth):
    assert not find_unsure_rim(smooth, brain, brain, TURN).any()


def test_a_region_at_the_border_that_is_a_turn_off_is_cut_off_whole(brain, smooth, cap):
    found = find_unsure_rim(smooth + TURN * cap, brain, brain, TURN)
    assert found[cap].all()
    below = np.indices(SHAPE)[2] == 15  # the step is seen from either side
    np.testing.assert_array_equal(found, cap | (brain & below & np.roll(cap, -1, axis=2)))


@pytest.mark.parametrize(("share", "found"), [(STEEP - 0.02, False), (STEEP + 0.02, True)])
def test_the_limit_is_a_share_of_the_turn(brain, cap, share, found):
    field = np.where(cap, np.float32(share * TURN), np.float32(0))
    assert find_unsure_rim(field, brain, brain, TURN).any() == found
    assert find_unsure_rim(2 * field, brain, brain, 2 * TURN).any() == found


def test_a_steep_source_inside_stays_and_the_same_at_the_border_goes(brain, smooth):
    inside, outer = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    inside[10:13, 12:15, 9:12] = True
    outer[18:22, 12:15, 9:12] = True
    found = find_unsure_rim(smooth + TURN * (inside | (outer & brain)), brain, brain, TURN)
    assert not found[6:15].any()
    assert found[outer & brain].all()


def test_what_mask_2_has_given_up_is_not_found(brain, smooth, cap):
    reliable = brain.copy()
    reliable[:, :13] = False
    found = find_unsure_rim(smooth + TURN * cap, brain, reliable, TURN)
    whole = find_unsure_rim(smooth + TURN * cap, brain, brain, TURN)
    np.testing.assert_array_equal(found, whole & reliable)


@pytest.mark.parametrize("constant", [TURN, -0.37 * TURN])
def test_a_constant_changes_nothing(brain, smooth, cap, constant):
    field = smooth + TURN * cap
    np.testing.assert_array_equal(
        find_unsure_rim(field + np.float32(constant), brain, brain, TURN),
        find_unsure_rim(field, brain, brain, TURN),
    )


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0)])
def test_axes_may_be_exchanged(brain, smooth, cap, order):
    field = smooth + TURN * cap
    found = find_unsure_rim(field.transpose(order), *[brain.transpose(order)] * 2, TURN)
    expected = find_unsure_rim(field, brain, brain, TURN)
    assert expected.any()
    np.testing.assert_array_equal(found, expected.transpose(order))


def test_values_outside_the_brain_and_its_place_in_the_array_have_no_part(brain, smooth, cap):
    field = smooth + TURN * cap
    expected = find_unsure_rim(field, brain, brain, TURN)
    loud = np.where(brain, field, np.float32(1e4) * np.indices(SHAPE)[0])
    np.testing.assert_array_equal(find_unsure_rim(loud, brain, brain, TURN), expected)
    x, y, z = np.nonzero(brain)
    tight = np.s_[x.min() : x.max() + 1, y.min() : y.max() + 1, z.min() : z.max() + 1]
    found = find_unsure_rim(field[tight], brain[tight], brain[tight], TURN)
    np.testing.assert_array_equal(found, expected[tight])


def test_every_part_of_a_mask_keeps_its_largest_piece(smooth):
    """Neither half of a mask that was drawn in two is cut off by the gap."""
    halves = np.zeros(SHAPE, bool)
    halves[2:9, 3:20, 3:18] = halves[13:22, 3:20, 3:18] = True
    assert not find_unsure_rim(smooth, halves, halves, TURN).any()
    field = smooth.copy()
    field[2:4, 3:6, 3:6] += TURN  # a corner of the smaller one
    found = find_unsure_rim(field, halves, halves, TURN)
    assert found[2:4, 3:6, 3:6].all()
    assert 18 <= np.count_nonzero(found) < 60


def test_slices_of_a_2d_scan_are_not_compared(brain, smooth):
    field = smooth + TURN * (np.indices(SHAPE)[2] % 2)
    assert find_unsure_rim(field, brain, brain, TURN).any()
    assert not find_unsure_rim(field, brain, brain, TURN, slice_axis=2).any()


def test_an_empty_mask_and_one_of_noise(brain, rng):
    assert not find_unsure_rim(np.zeros(SHAPE), *[np.zeros(SHAPE, bool)] * 2, TURN).any()
    checker = TURN * (np.indices(SHAPE).sum(axis=0) % 2)  # steep everywhere
    np.testing.assert_array_equal(find_unsure_rim(checker, brain, brain, TURN), brain)
