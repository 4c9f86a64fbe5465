"""What the numbers of a mask that was made elsewhere are taken for."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.masks.mask_values import count_parts, read_mask_values

BALL = (
    np.linalg.norm(np.indices((20, 22, 24)) - np.reshape((9.5, 10.5, 11.5), (3, 1, 1, 1)), axis=0)
    < 8
)


@pytest.mark.parametrize("full", [1, 255, 1000, 0.25, -1])
def test_two_values_whatever_they_are(full):
    found = read_mask_values(BALL * np.float32(full))
    np.testing.assert_array_equal(found.inside, BALL)
    assert (found.kind, found.warning) == ("two values", "")


@pytest.mark.parametrize("full", [1.0, 255.0, 100.0])
def test_half_of_a_fraction_is_inside(full):
    soft = ndi.gaussian_filter(BALL.astype(float), 1.5)
    values = soft * full if full == 1 else np.rint(soft * full)
    found = read_mask_values(values)
    assert found.kind == "fractions"
    assert found.threshold == pytest.approx(0.5 * full)
    np.testing.assert_array_equal(found.inside, values > 0.5 * full)
    assert found.inside.sum() < 1.05 * BALL.sum() < 0.5 * (values > 0).sum()


def test_interpolation_that_overshoots_is_still_a_fraction():
    smooth = ndi.shift(BALL.astype(float), 0.4, order=5)
    assert smooth.min() < -0.02
    assert smooth.max() > 1.02
    found = read_mask_values(smooth)
    assert found.kind == "fractions"
    assert abs(int(found.inside.sum()) - int(BALL.sum())) < 0.05 * BALL.sum()


def test_all_labels_are_inside_and_named():
    labels = BALL * (1 + np.indices(BALL.shape)[2] // 5)
    found = read_mask_values(labels)
    np.testing.assert_array_equal(found.inside, BALL)
    assert found.kind == "labels"
    assert "1, 2, 3, 4" in found.text
    assert "count as inside" in found.warning


def test_cortical_labels_near_the_largest_are_no_fractions():
    rng = np.random.default_rng(2)  # as of an a2009s parcellation: 2 to 77, 11101 to 12175
    labels = BALL * rng.choice(
        [*range(2, 60), *range(11101, 11176), *range(12101, 12176)], BALL.shape
    )
    np.testing.assert_array_equal(read_mask_values(labels).inside, BALL)


def test_a_brain_on_zeros_is_a_mask_and_a_whole_image_is_none():
    image = np.random.default_rng(1).normal(500, 60, BALL.shape)
    found = read_mask_values(image * BALL)
    np.testing.assert_array_equal(found.inside, BALL)
    assert found.kind == "image"
    with pytest.raises(ValueError, match="image rather than a mask"):
        read_mask_values(image)


def test_voxels_that_are_no_number_are_outside():
    found = read_mask_values(np.where(BALL, 1.0, np.nan))
    np.testing.assert_array_equal(found.inside, BALL)
    assert f"{(~BALL).sum()} voxels that are NaN" in found.warning


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((3, 3, 3)), "is empty"),
        (np.full((3, 3, 3), np.nan), "no finite value"),
        (0.2 + 0.1 * np.indices((3, 3, 3))[0], "none is above 0.5"),
        (np.indices((3, 3, 3))[0] + 1, "no 0"),
        (np.indices((3, 3, 3))[0] - 1.5, "are no mask"),
    ],
)
def test_values_that_leave_nothing(values, says):
    with pytest.raises(ValueError, match=says):
        read_mask_values(values)


def test_the_whole_image_is_warned_of():
    assert "whole image" in read_mask_values(np.ones((4, 4, 4))).warning


def test_parts_and_holes_are_counted():
    mask = BALL.copy()
    mask[9:11] = False
    mask[5, 10, 11] = False
    assert count_parts(mask) == (2, 1)
    assert count_parts(np.ones((3, 3, 3), bool)) == (1, 0)
