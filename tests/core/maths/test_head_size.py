import numpy as np
import pytest

from qsmbids.core.maths.head_size import is_small_head, length_scale
from qsmbids.io.nifti import Volume


@pytest.mark.parametrize(
    ("extents", "small"),
    [
        ((6.4, 7.2, 5.6), True),  # mouse, 0.1 mm
        ((30.0, 30.0, 12.8), True),  # rat, 16 slices of 0.8 mm
        ((210.0, 180.0, 16.0), False),  # slab of a human head
        ((120.0, 100.0, 100.0), False),  # newborn, or a macaque
    ],
)
def test_small_heads_are_known_by_two_short_edges(extents, small):
    assert is_small_head(extents) is small
    assert (length_scale(extents) < 0.2) is small


def test_the_voxels_of_a_small_head_count_as_those_of_an_adult():
    mouse = Volume(np.zeros((200, 150, 100)), np.diag([0.1, 0.1, 0.2, 1]), (0.1, 0.1, 0.2))
    # edges of 20, 15 and 20 mm: the second is 20 mm, a tenth of an adult's 200
    np.testing.assert_allclose(mouse.adult_voxel_size, (1.0, 1.0, 2.0))
    assert mouse.length_scale == pytest.approx(0.1)
    person = Volume(np.zeros((64, 64, 20)), np.diag([3, 3, 3, 1]), (3.0, 3.0, 3.0))
    assert person.adult_voxel_size == (3.0, 3.0, 3.0)
