"""Phase as scanners filter it for susceptibility weighting: homodyne, slice by slice."""

import numpy as np


def filtered(signal: np.ndarray, share: float = 0.25) -> np.ndarray:
    """Return echoes (E, X, Y, Z) whose phase lost what the centre of k-space holds.

    ``share`` is that of the samples along each axis of the slice, under a Hann window; usual are
    64 to 96 of 256.
    """
    axes = (1, 2)
    window = np.ones((1, 1, 1, 1))
    for axis in axes:
        n = signal.shape[axis]
        inner = max(4, round(share * n))
        weights = np.zeros(n)
        start = (n - inner) // 2
        weights[start : start + inner] = np.hanning(inner + 2)[1:-1]
        window = window * weights.reshape([n if a == axis else 1 for a in range(4)])
    centre = np.fft.fftshift(np.fft.fftn(signal, axes=axes), axes=axes) * window
    smooth = np.fft.ifftn(np.fft.ifftshift(centre, axes=axes), axes=axes)
    return np.abs(signal) * np.exp(1j * np.angle(signal * np.conj(smooth)))
