"""Where a mask lies in its array."""

import numpy as np

from qsmbids.core.maths.arrays import EmptyMaskError, Float64Array, Mask

__all__ = ["bounding_box", "centroid"]


def bounding_box(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds a mask.

    Raises
    ------
    EmptyMaskError
        The mask is empty.
    """
    box = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(mask.any(axis=other))
        if hits.size == 0:
            raise EmptyMaskError("the mask is empty")
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return box[0], box[1], box[2]


def centroid(mask: Mask) -> Float64Array:
    """Return the mean position [voxels] of a mask, without a list of its voxels.

    Examples
    --------
    >>> mask = np.zeros((4, 4, 4), dtype=bool)
    >>> mask[1:3, 2, 3] = True
    >>> centroid(mask).tolist()
    [1.5, 2.0, 3.0]
    """
    counts = (np.count_nonzero(mask, axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
    return np.array([np.average(np.arange(count.size), weights=count) for count in counts])
