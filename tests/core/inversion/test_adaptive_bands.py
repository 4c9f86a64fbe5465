"""Low bands of a map: what they hold, on half of the grid."""

import numpy as np
import pytest

from qsmbids.core.inversion.adaptive_bands import LowBands
from qsmbids.core.inversion.half_grid import HalfGrid
from qsmbids.core.maths.fft import rfft

GRID = (60, 45, 50)


def wave(cycles, axis=0):
    n = GRID[axis]
    line = np.cos(2 * np.pi * cycles * np.arange(n) / n)
    return np.broadcast_to(line.reshape([-1 if a == axis else 1 for a in range(3)]), GRID)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_bands_hold_low_waves_whole_and_high_ones_not(axis):
    """1.2 cycles in 60 voxels lie far below the last band's end, a third of them above all."""
    bands = LowBands(HalfGrid(GRID), 0.01)
    low, high = (
        sum(np.mean(part**2) for part in bands.split(rfft(wave(k, axis).astype(np.float32), 1)))
        for k in (1, GRID[axis] // 3)
    )
    assert low == pytest.approx(0.5, rel=0.02)
    assert high < 1e-6


def test_join_is_the_adjoint_of_split():
    rng = np.random.default_rng(0)
    bands = LowBands(HalfGrid(GRID), 0.01)
    x = rng.standard_normal(GRID).astype(np.float32)
    parts = [rng.standard_normal(bands.half.half).astype(np.float32) for _ in bands.bands]
    spectrum = np.zeros((*GRID[:2], GRID[2] // 2 + 1), np.complex64)
    bands.join(parts, spectrum)
    back = np.fft.irfftn(spectrum, GRID, axes=(0, 1, 2))
    n = np.prod(GRID) / np.prod(bands.half.half)
    split = zip(bands.split(rfft(x, 1)), parts, strict=True)
    inner = float(bands.mu) * n * sum(float((a * b).sum(dtype=float)) for a, b in split)
    assert float((x * back).sum(dtype=float)) == pytest.approx(inner, rel=1e-4)


def test_strong_places_are_held_less():
    bands = LowBands(HalfGrid(GRID), 0.01)
    x = np.random.default_rng(1).standard_normal(GRID).astype(np.float32)
    x[:30] *= 4
    mask, even = np.ones(GRID, bool), np.ones(GRID, np.float32)
    for weight in bands.weights(x, mask, even):
        assert weight[4:11].mean() < 0.5 * weight[19:26].mean()
    spared = bands.weights(x, mask, even / 10)
    assert spared[0].mean() == pytest.approx(bands.weights(x, mask, even)[0].mean() / 10, rel=1e-3)
