import numpy as np
import pytest

from qsmbids.core.maths.mutual_information import dice, normalised_mutual_information
from qsmbids.core.maths.resample import resample_image, resample_labels


def _turn(angle, axis=2):
    turn = np.eye(4)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[one, one] = turn[two, two] = np.cos(angle)
    turn[two, one], turn[one, two] = np.sin(angle), -np.sin(angle)
    return turn


@pytest.fixture
def labels(rng):
    return rng.choice(np.array([0, 3, 17, 1024], np.int32), (9, 11, 8))


@pytest.mark.slow
def test_the_identity_and_whole_shifts_are_exact(labels):
    np.testing.assert_array_equal(resample_labels(labels, np.eye(4), labels.shape), labels)
    shift = np.eye(4)
    shift[:3, 3] = 2, -1, 3
    moved = resample_labels(labels, shift, labels.shape)
    np.testing.assert_array_equal(moved[:-2, 1:, :-3], labels[2:, :-1, 3:])
    assert not moved[-2:].any()  # beyond the last voxel, nothing is repeated or wrapped
    assert not moved[:, :1].any()
    assert not moved[..., -3:].any()


def test_flipped_axes_are_exact(labels):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = labels.shape[0] - 1
    np.testing.assert_array_equal(resample_labels(labels, flip, labels.shape), labels[::-1])


@pytest.mark.slow
def test_the_vote_is_linear_interpolation_of_each_label(labels, rng):
    matrix = _turn(0.3) @ _turn(-0.2, 0)
    matrix[:3, 3] = 0.7, -1.2, 0.4
    shape = (10, 9, 7)
    moved = resample_labels(labels, matrix, shape)
    values = np.unique(labels)
    parts = [resample_image((labels == v).astype(np.float32), matrix, shape) for v in values]
    parts[0] += 1 - np.sum(parts, axis=0)  # what lies outside is background
    best = np.sort(parts, axis=0)
    clear = best[-1] - best[-2] > 1e-5  # ties may go either way
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(moved[clear], values[np.argmax(parts, axis=0)][clear])
    assert set(np.unique(moved)) <= set(values)


def test_a_sphere_keeps_its_volume_on_another_grid():
    centre = np.array([15.0, 14.0, 16.0]).reshape(3, 1, 1, 1)
    ball = (np.linalg.norm(np.indices((31, 30, 32)) - centre, axis=0) < 9).astype(np.int32) * 5
    grid = _turn(0.4, 1) @ np.diag([1.3, 0.9, 1.1, 1])
    grid[:3, 3] = centre.ravel() - grid[:3, :3] @ [13, 18, 15]
    moved = resample_labels(ball, grid, (27, 37, 31))
    volume = np.count_nonzero(moved) * 1.3 * 0.9 * 1.1
    assert volume == pytest.approx(np.count_nonzero(ball), rel=0.02)


def test_what_cannot_be_resampled_is_refused(labels):
    with pytest.raises(ValueError, match="integers"):
        resample_labels(labels.astype(float), np.eye(4), (2, 2, 2))
    with pytest.raises(ValueError, match="singular"):
        resample_labels(labels, np.diag([1.0, 0, 1, 1]), (2, 2, 2))
    with pytest.raises(ValueError, match="2 axes"):
        resample_labels(labels[0], np.eye(4), (2, 2, 2))


def test_mutual_information_is_high_for_the_same_anatomy_alone(rng):
    one = rng.normal(size=(20, 20, 20))
    mask = np.ones(one.shape, bool)
    related = normalised_mutual_information(one, -3 * one + 7, mask)
    unrelated = normalised_mutual_information(one, rng.normal(size=one.shape), mask)
    assert related > 1.9
    assert 1.0 <= unrelated < 1.05
    assert normalised_mutual_information(one * 0, one * 0, mask) == 1.0
    with pytest.raises(ValueError, match="100 voxels"):
        normalised_mutual_information(one, one, np.zeros_like(mask))
    with pytest.raises(ValueError, match="shape"):
        normalised_mutual_information(one, one[1:], mask)


def test_dice():
    a = np.array([True, True, False, False])
    assert dice(a, ~a) == 0
    assert dice(a, a) == 1
    assert dice(a & False, a & False) == 0
