"""Echoes that are copies of one another are found, real ones are not."""

import numpy as np
import pytest

from qsmbids.core.phase.repeated_echoes import repeated_magnitude, repeated_phase


@pytest.fixture
def echoes(rng):
    field = 20 * np.linspace(-1, 1, 20)[:, None, None] * np.ones((20, 18, 16))
    te = np.array([0.004, 0.008, 0.012])[:, None, None, None]
    signal = np.exp(2j * np.pi * te * field - te / 0.04)
    return signal + 0.01 * (rng.normal(size=signal.shape) + 1j * rng.normal(size=signal.shape))


def test_real_echoes_differ(echoes):
    assert repeated_phase(np.angle(echoes)) is None
    assert repeated_magnitude(np.abs(echoes)) is None


@pytest.mark.parametrize(("of", "to"), [(0, 1), (0, 2), (1, 2)])
def test_copies(echoes, of, to):
    phase, magnitude = np.angle(echoes), np.abs(echoes)
    phase[to], magnitude[to] = phase[of], magnitude[of]
    assert repeated_phase(phase) == repeated_magnitude(magnitude) == (of, to)


def test_copies_stored_in_another_way(echoes):
    phase = np.angle(echoes)
    steps = np.rint(phase[0] / np.pi * 2048) * np.pi / 2048  # 12 bit
    assert repeated_phase([phase[0], steps, phase[2]]) == (0, 1)
    turned = np.angle(np.exp(1j * (phase[0] + 2.0)))
    assert repeated_phase([phase[0], phase[1], turned]) == (0, 2)


def test_images_without_signal_say_nothing():
    assert repeated_phase(np.zeros((2, 8, 8, 8))) is None
    assert repeated_magnitude(np.zeros((2, 8, 8, 8))) is None
