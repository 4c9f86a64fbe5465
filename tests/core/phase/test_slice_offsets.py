"""A phase of every slice is found from two echoes, for it is the same in both."""

import numpy as np
import pytest

from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.core.phase.slice_offsets import find_slice_offsets, remove_slice_offsets

TIMES = (0.004, 0.010)


@pytest.fixture(scope="module")
def head():
    """Return phase and magnitude of two echoes of a small head."""
    phantom = make_phantom((40, 44, 36), (4.0, 4.0, 4.0))
    total, _ = simulate_field(phantom)
    echoes = multi_echo_signal(phantom, total, TIMES)
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 0.01, (2, *echoes.shape)) * np.abs(echoes).max()
    echoes = echoes + noise[0] + 1j * noise[1]
    return np.angle(echoes).astype(np.float32), np.abs(echoes).astype(np.float32)


def along(axis, values):
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.reshape(values, shape)


PATTERNS = {
    "random": lambda n, rng: rng.uniform(-np.pi, np.pi, n),
    "small": lambda n, rng: rng.uniform(-0.4, 0.4, n),
    "interleaved": lambda n, rng: 1.0 * (np.arange(n) % 2),
    "two stacks": lambda n, rng: 1.5 * (np.arange(n) > n // 2),
}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_offsets_of_the_slices_are_recovered(head, rng, axis, pattern):
    phase, magnitude = head
    own = PATTERNS[pattern](phase.shape[1 + axis], rng)
    spoilt = np.angle(np.exp(1j * (phase + along(axis, own)))).astype(np.float32)
    found = find_slice_offsets(spoilt, magnitude[0], TIMES)
    assert found.axis == axis
    mended = remove_slice_offsets(spoilt, found)
    # what is left beside the undisturbed phase is smooth along the slices and in both echoes
    left = np.exp(1j * (mended - phase))
    strong = magnitude[0] > 0.3 * magnitude[0].max()
    in_slices = tuple(1 + a for a in range(3) if a != axis)
    mean = (left * strong).sum(axis=in_slices)
    bend = np.angle(mean[:, 2:] * mean[:, :-2] * np.conj(mean[:, 1:-1]) ** 2)
    full = np.abs(mean[0]) > 0.3 * np.abs(mean[0]).max()
    assert np.abs(bend[:, full[2:] & full[1:-1] & full[:-2]]).max() < 0.1
    np.testing.assert_allclose(np.angle(left[0] * np.conj(left[1])), 0, atol=1e-4)


def test_whole_phase_is_left_alone(head):
    phase, magnitude = head
    assert find_slice_offsets(phase, magnitude[0], TIMES) is None
    assert find_slice_offsets(-phase, magnitude[0], TIMES) is None


def test_two_echoes_are_needed(head):
    phase, magnitude = head
    with pytest.raises(ValueError, match="two echoes"):
        find_slice_offsets(phase[:1], magnitude[0], TIMES)


def test_offsets_are_found_where_the_echoes_wrap_between_slices(rng):
    times = (0.013, 0.031)
    phantom = make_phantom((40, 44, 36), (3.0, 3.0, 3.0))
    total, _ = simulate_field(phantom)
    echoes = multi_echo_signal(phantom, total, times)
    own = rng.uniform(-np.pi, np.pi, 36)
    phase = np.angle(echoes * np.exp(1j * own)).astype(np.float32)
    magnitude = np.abs(echoes).astype(np.float32)
    found = find_slice_offsets(phase, magnitude[0], times)
    wrong = np.angle(np.exp(1j * np.diff(found.offsets - own, 2)))
    filled = phantom.mask.sum(axis=(0, 1))[1:-1]
    assert np.abs(wrong[filled > 0.4 * filled.max()]).max() < 0.1
