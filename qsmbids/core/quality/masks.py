"""Whether the masks look like a brain: volume, holes, channels, and what lies at the rim."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from qsmbids.core.masks.masking import erode
from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["channel_fraction", "removed_fraction", "rim_fraction", "volume_ml"]


def volume_ml(mask: Mask, voxel_size: npt.ArrayLike) -> float:
    """Return the volume of a mask [ml] for a voxel size [mm]."""
    return float(np.count_nonzero(mask) * np.prod(np.asarray(voxel_size, dtype=float)) / 1000.0)


def removed_fraction(before: Mask, after: Mask) -> float:
    """Return the part of a mask that a step took away; NaN if there was nothing before it."""
    n = np.count_nonzero(before)
    return float(np.count_nonzero(before & ~after) / n) if n else float("nan")


def channel_fraction(mask: Mask, voxel_size: npt.ArrayLike, *, closing_mm: float = 4.0) -> float:
    """Return the volume of gaps that are open to the outside, relative to the mask.

    Filled holes do no harm to background removal, but a channel from the surface into the brain
    or a notch of the rim does: spheres cannot enter the tissue around it.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        Mask 3.
    voxel_size : (3,) array_like
        [mm].
    closing_mm : float
        Gaps of up to twice this width are found, by a closing with a sphere of this radius.

    Returns
    -------
    float
        NaN for an empty mask.
    """
    if not mask.any():
        return float("nan")
    voxel = np.asarray(voxel_size, dtype=float)
    # beyond the array counts as outside in both erosions: wide enough that the two never meet
    margin = [2 * int(np.ceil(closing_mm / v)) + 2 for v in voxel]
    inside = np.pad(mask[bounding_box(mask)], [(m, m) for m in margin])
    # the closing is the complement of an opening of the outside: erosions of one mask alone
    grown = ~erode(~inside, closing_mm, voxel)
    closed = erode(grown, closing_mm, voxel)
    gaps = closed & ~inside
    if not gaps.any():
        return 0.0
    # a single layer of voxels in the steps of a digital surface is no gap
    deep = gaps & ~_touches_far_outside(closed)
    labels, count = label(gaps)
    if count == 0:
        return 0.0
    sizes_inside = np.bincount(labels[deep], minlength=count + 1)
    sizes_inside[0] = 0
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    return float(sizes[sizes_inside > 0].sum() / np.count_nonzero(inside))


def _touches_far_outside(closed: Mask) -> Mask:
    """Return the outermost two layers of voxels of a mask."""
    return np.asarray(closed & ~erode(closed, 2.0))


def rim_fraction(
    values: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    above: float | None = None,
    below: float | None = None,
    rim_mm: float = 3.0,
) -> float:
    """Return the part of the rim of a mask with values that brain does not have.

    Parameters
    ----------
    values : (X, Y, Z) ndarray
        R2* or magnitude.
    mask : (X, Y, Z) ndarray of bool
        Of the brain.
    voxel_size : (3,) array_like
        [mm].
    above, below : float, optional
        Voxels count with values above the one, or below the other.
    rim_mm : float
        Depth of the rim.

    Returns
    -------
    float
        NaN for an empty rim.
    """
    if not mask.any():
        return float("nan")
    box = bounding_box(mask)
    inside = mask[box]
    rim = values[box][inside & ~erode(inside, rim_mm, voxel_size)]
    if rim.size == 0:
        return float("nan")
    odd = np.zeros(rim.shape, dtype=bool)
    if above is not None:
        odd |= rim > above
    if below is not None:
        odd |= rim < below
    return float(odd.mean())
