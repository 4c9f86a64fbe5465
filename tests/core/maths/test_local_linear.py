"""Smoothing of a phase by local planes, against known phases."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from volumes import wrap

from qsmbids.core.maths.local_linear import smooth_phase


def irregular_mask():
    """A ball with bays and holes that does not touch the border."""
    shape = (44, 48, 40)
    x, y, z = (i - (n - 1) / 2 for i, n in zip(np.indices(shape), shape, strict=True))
    holes = np.sin(0.35 * x + 1) * np.sin(0.3 * y) * np.sin(0.4 * z + 2) > 0.3
    return (x**2 + y**2 + z**2 < 17**2) & (x + y < 14) & ~holes


def smoothing_error(mask, true, sigma=7.0, **options):
    """Return the error [rad] of the smoothed phase in the mask."""
    signal = np.where(mask, np.exp(1j * true), 0).astype(np.complex64)
    return wrap(smooth_phase(signal, np.full(3, sigma), **options) - true)[mask]


@pytest.mark.parametrize("slope", [0.02, 0.3])
@pytest.mark.parametrize("refinements", [1, 8])
def test_linear_phase_is_exact_up_to_the_rim(slope, refinements):
    mask = irregular_mask()
    x, y, z = np.indices(mask.shape)
    true = 0.7 + slope * (x - 0.4 * y + 0.6 * z)
    assert np.abs(smoothing_error(mask, true, refinements=0)).max() > 0.1
    assert np.abs(smoothing_error(mask, true, refinements=refinements)).max() < 1e-3


def test_linear_phase_is_exact_at_the_border_of_the_volume():
    x, y, z = np.indices((24, 26, 22))
    assert np.abs(smoothing_error(x >= 0, 0.05 * x - 0.2 * y + 0.1 * z)).max() < 1e-3


def test_curved_phase_at_the_border_of_the_volume():
    x, y, z = np.indices((24, 26, 22))
    error = smoothing_error(x >= 0, 0.003 * (x - 12) ** 2 - 0.002 * y * z, 4.0)
    assert np.abs(error).max() < 0.015


def test_planes_follow_a_slope_that_differs_between_two_parts():
    """No plane fits both: without the local slopes the rim would be off by 0.2 rad and more."""
    x, _, _ = np.indices((60, 30, 28))
    mask = np.zeros(x.shape, bool)
    mask[3:25, 4:26, 4:24] = mask[35:57, 4:26, 4:24] = True
    true = 0.08 * np.abs(x - 29.5)
    assert np.abs(smoothing_error(mask, true, 3.0, refinements=0)).max() > 0.15
    assert np.abs(smoothing_error(mask, true, 3.0)).max() < 0.005


def test_curved_phase_has_little_bias_at_the_rim():
    mask = irregular_mask()
    x, y, z = (i - (n - 1) / 2 for i, n in zip(np.indices(mask.shape), mask.shape, strict=True))
    true = 0.003 * x**2 - 0.002 * y * z
    rim = (mask & ~binary_erosion(mask, iterations=2))[mask]
    plain = np.abs(smoothing_error(mask, true, refinements=0)[rim]).mean()
    refined = np.abs(smoothing_error(mask, true)[rim]).mean()
    assert plain > 0.1
    assert refined < 0.01


def test_wraps_of_the_offset_do_not_matter():
    mask = irregular_mask()
    x, y, z = (i - (n - 1) / 2 for i, n in zip(np.indices(mask.shape), mask.shape, strict=True))
    true = 3.1 + 0.25 * y + 0.003 * (x**2 - z**2)
    assert np.ptp(true[mask]) > 2 * np.pi
    whole_cycles = 2 * np.pi * np.rint(3 * np.sin(x + 2 * y))
    error = smoothing_error(mask, true)
    np.testing.assert_allclose(smoothing_error(mask, true + whole_cycles), error, atol=1e-4)
    assert np.sqrt(np.mean(error**2)) < 0.01


def test_axes_are_equal():
    mask = irregular_mask()
    x, y, z = np.indices(mask.shape)
    signal = np.where(mask, np.exp(1j * (0.05 * x + 0.002 * y**2 + 0.001 * x * z)), 0)
    signal = signal.astype(np.complex64)
    sigma = np.array([6.0, 3.5, 2.0])
    smooth = smooth_phase(signal, sigma)
    for order in ((2, 0, 1), (1, 0, 2)):
        turned = smooth_phase(signal.transpose(order), sigma[list(order)])
        difference = wrap(turned - smooth.transpose(order))
        assert np.abs(difference[mask.transpose(order)]).max() < 1e-4


def test_sheets_and_single_voxels_do_not_blow_up(rng):
    x, y, z = np.indices((60, 40, 36))
    sheet = (x == 21) & (y > 5) & (y < 34) & (z > 4) & (z < 30)
    line = (x == 30) & (y == 20) & (z > 4) & (z < 30)
    alone = np.zeros(x.shape, bool)
    alone[58, 2, 33] = alone[40, 38, 1] = alone[41, 38, 1] = True
    mask = sheet | line | alone
    true = 0.01 * y + 0.02 * z
    assert np.abs(smoothing_error(mask, true)).max() < 1e-3
    noise = 0.1 * rng.standard_normal(x.shape)
    for kind in (sheet, line, alone):
        error = smoothing_error(mask, true + noise) + noise[mask]
        assert np.abs(error[kind[mask]]).max() < 0.3
    assert np.std(error[sheet[mask]]) < 0.05


def test_a_sheet_alone_leaves_the_slope_across_open(rng):
    x, y, z = np.indices((48, 60, 50))
    sheet = (x == 37) & (y > 5) & (y < 54) & (z > 4) & (z < 44)
    noise = 0.5 * rng.standard_normal(x.shape)
    error = smoothing_error(sheet, 0.02 * y + noise) + noise[sheet]
    assert np.std(error) < 0.1


def test_a_patch_of_failed_unwrapping_does_not_pull_the_offset(rng):
    mask = irregular_mask()
    x, y, z = (i - (n - 1) / 2 for i, n in zip(np.indices(mask.shape), mask.shape, strict=True))
    true = 0.002 * (x**2 + y * z)
    patch = mask & ((x + 14) ** 2 + y**2 + z**2 < 4.5**2)
    assert patch.sum() > 150
    noise = np.where(mask, 0.02 * rng.standard_normal(mask.shape), 0)
    inside = patch[mask]
    clean = smoothing_error(mask, true + noise) + noise[mask]
    shifted = noise + np.where(patch, -0.9, 0)
    error = smoothing_error(mask, true + shifted) + shifted[mask]
    early = smoothing_error(mask, true + shifted, refinements=2) + shifted[mask]
    assert np.abs(early[inside].mean()) > 0.2
    assert np.abs(error - clean)[inside].max() < 0.03


def test_threads_do_not_matter_to_the_smoothing(rng):
    mask = irregular_mask()
    signal = np.where(mask, np.exp(1j * rng.standard_normal(mask.shape)), 0).astype(np.complex64)
    sigma = np.array([7.0, 5.0, 2.0])
    one, four = (smooth_phase(signal, sigma, n_threads=n) for n in (1, 4))
    np.testing.assert_array_equal(one, four)
