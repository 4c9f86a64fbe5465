"""Removal of the phase offset against known offsets."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter
from volumes import grid, wrap

from qsmbids.core.field.romeo import unwrap_echoes
from qsmbids.core.maths.smoothing import smooth_complex
from qsmbids.core.phase.offset import mcpc3ds

SHAPE = (40, 36, 32)
UNIFORM = np.array([0.004, 0.010, 0.016, 0.022])
UNEVEN = np.array([0.0047, 0.0107, 0.0149, 0.0231])
VOXEL = (1.0, 1.0, 1.0)


MASK = sum((a / (n / 2 - 2)) ** 2 for a, n in zip(grid(SHAPE), SHAPE, strict=True)) < 1
INNER = binary_erosion(MASK, iterations=4)


def bowl():
    """Field [Hz] with a median near zero."""
    x, y, z = grid(SHAPE)
    field = 4 * x - 2 * y + 0.25 * (x**2 + z**2)
    return field - np.median(field[MASK])


def smooth_offset():
    x, y, z = grid(SHAPE)
    return 0.5 + 0.02 * x - 0.015 * y + 0.0008 * z**2


def acquire(field, offset, times, noise=0.0, rng=None):
    te = times[:, None, None, None]
    signal = np.exp(-te / 0.03) * np.exp(1j * (offset + 2 * np.pi * te * field))
    if noise:
        signal = signal + noise * (
            rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)
        )
    return np.angle(signal).astype(np.float32), np.abs(signal).astype(np.float32)


def field_of_each_echo(phase, magnitude, times):
    corrected, _ = mcpc3ds(phase, magnitude, times, VOXEL, MASK)
    unwrapped = unwrap_echoes(corrected, magnitude, times, MASK)
    return unwrapped / (2 * np.pi * times[:, None, None, None])


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN, UNIFORM[:2]])
def test_constant_offset_is_removed_exactly(times):
    field = bowl()
    phase, magnitude = acquire(field, 1.3, times)
    corrected, offset = mcpc3ds(phase, magnitude, times, VOXEL, MASK)
    np.testing.assert_allclose(offset[MASK], 1.3, atol=1e-4)
    expected = 2 * np.pi * times[:, None, None, None] * field
    assert np.abs(wrap(corrected - expected)[:, MASK]).max() < 1e-4


@pytest.mark.parametrize("times", [UNIFORM, UNEVEN])
def test_field_under_a_smooth_offset(times):
    phase, magnitude = acquire(bowl(), smooth_offset(), times)
    _, offset = mcpc3ds(phase, magnitude, times, VOXEL, MASK, smoothing_mm=2.0)
    assert np.abs(wrap(offset - smooth_offset()))[INNER].max() < 0.03
    corrected, _ = mcpc3ds(phase, magnitude, times, VOXEL, MASK, smoothing_mm=1e-3)
    unwrapped = unwrap_echoes(corrected, magnitude, times, MASK)
    for echo, te in zip(unwrapped, times, strict=True):
        assert np.abs(echo / (2 * np.pi * te) - bowl())[MASK].max() < 0.05


def test_whole_cycles_of_the_difference_do_not_reach_the_field():
    # the flat part, where the growth starts, is 0.9 cycles away from the median of the head
    x, _, _ = grid(SHAPE)
    field = 150 * np.clip((-x - 2) / 10, 0, 1)
    assert abs(np.median(field[MASK])) < 1
    phase, magnitude = acquire(field, 0.4, UNEVEN)
    magnitude = magnitude * np.where(x < -12, 1, 1 + 0.2 * np.sin(5 * x)).astype(np.float32)
    for echo in field_of_each_echo(phase, magnitude, UNEVEN):
        np.testing.assert_allclose(echo[MASK], field[MASK], atol=0.05)


def test_noise_hardly_reaches_the_offset(rng):
    phase, magnitude = acquire(bowl(), 0.8, UNIFORM, 0.05, rng)
    _, offset = mcpc3ds(phase, magnitude, UNIFORM, VOXEL, MASK)
    assert np.std(offset[MASK]) < 0.01
    assert np.mean(offset[MASK]) == pytest.approx(0.8, abs=0.01)


def test_result_is_wrapped_and_zero_outside_and_at_bad_voxels():
    phase, magnitude = acquire(bowl(), smooth_offset(), UNIFORM)
    phase[1, 20, 18, 16] = np.nan
    magnitude[0, 22, 18, 16] = np.inf
    phase[:, ~MASK] = np.inf
    before = phase.copy()
    corrected, offset = mcpc3ds(phase, magnitude, UNIFORM, VOXEL, MASK)
    np.testing.assert_array_equal(phase, before)
    assert np.all(corrected[:, ~MASK] == 0)
    assert np.all(offset[~MASK] == 0)
    assert np.abs(corrected).max() <= np.float32(np.pi)
    assert corrected[1, 20, 18, 16] == 0
    # the echoes around it keep their phase
    assert wrap(corrected[0, 20, 18, 16] - phase[0, 20, 18, 16] + offset[20, 18, 16]) < 1e-6
    assert np.all(np.isfinite(offset))


def test_smoothing_is_a_gaussian_in_mm():
    spike = np.zeros(SHAPE, np.complex64)
    spike[20, 18, 16] = 1 + 2j
    sigma = np.array([3.5, 7 / 3, 1.75])
    smooth = smooth_complex(spike, sigma)
    expected = gaussian_filter(spike.real.astype(float), sigma, mode="constant", truncate=4)
    np.testing.assert_allclose(
        smooth.real / smooth.real.max(), expected / expected.max(), atol=1e-3
    )
    np.testing.assert_allclose(smooth.imag, 2 * smooth.real, rtol=1e-5)


def test_threads_do_not_matter(rng):
    phase, magnitude = acquire(bowl(), smooth_offset(), UNIFORM, 0.1, rng)
    one = mcpc3ds(phase, magnitude, UNIFORM, VOXEL, MASK)
    four = mcpc3ds(phase, magnitude, UNIFORM, VOXEL, MASK, n_threads=4)
    for a, b in zip(one, four, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("times", "voxel", "sigma"),
    [
        ((0.01,), VOXEL, 7),
        ((0.02, 0.01), VOXEL, 7),
        ((0.0, 0.01), VOXEL, 7),
        ((0.01, 0.02), (1, 1), 7),
        ((0.01, 0.02), (1, 0, 1), 7),
        ((0.01, 0.02), VOXEL, 0),
    ],
)
def test_bad_arguments(times, voxel, sigma):
    phase = np.zeros((len(times), 4, 4, 4), np.float32)
    with pytest.raises(ValueError):
        mcpc3ds(phase, phase, times, voxel, np.ones((4, 4, 4), bool), smoothing_mm=sigma)


def test_empty_mask_is_an_error():
    phase = np.zeros((2, 4, 4, 4), np.float32)
    with pytest.raises(ValueError, match="empty"):
        mcpc3ds(phase, phase, (0.01, 0.02), VOXEL, np.zeros((4, 4, 4), bool))


def test_real_echoes_agree_on_the_field(shared_dir: Path):
    folder = shared_dir / "data" / "romeo_small"
    phase, magnitude = (
        np.moveaxis(np.asanyarray(nib.load(folder / f"{name}.nii").dataobj), 3, 0)
        for name in ("Phase", "Mag")
    )
    phase = (phase * (np.pi / np.abs(phase).max())).astype(np.float32)
    magnitude = magnitude.astype(np.float32)
    times = np.array([0.002, 0.004, 0.006])
    mask = magnitude[0] > 0.3 * np.quantile(magnitude[0], 0.95)
    corrected, _ = mcpc3ds(phase, magnitude, times, (0.469, 0.469, 1.0), mask)
    fields = unwrap_echoes(corrected, magnitude, times, mask)[:, mask] / (
        2 * np.pi * times[:, None]
    )
    raw = unwrap_echoes(phase, magnitude, times, mask)[:, mask] / (2 * np.pi * times[:, None])
    spread = [np.median(np.ptp(f, axis=0)) for f in (fields, raw)]
    assert spread[0] < 0.5 * spread[1]


def test_without_refinements_it_is_one_gaussian():
    phase, magnitude = acquire(bowl(), smooth_offset(), UNIFORM)
    _, offset = mcpc3ds(phase, magnitude, UNIFORM, VOXEL, MASK, smoothing_mm=2.0, refinements=0)
    signal = np.where(MASK, np.exp(1j * smooth_offset()), 0)
    average = sum(
        factor * gaussian_filter(part, 2.0, mode="constant", truncate=4)
        for factor, part in ((1, signal.real), (1j, signal.imag))
    )
    np.testing.assert_allclose(offset[MASK], np.angle(average)[MASK], atol=1e-3)


def test_refinements_remove_the_bias_of_the_smoothing_at_the_surface():
    """A ramp is averaged over one side only at the rim; local planes follow it."""
    shape, times = (40, 40, 40), (0.005, 0.011, 0.017)
    x, y, z = np.indices(shape, dtype=np.float32) - 19.5
    mask = x**2 + y**2 + z**2 < 15**2
    true = 0.08 * x + 0.004 * (y**2 - z**2)
    phase = np.stack([true + 2 * np.pi * 20 * t for t in times])
    phase = np.where(mask, phase - 2 * np.pi * np.rint(phase / (2 * np.pi)), 0)
    magnitude = np.broadcast_to(mask, phase.shape).astype(np.float32)

    def error(refinements):
        _, offset = mcpc3ds(
            phase.astype(np.float32), magnitude, times, (1, 1, 1), mask, refinements=refinements
        )
        wrong = np.angle(np.exp(1j * (offset - true)))[mask]
        return np.sqrt(np.mean(wrong**2))

    assert error(0) > 0.1
    assert error(2) < 0.05
    assert error(8) < 0.015
