"""Strong sources are set aside, and each voxel comes from the inversion that knows it."""

import numpy as np
import pytest

from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.inversion.two_pass import merge_two_pass, set_aside


@pytest.fixture
def passes(rng):
    filled = np.zeros((10, 11, 12), bool)
    filled[1:-1, 1:-1, 1:-1] = True
    holes = filled.copy()
    holes[4:6, 4:6, 4:6] = False
    truth = rng.normal(0, 0.05, filled.shape).astype(np.float32) * filled
    return truth, truth * holes, (truth + 0.2) * filled, holes, filled


def test_inversions_that_differ_by_a_constant_merge_to_either(passes):
    truth, first, second, holes, filled = passes
    merged = merge_two_pass(first, second, holes, filled)
    np.testing.assert_allclose(merged.chi, truth, atol=1e-6)
    assert merged.offset == pytest.approx(0.2, abs=1e-6)
    assert np.array_equal(merged.from_filled, filled & ~holes)
    assert merged.chi.dtype == np.float32
    assert not merged.chi[~filled].any()


def test_reliable_voxels_keep_the_first_inversion(passes):
    _, first, second, holes, filled = passes
    second[holes] += 0.01 * np.sign(np.indices(holes.shape)[0][holes] - 4.5)
    merged = merge_two_pass(first, second, holes, filled)
    assert np.array_equal(merged.chi[holes], first[holes])


def test_bad_masks(passes):
    _, first, second, holes, filled = passes
    with pytest.raises(ValueError, match="part of the filled"):
        merge_two_pass(first, second, filled, holes)
    with pytest.raises(ValueError, match="not empty"):
        merge_two_pass(first, second, np.zeros_like(holes), filled)
    with pytest.raises(ValueError, match="same volume"):
        merge_two_pass(first[1:], second, holes, filled)


SHAPE = (44, 48, 40)
R = np.indices(SHAPE).astype(float) - np.reshape([(n - 1) / 2 for n in SHAPE], (3, 1, 1, 1))
BRAIN = ((R / np.reshape([19, 21, 17], (3, 1, 1, 1))) ** 2).sum(axis=0) < 1
DISTANCE = np.sqrt(((R - np.reshape((3, -2, 1), (3, 1, 1, 1))) ** 2).sum(axis=0))
STONE = DISTANCE <= 2.6
F0 = 127.7e6
PLACE = {"voxel_size": (1, 1, 1), "b0_direction": (0, 0, 1)}


@pytest.fixture(scope="module")
def scan():
    """Smooth tissue with a calcification in which the field is anything; chi, field, weights."""
    noise = np.random.default_rng(3)
    chi = 0.03 * np.sin(R[0] / 3) * np.sin(R[1] / 4 + 1) * np.cos(R[2] / 4)
    chi = np.where(STONE, -2.4, chi * BRAIN).astype(np.float32)
    field = np.float32(1e-6 * F0) * dipole_field(chi, **PLACE)
    field += 0.1 * noise.standard_normal(SHAPE).astype(np.float32)
    weights = (BRAIN * (1 + 0.05 * noise.standard_normal(SHAPE))).astype(np.float32)
    field[STONE] += 20 * noise.standard_normal(STONE.sum()).astype(np.float32)
    weights[STONE] = 0.1
    return chi, field * BRAIN, weights


def _invert(field, weights, **start):
    options = {
        "centre_frequency": F0,
        "echo_time": 0.0286,
        "margin": 8,
        "tolerance_percent": 0.2,
        **start,
    }
    return fansi(field, BRAIN, weights, *PLACE.values(), **options, n_threads=2).chi


def test_only_the_field_of_the_tissue_is_left(scan):
    chi, field, _ = scan
    rest = set_aside(field, chi, BRAIN & ~STONE, BRAIN, **PLACE, centre_frequency=F0)
    rim = (DISTANCE <= 3.7) & BRAIN  # one layer around the hole
    assert not rest.reliable[STONE].any()
    assert rest.reliable[BRAIN & ~rim].all()
    assert not rest.local_field[~rest.reliable].any()
    tissue = np.where(rest.reliable, chi, 0.0)
    expected = np.float32(1e-6 * F0) * dipole_field(tissue, **PLACE)
    error = (rest.local_field - expected)[rest.reliable]
    assert error.std() < 0.15  # the noise of the field
    assert field[rest.reliable].std() > 1.5


def test_strong_sources_outside_the_holes_count_too_and_the_zero_does_not_matter(scan):
    chi, field, _ = scan
    one = set_aside(field, chi, BRAIN, BRAIN, **PLACE, centre_frequency=F0)
    two = set_aside(field, chi + 0.5, BRAIN, BRAIN, **PLACE, centre_frequency=F0)
    assert np.array_equal(one.reliable, BRAIN & ~STONE)
    assert np.array_equal(one.reliable, two.reliable)
    np.testing.assert_allclose(one.local_field, two.local_field, atol=1e-3)


def _passes(scan, **start):
    """Return the map of one inversion, and of two."""
    _, field, weights = scan
    filled = _invert(field, weights, **start)
    rest = set_aside(field, filled, BRAIN & ~STONE, BRAIN, **PLACE, centre_frequency=F0)
    tissue = _invert(rest.local_field, weights * rest.reliable, **start)
    return filled, merge_two_pass(tissue, filled, rest.reliable, BRAIN).chi


def _spread(error, near, far):
    return error[BRAIN & (near <= DISTANCE) & (far >= DISTANCE)].std()


def test_two_passes_streak_less_than_one(scan):
    """The standard deviation of the error 5 to 15 voxels away, and the value of the stone."""
    one, two = _passes(scan, start="zero", linear_start=10, iterations="joint")
    assert _spread(two - scan[0], 5, 15) < 0.9 * _spread(one - scan[0], 5, 15)
    assert two[STONE].mean() < -0.7 * 2.4


def test_two_passes_leave_no_streaks(scan):
    """The error around the stone is as small as without its field."""
    chi, field, weights = scan
    _, two = _passes(scan)
    around = BRAIN & (DISTANCE > 3.7)
    stone = np.float32(1e-6 * F0) * dipole_field(np.where(STONE, chi, 0), **PLACE)
    exact = _invert((field - stone) * around, weights * around)
    assert _spread(two - chi, 3, 5) < 1.2 * _spread(exact - chi, 3, 5)
    assert _spread(two - chi, 5, 15) < 1.02 * _spread(exact - chi, 5, 15)
    assert two[STONE].mean() == pytest.approx(-2.4, rel=0.05)
