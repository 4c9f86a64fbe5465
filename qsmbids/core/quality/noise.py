"""Noise of field and susceptibility from the maps themselves, and ghosts of the magnitude."""

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes

from qsmbids.core.field.echo_combination import noise_std
from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["ghosting", "noise_of_map"]


def noise_of_map(volume: FloatArray, mask: Mask) -> float:
    """Return the standard deviation of the noise of a map.

    Third differences along the three axes remove what is smooth, and the median of their
    absolute values ignores vessels and borders.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
        Any unit.
    mask : (X, Y, Z) ndarray of bool
        Where it is known.

    Returns
    -------
    float
        In the unit of the map; NaN if the mask holds no block of 4 x 4 x 4 voxels. White noise is
        assumed: of a susceptibility map, which the inversion smooths, it is the part that varies
        from voxel to voxel.
    """
    try:
        return noise_std(np.where(mask, volume, 0), mask)
    except ValueError:
        return float("nan")


def ghosting(magnitude: FloatArray, brain: Mask) -> float:
    r"""Return the ghost-to-signal ratio of a magnitude image.

    A ghost lies half a field of view away along an axis of phase encoding. Its intensity is that
    of the background where the shifted brain would be, less that of the rest of the background.

    Parameters
    ----------
    magnitude : (X, Y, Z) ndarray
        Combined magnitude, with its background.
    brain : (X, Y, Z) ndarray of bool
        Mask 1.

    Returns
    -------
    float
        The largest over the axes, relative to the median of the brain; NaN where the head fills
        the field of view or the background was removed.

    References
    ----------
    Ghost-to-signal ratio of Giannelli et al., J Appl Clin Med Phys 2010;11:3237,
    doi:10.1120/jacmp.v11i4.3237.
    """
    if magnitude.shape != brain.shape or not brain.any():
        raise ValueError("the mask is empty or does not fit the image")
    thin = tuple(slice(None, None, max(1, n // 64)) for n in brain.shape)
    image, inside = magnitude[thin].astype(np.float32), brain[thin]
    if not inside.any():
        return float("nan")
    signal = float(np.median(image[inside]))
    # the head with skin and fat; two voxels more for blur and Gibbs ringing
    head = binary_dilation(binary_fill_holes(image > 0.15 * signal), iterations=2) | inside
    air = ~head & (image > 0)
    ratios = []
    for axis, length in enumerate(head.shape):
        # skin and fat would make weak ghosts of their own: between the two nothing is taken
        ghost = air & np.roll(inside, length // 2, axis=axis)
        rest = air & ~np.roll(head, length // 2, axis=axis)
        if min(np.count_nonzero(ghost), np.count_nonzero(rest)) >= 200:
            difference = np.mean(image[ghost], dtype=float) - np.mean(image[rest], dtype=float)
            ratios.append(float(difference) / signal)
    return max(ratios, default=float("nan"))
