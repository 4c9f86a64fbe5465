"""Regions a whole turn off beside a strong source, and steep places that are not."""

import numpy as np
import pytest

from qsmbids.core.field.region_turns import mend_region_turns
from qsmbids.core.field.romeo import unwrap, unwrap_echoes

TURN = 2 * np.pi
SHAPE = (28, 26, 24)
GRID = np.indices(SHAPE).astype(float)


def ball(centre, radius):
    return sum((g - c) ** 2 for g, c in zip(GRID, centre, strict=True)) <= radius**2


def sinus(strength, centre=(14.0, 13.0, -4.0), radius=4.0):
    """Phase [rad] of the dipole field of a ball of air at a corner of the volume, B0 along z."""
    x, y, z = (g - c for g, c in zip(GRID, centre, strict=True))
    r2 = np.maximum(x**2 + y**2 + z**2, radius**2)
    return TURN * strength * radius**3 * (2 * z**2 - x**2 - y**2) / r2**2.5


def noisy(phase, snr=40, seed=1):
    noise = np.random.default_rng(seed).standard_normal((2, *phase.shape)) / snr
    signal = np.exp(1j * phase) + noise[0] + 1j * noise[1]
    return np.angle(signal), np.abs(signal)


@pytest.mark.parametrize("turns", [-2, -1, 1])
def test_a_region_off_by_turns_comes_back_to_what_surrounds_it(turns):
    truth = sinus(1.5) + 0.2 * GRID[0]
    wrong = truth + TURN * turns * ball((14, 13, 8), 5)

    found = mend_region_turns(wrong.astype(np.float32), np.ones(SHAPE), np.ones(SHAPE, bool))

    np.testing.assert_allclose(found.phase, truth, atol=1e-4)
    assert found.n_voxels == ball((14, 13, 8), 5).sum()
    assert found.n_regions == 1


def test_a_region_entered_by_a_step_beyond_half_a_turn_is_mended():
    """Growing takes a step of 0.6 turns for -0.4, and what lies behind is a turn off."""
    profile = np.cumsum(np.where((np.arange(28) > 11) & (np.arange(28) < 17), 0.62, 0.05))
    fade = np.exp(-((GRID[1] - 13) ** 2 + (GRID[2] - 12) ** 2) / 60)
    truth = TURN * profile[:, None, None] * fade
    assert np.abs(np.diff(truth, axis=0)).max() > np.pi
    grown = truth - TURN * (ball((20, 13, 12), 4) & (GRID[0] > 16))

    found = mend_region_turns(grown.astype(np.float32), np.ones(SHAPE), np.ones(SHAPE, bool))

    np.testing.assert_allclose(found.phase, truth, atol=1e-4)


def test_a_truly_steep_place_is_left_though_its_steps_exceed_half_a_turn():
    """A cut alone would take the top of this peak down by a turn."""
    peak = (
        TURN
        * 2.4
        * np.exp(-sum((g - c) ** 2 for g, c in zip(GRID, (14, 13, 12), strict=True)) / 9)
    )
    mask = np.ones(SHAPE, bool)
    assert np.abs(np.diff(peak, axis=0)).max() > np.pi

    found = mend_region_turns(peak.astype(np.float32), np.ones(SHAPE), mask)

    assert found.n_voxels == 0
    np.testing.assert_array_equal(found.phase, peak.astype(np.float32))


def test_phase_that_growing_unwraps_stays_as_it_is():
    wrapped, magnitude = noisy(sinus(1.2) + 0.4 * GRID[1])
    mask = ball((14, 13, 12), 12)
    grown = unwrap(wrapped, magnitude=magnitude, mask=mask)

    assert mend_region_turns(grown, magnitude, mask).phase is grown


def test_noise_without_signal_is_not_mended():
    truth = np.zeros(SHAPE)
    hole = ball((14, 13, 12), 4)
    wrapped, magnitude = noisy(truth)
    wrapped[hole] = np.random.default_rng(2).uniform(-np.pi, np.pi, hole.sum())
    magnitude[hole] = 0.02

    found = mend_region_turns(wrapped.astype(np.float32), magnitude, np.ones(SHAPE, bool))

    assert found.n_voxels == 0


def test_slices_of_a_two_dimensional_scan_are_not_compared():
    """Every slice may have a turn of its own."""
    own = TURN * np.random.default_rng(3).integers(-2, 3, SHAPE[2])
    phase = (0.3 * GRID[0] + own).astype(np.float32)
    ones = np.ones(SHAPE)

    assert mend_region_turns(phase, ones, ones > 0, slice_axis=2).n_voxels == 0
    in_plane = phase.copy()
    in_plane[10:16, 10:16, 5] += np.float32(TURN)
    found = mend_region_turns(in_plane, ones, ones > 0, slice_axis=2)
    np.testing.assert_allclose(found.phase, phase, atol=1e-4)


def test_axes_and_signs_do_not_matter():
    truth = sinus(3.0)
    wrong = (truth - TURN * ball((12, 12, 8), 5)).astype(np.float32)
    ones = np.ones(SHAPE)
    straight = mend_region_turns(wrong, ones, ones > 0).phase
    turned = mend_region_turns(
        np.ascontiguousarray(-wrong.transpose(2, 0, 1)), ones.transpose(2, 0, 1),
        np.ones((24, 28, 26), bool),
    ).phase  # fmt: skip

    np.testing.assert_allclose(-turned.transpose(1, 2, 0), straight, atol=1e-4)


def test_later_echoes_follow_the_mended_template():
    """A region that is a turn off in one echo is off by its share of turns in the others."""
    times = np.array([0.005, 0.0107, 0.0164])
    truth = TURN * 20.0 * times[:, None, None, None] * np.ones(SHAPE)
    region = ball((14, 13, 12), 4)
    mask = np.ones(SHAPE, bool)

    def break_then_mend(template):
        broken = template + np.float32(TURN) * region
        return mend_region_turns(broken.astype(np.float32), np.ones(SHAPE), mask).phase

    found = unwrap_echoes(
        np.angle(np.exp(1j * truth)), np.ones_like(truth), times, mask, mend=break_then_mend
    )

    np.testing.assert_allclose(found, truth, atol=1e-3)
    broken = unwrap_echoes(
        np.angle(np.exp(1j * truth)), np.ones_like(truth), times, mask,
        mend=lambda t: (t + np.float32(TURN) * region).astype(np.float32),
    )  # fmt: skip
    assert np.abs(broken - truth)[:, region].min() > 3


def test_phase_that_jumps_everywhere_is_left(monkeypatch):
    monkeypatch.setattr("qsmbids.core.field.region_turns.MOST_VOXELS", 100)
    phase = TURN * np.random.default_rng(4).integers(0, 3, SHAPE).astype(np.float32)

    found = mend_region_turns(phase, np.ones(SHAPE), np.ones(SHAPE, bool))

    assert found.too_many
    assert found.phase is phase
