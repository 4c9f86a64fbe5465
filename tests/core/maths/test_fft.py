"""Transforms of every kind of size against those of numpy in double precision."""

import numpy as np
import pytest

from qsmbids.core.maths.fft import irfft, rfft

#: Powers of two, three and five along each axis, odd and even; more and fewer rows than lanes;
#: lines of two samples; a prime, which is no fast size.
SHAPES = [(8, 4, 16), (5, 2, 3), (3, 45, 25), (2, 36, 48), (20, 9, 2), (6, 33, 24), (4, 16, 30)]
ROUNDING = 5e-7


def _volume(shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def _spectrum(shape):
    half = (*shape[:2], shape[2] // 2 + 1)
    rng = np.random.default_rng(2)
    return (rng.standard_normal(half) + 1j * rng.standard_normal(half)).astype(np.complex64)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward(shape):
    volume = _volume(shape)
    expected = np.fft.rfftn(volume.astype(float))
    spectrum = rfft(volume)
    assert spectrum.dtype == np.complex64
    np.testing.assert_allclose(spectrum, expected, atol=ROUNDING * abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_back(shape):
    """Of any numbers: what of them no real volume has is left out, as by numpy."""
    spectrum = _spectrum(shape)
    expected = np.fft.irfftn(spectrum.astype(complex), s=shape, axes=(0, 1, 2))
    before = spectrum.copy()
    volume = irfft(spectrum, shape)
    assert volume.dtype == np.float32
    np.testing.assert_allclose(volume, expected, atol=ROUNDING * abs(expected).max())
    np.testing.assert_array_equal(spectrum, before)
    np.testing.assert_array_equal(irfft(spectrum, shape, overwrite=True), volume)


def test_a_wave_is_one_sample():
    x = np.arange(40)
    spectrum = rfft(np.tile(np.cos(2 * np.pi * 3 * x / 40), (18, 20, 1)).astype(np.float32))
    assert spectrum[0, 0, 3] == pytest.approx(18 * 20 * 40 / 2, rel=1e-6)
    spectrum[0, 0, 3] = 0
    assert abs(spectrum).max() < 1e-2


def test_threads_do_not_change_the_result():
    volume = _volume((15, 27, 32))
    spectrum = rfft(volume)
    for n in (2, 3, 7):
        np.testing.assert_array_equal(rfft(volume, n), spectrum)
        np.testing.assert_array_equal(
            irfft(spectrum, volume.shape, n), irfft(spectrum, volume.shape)
        )


def test_any_layout():
    volume = _volume((16, 12, 20))
    spectrum = rfft(volume)
    np.testing.assert_array_equal(rfft(np.asfortranarray(volume)), spectrum)
    np.testing.assert_array_equal(rfft(np.repeat(volume, 2, axis=2)[..., ::2]), spectrum)
    back = irfft(spectrum, volume.shape)
    strided = np.asfortranarray(spectrum)
    np.testing.assert_array_equal(irfft(strided, volume.shape), back)
    np.testing.assert_array_equal(irfft(strided, volume.shape, overwrite=True), back)


def test_double_precision_stays_double():
    volume = _volume((8, 8, 8)).astype(float)
    spectrum = rfft(volume)
    assert spectrum.dtype == np.complex128
    np.testing.assert_allclose(irfft(spectrum, volume.shape), volume, atol=1e-12)
