"""What all inversions refuse, and what they must not."""

import numpy as np
import pytest

from qsmbids.core.inversion.inversion_input import check_finite, check_inversion

SHAPE = (4, 5, 6)
MASK = np.zeros(SHAPE, bool)
MASK[1:3, 1:4, 2:5] = True


def volumes(value=1.0, at=(1, 1, 2)):
    """Return a field and weights of which one voxel is another."""
    odd = np.ones(SHAPE, np.float32)
    odd[at] = value
    return np.ones(SHAPE, np.float32), odd


def test_what_lies_outside_the_mask_does_not_count():
    fine, odd = volumes(np.nan, at=(0, 0, 0))
    check_inversion(odd, MASK, fine)
    check_inversion(fine, MASK, odd)
    check_inversion(fine, MASK, volumes(-1.0, at=(0, 0, 0))[1])
    check_inversion(fine, MASK, MASK.astype(np.float32) * volumes(0.0)[1])


@pytest.mark.parametrize(
    ("field", "mask", "weights", "message"),
    [
        (volumes()[0][0], MASK[0], volumes()[0][0], "same 3-D volume"),
        (volumes()[0][1:], MASK, volumes()[0], "same 3-D volume"),
        (volumes()[0], MASK, volumes()[0][1:], "same 3-D volume"),
        (volumes()[0], ~np.ones(SHAPE, bool), volumes()[0], "empty"),
        (volumes(np.inf)[1], MASK, volumes()[0], "the field must be finite"),
        (volumes()[0], MASK, volumes(np.nan)[1], "the weights must be finite"),
        (volumes()[0], MASK, volumes(-1.0)[1], "weights must be >= 0"),
        (volumes()[0], MASK, (~MASK).astype(np.float32), "not 0 in the whole mask"),
    ],
)
def test_what_cannot_be_inverted_is_refused(field, mask, weights, message):
    with pytest.raises(ValueError, match=message):
        check_inversion(field, mask, weights)


def test_the_volume_that_is_not_finite_is_named():
    fine, odd = volumes(np.nan)
    with pytest.raises(ValueError, match="the magnitude must be finite in the mask"):
        check_finite(MASK, field=fine, magnitude=odd)
