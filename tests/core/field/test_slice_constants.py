"""Constants of the slices of a field, told from it by the background."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from qsmbids.core.field.slice_constants import remove_slice_constants, remove_slice_jumps
from qsmbids.core.maths.arrays import EmptyMaskError
from qsmbids.core.phantom.head import make_phantom, simulate_field

VOXEL = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def head():
    phantom = make_phantom((32, 38, 27), VOXEL)
    return phantom, simulate_field(phantom)[0]


def spoilt(field, axis, rng):
    shape = [1, 1, 1]
    shape[axis] = -1
    return field + rng.uniform(-80, 80, field.shape[axis]).reshape(shape)


def slice_errors(found, field, mask, axis):
    """Return the medians of what is wrong in every slice [Hz], less a line, which is harmonic."""
    wrong, inside = np.moveaxis(found - field, axis, 0), np.moveaxis(mask, axis, 0)
    filled = [k for k in range(len(wrong)) if inside[k].sum() > 50]
    errors = np.array([np.median(wrong[k][inside[k]]) for k in filled])
    return errors - np.polyval(np.polyfit(filled, errors, 1), filled)


@pytest.mark.parametrize("axis", [2, 0])
def test_slices_fit_each_other_as_in_a_3d_scan(head, rng, axis):
    phantom, field = head
    mask = binary_erosion(phantom.mask, iterations=2)  # the rim has skull in its voxels
    total = spoilt(field, axis, rng)
    aligned = remove_slice_constants(total, mask, VOXEL, phantom.b0_direction, axis)
    before = slice_errors(total, field, mask, axis)
    after = slice_errors(aligned.field, field, mask, axis)
    assert before.std() > 25
    assert after.std() < 1


def test_within_a_slice_nothing_changes_but_a_constant(head, rng):
    phantom, field = head
    total = spoilt(field, 2, rng).astype(np.float32)
    aligned = remove_slice_constants(total, phantom.mask, VOXEL, (0, 0, 1), 2)
    change = total - aligned.field
    for k in range(total.shape[2]):
        inside = change[..., k][phantom.mask[..., k]]
        if inside.size:
            assert np.ptp(inside) < 1e-3
    assert aligned.largest_change > 10


def test_parts_of_a_slice_have_constants_of_their_own(rng):
    mask = np.zeros((20, 20, 12), bool)
    mask[2:8, 2:18, 2:10] = mask[12:18, 2:18, 2:10] = True
    x, y, _ = np.indices(mask.shape) - 9.5
    field = x * y + np.where(x > 0, 50.0, 0.0)  # a cycle that unwrapping could not know
    aligned = remove_slice_constants(field, mask, (2, 2, 2), (0, 0, 1), 2)
    assert aligned.n_regions == 16
    left, right = aligned.field[4, 10, 5], aligned.field[15, 10, 5]
    assert abs((right - left) - (15 - 4) * 0.5) < 10


def test_an_empty_mask_is_refused():
    with pytest.raises(EmptyMaskError):
        remove_slice_constants(
            np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool), (1, 1, 1), (0, 0, 1), 2
        )


@pytest.mark.parametrize("axis", [2, 1])
def test_what_breathing_adds_to_a_slice_is_told_from_the_head(head, rng, axis):
    phantom, field = head
    mask = binary_erosion(phantom.mask, iterations=2)
    shape = [1, 1, 1]
    shape[axis] = -1
    breath = rng.normal(0, 5, field.shape[axis])
    total = (field + breath.reshape(shape)).astype(np.float32)
    found = remove_slice_jumps(total, mask, VOXEL, phantom.b0_direction, axis)
    assert found.found
    before = slice_errors(total, field, mask, axis)
    after = slice_errors(found.field, field, mask, axis)
    assert np.diff(after).std() < 0.15 * np.diff(before).std()


@pytest.mark.parametrize("small", [True, False])
def test_a_head_that_lies_still_is_left_as_it_is(head, small):
    phantom = head[0] if small else make_phantom((64, 76, 54), VOXEL)
    field = simulate_field(phantom)[0]
    mask = binary_erosion(phantom.mask, iterations=2)
    found = remove_slice_jumps(field, mask, VOXEL, phantom.b0_direction, 2)
    assert not found.found
    np.testing.assert_array_equal(found.field, field.astype(np.float32))
    scaled = remove_slice_jumps(30 * field, mask, VOXEL, phantom.b0_direction, 2)
    assert not scaled.found  # whatever the field strength
