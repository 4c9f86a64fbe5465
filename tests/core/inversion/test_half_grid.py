"""The lower half of the frequencies: what is smooth is kept whole, and nothing else."""

import numpy as np
import pytest

from qsmbids.core.inversion.half_grid import HalfGrid
from qsmbids.core.maths.fft import irfft, rfft

GRIDS = [(48, 60, 40), (45, 50, 54)]


def smooth(grid, cycles):
    """Return a wave of so many cycles along each axis, at the voxels of a grid."""
    x, y, z = (np.arange(n) / n for n in grid)
    a, b, c = cycles
    wave = np.cos(2 * np.pi * (a * x[:, None, None] + b * y[:, None] + c * z) + 0.3)
    return wave.astype(np.float32)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("cycles", [(0, 0, 0), (3, 0, 0), (-4, 5, 2), (7, -8, 6)])
def test_a_smooth_wave_has_the_same_values_on_half_of_the_grid(grid, cycles):
    half = HalfGrid(grid)
    found = half.irfft(half.take(rfft(smooth(grid, cycles))) * half.ratio)
    np.testing.assert_allclose(found, smooth(half.half, cycles), atol=2e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_there_and_back_leaves_a_smooth_wave_and_takes_a_fine_one(grid):
    half = HalfGrid(grid)
    for cycles, kept in (((5, -6, 4), 1.0), ((grid[0] // 2 - 2, 0, 0), 0.0)):
        wave = smooth(grid, cycles)
        out = np.zeros((*grid[:2], grid[2] // 2 + 1), dtype=np.complex64)
        half.add(half.take(rfft(wave)), out)
        np.testing.assert_allclose(irfft(out, grid), kept * wave, atol=2e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_frequencies_are_those_of_the_grid(grid):
    half = HalfGrid(grid)
    x, y, z = np.fft.fftfreq(grid[0]), np.fft.fftfreq(grid[1]), np.fft.rfftfreq(grid[2])
    radius = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    both = half.take(np.ones_like(radius)) > 0
    np.testing.assert_allclose(half.radius()[both], half.take(radius)[both], atol=1e-12)
    assert both.any(axis=(0, 1)).sum() == half.depth


@pytest.mark.parametrize("grid", GRIDS)
def test_picked_voxels_lie_where_those_of_the_half_grid_do(grid):
    half = HalfGrid(grid)
    for axis, (picked, n, m) in enumerate(zip(half.picked, half.half, grid, strict=True)):
        where = np.arange(n) / n * m
        off = where - picked.ravel()
        assert (off >= 0).all(), axis
        assert (off < 1).all(), axis
