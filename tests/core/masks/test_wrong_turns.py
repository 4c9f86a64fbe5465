"""Voxels a turn of the phase off, and strong sources that only look like it."""

import numpy as np
import pytest

from qsmbids.core.masks.wrong_turns import find_wrong_turns, turn_hz

TIMES = (0.004, 0.008, 0.012)  # a turn is 250 Hz
SHAPE = (20, 22, 18)


@pytest.fixture
def field(rng):
    """A local field of tissue: up to 20 Hz, smooth, and noise."""
    x, y, z = np.indices(SHAPE)
    smooth = 20 * np.sin(x / 3) * np.cos(y / 4) * np.sin(z / 5)
    return (smooth + 2 * rng.standard_normal(SHAPE)).astype(np.float32)


@pytest.fixture
def masks():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:-2, 2:-2, 2:-2] = True
    reliable = mask.copy()
    reliable[8:11, 9:12, 8:11] = False
    return mask, reliable, np.where(reliable, 1.0, 0.05)


@pytest.mark.parametrize(
    ("times", "turn"),
    [((0.005,), 200.0), ((0.004, 0.010), 1 / 0.006), ((0.010, 0.012, 0.014), 100.0)],
)
def test_a_turn_is_the_smaller_of_first_echo_and_step(times, turn) -> None:
    assert turn_hz(times) == pytest.approx(turn)


@pytest.mark.parametrize("turns", [1, -1, 2])
def test_voxels_a_turn_off_are_found(field, masks, turns) -> None:
    wrong = np.zeros(SHAPE, dtype=bool)
    wrong[9, 10, 9:11] = True
    field[wrong] += turns * 250
    np.testing.assert_array_equal(find_wrong_turns(field, *masks, TIMES), wrong)


def test_a_clean_field_is_left_alone(field, masks) -> None:
    assert not find_wrong_turns(field, *masks, TIMES).any()


def test_a_strong_source_of_reliable_phase_is_left_alone(field, masks) -> None:
    field[4:6, 4:6, 4:6] += 250
    assert not find_wrong_turns(field, *masks, TIMES).any()


def test_data_of_full_weight_are_left_alone(field, masks) -> None:
    """Beside a calcification the phase is too steep to look reliable, and the field true."""
    mask, reliable, weights = masks
    field[9, 10, 9] += 250
    assert not find_wrong_turns(field, mask, reliable, np.ones_like(weights), TIMES).any()


def test_a_field_of_unknown_echoes_is_left_alone(field, masks) -> None:
    field[9, 10, 9] += 250
    assert not find_wrong_turns(field, *masks, ()).any()
