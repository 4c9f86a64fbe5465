"""Means over a Gaussian window, of what of it lies in a mask."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from qsmbids.core.maths.smoothing import LocalMean

SHAPE = (48, 52, 44)
MASK = ((np.indices(SHAPE) - np.reshape([24, 26, 22], (3, 1, 1, 1))) ** 2).sum(axis=0) < 18**2
VOLUME = np.where(MASK, np.random.default_rng(0).standard_normal(SHAPE), 0).astype(np.float32)


def reference(volume, sigma):
    """The same by a library: what lies in the mask, over how much of the window does."""
    wide = {"truncate": 3.0}
    near = ndi.gaussian_filter(MASK.astype(np.float64), sigma, **wide)
    return ndi.gaussian_filter(volume.astype(np.float64), sigma, **wide) / np.maximum(near, 1e-12)


@pytest.mark.parametrize("sigma", [1.0, 2.5, (1.0, 2.5, 5.0)])
def test_narrow_windows_are_those_of_a_library(sigma):
    found = LocalMean(MASK, sigma)(VOLUME)
    expected = reference(VOLUME, sigma)
    np.testing.assert_allclose(found[MASK], expected[MASK], atol=1e-3 * expected[MASK].std())


def test_wide_windows_are_found_on_blocks():
    smooth = np.where(MASK, ndi.gaussian_filter(VOLUME, 4.0), 0).astype(np.float32)
    found, expected = LocalMean(MASK, 9.0)(smooth), reference(smooth, 9.0)
    assert np.std((found - expected)[MASK]) < 0.02 * np.std(smooth[MASK])
    assert np.corrcoef(found[MASK], expected[MASK])[0, 1] > 0.995


@pytest.mark.parametrize("sigma", [1.0, 4.0, 9.0])
def test_an_even_mask_has_its_value_and_the_share_falls_at_its_border(sigma):
    window = LocalMean(MASK, sigma)
    np.testing.assert_allclose(window(np.float32(2.5) * MASK)[MASK], 2.5, rtol=1e-4)
    share = window.share
    assert share.max() <= 1 + 1e-5
    if sigma < 4:
        assert share[24, 26, 22] == pytest.approx(1, abs=1e-4)
    assert share[24, 26, 4] < 0.6 * share[24, 26, 22]


def test_with_little_of_the_window_in_the_mask_the_mean_is_the_smaller():
    far = ndi.distance_transform_edt(~MASK) > 4
    full, held = (LocalMean(MASK, 2.0, least=least)(VOLUME + MASK) for least in (1e-6, 0.2))
    deep = ndi.binary_erosion(MASK, iterations=8)
    np.testing.assert_allclose(full[deep], held[deep], rtol=1e-5)
    assert np.abs(held[far]).max() < 0.2 * np.abs(full[far]).max()


def test_threads_do_not_matter():
    one, three = (LocalMean(MASK, 2.5, n)(VOLUME) for n in (1, 3))
    np.testing.assert_array_equal(one, three)
