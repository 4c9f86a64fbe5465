"""Lesions with values that are known beforehand."""

import numpy as np
import pytest

from qsmbids.core.reference.lesions import describe_lesions, separate_lesions

SHAPE = (24, 22, 20)


@pytest.fixture
def head():
    """A paramagnetic rim around a diamagnetic core in white matter, and a calcification."""
    labels = np.zeros(SHAPE, np.int32)
    labels[4:10, 4:10, 4:10] = 3
    labels[16:18, 14:16, 12:14] = 9
    chi = np.full(SHAPE, -0.03)
    chi[labels == 3] = 0.08
    chi[5:9, 5:9, 5:9] = -0.02
    chi[labels == 9] = -0.4
    return chi, labels


def test_rim_core_and_shares(head):
    chi, labels = head
    rim, small = describe_lesions(chi, labels, labels < 99)
    assert (rim.index, rim.n_voxels, rim.n_inside) == (3, 216, 216)
    assert rim.rim_mean == pytest.approx(0.08)
    assert rim.core_mean == pytest.approx(-0.02)
    assert rim.rim_minus_core == pytest.approx(0.1)
    assert rim.mean == pytest.approx((152 * 0.08 - 64 * 0.02) / 216)
    assert rim.paramagnetic_share == pytest.approx(152 / 216)
    assert rim.diamagnetic_share == pytest.approx(64 / 216)
    assert rim.surroundings_mean == pytest.approx(-0.03)
    assert (small.index, small.n_voxels) == (9, 8)
    assert np.isnan(small.core_mean)
    assert np.isnan(small.rim_minus_core)
    assert small.rim_mean == pytest.approx(-0.4)


def test_the_map_is_known_in_a_part_alone(head):
    chi, labels = head
    known = np.ones(SHAPE, bool)
    known[:7] = False
    known[16:18] = False
    cut, gone = describe_lesions(chi, labels, known)
    assert (cut.n_voxels, cut.n_inside) == (216, 108)
    assert cut.rim_mean == pytest.approx(0.08)
    assert (gone.n_voxels, gone.n_inside) == (8, 0)
    assert np.isnan([gone.mean, gone.paramagnetic_share, gone.rim_mean]).all()


def test_another_lesion_is_no_surrounding(head):
    chi, labels = head
    labels[10:14, 4:10, 4:10] = 5
    chi[labels == 5] = 7.0
    assert describe_lesions(chi, labels, labels < 99)[0].surroundings_mean == pytest.approx(-0.03)


def test_the_pieces_of_a_mask_are_lesions_and_labels_stay(head):
    _, labels = head
    mask = (labels > 0).astype(np.uint8)
    mask[10, 10, 10] = 1  # touches the first at a corner
    pieces, separated = separate_lesions(mask)
    assert separated
    assert sorted(np.bincount(pieces.ravel())[1:].tolist()) == [8, 217]
    kept, separated = separate_lesions(labels)
    assert not separated
    np.testing.assert_array_equal(kept, labels)
    assert not separate_lesions(np.zeros(SHAPE, np.int32))[0].any()
