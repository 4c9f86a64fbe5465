"""Small arithmetic that tests of several rooms need, written apart from the package."""

import numpy as np


def wrap(phase):
    """Return phase [rad] within half a turn of zero."""
    return phase - 2 * np.pi * np.rint(phase / (2 * np.pi))


def rms(values):
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


def contrast_error(estimate, truth, mask):
    """Return the relative distance in a mask; the mean of a map is not defined."""
    a, b = (v[mask] - v[mask].mean(dtype=float) for v in (estimate, truth))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def grid(shape):
    """Return the coordinates of the voxels [voxels] from the centre, along three axes."""
    return np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")


def turn(volume):
    """Return a volume with permuted axes, of which one is flipped."""
    return volume.transpose(2, 0, 1)[::-1]
