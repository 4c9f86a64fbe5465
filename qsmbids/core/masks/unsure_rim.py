"""Voxels at the rim of a mask whose phase cannot be unwrapped surely."""

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.masks.masking import largest_piece_of_each_part
from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["MOST_SHARE", "STEEP", "find_unsure_rim"]

#: Step between neighbours [turns] from which nothing tells a turn more or less: at half a turn
#: both are as likely, and the field of the voxels themselves and noise take a part of it.
STEEP = 0.4
#: Largest share of the mask that may be taken out: where more of it is steep, the phase has
#: other faults than air beside it. One echo of 25 ms at 7 T has 0.08.
MOST_SHARE = 0.2


def find_unsure_rim(
    field: FloatArray,
    mask: Mask,
    reliable: Mask,
    turn: float,
    *,
    slice_axis: int | None = None,
) -> Mask:
    """Find voxels that steep phase joins to the border of a mask, or cuts off from the rest.

    Beside air the phase changes by half a turn and more from voxel to voxel, and unwrapping, which
    asks for less, may be whole turns off there. Background removal would spread the error, so that
    such voxels are left out of it. Steep phase inside of the brain, at veins and haemorrhages, is
    left alone: sure phase is all around it, and its field is wanted.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Total field [Hz], unwrapped.
    mask : (X, Y, Z) ndarray of bool
        What background removal would get, Mask 3 eroded: a step to a voxel outside of it does no
        harm.
    reliable : (X, Y, Z) ndarray of bool
        Mask 2. Unreliable voxels are asked like others, but not returned: they are holes that
        Mask 3 has filled.
    turn : float
        By how much the field is off [Hz] where the phase that was unwrapped in space is one turn
        off: 1 / TE of the template echo.
    slice_axis : int, optional
        Across the slices of a 2-D scan: slices are not compared.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        Inside both masks; it may be more than :data:`MOST_SHARE` of the first.

    Examples
    --------
    >>> mask = np.zeros((12, 12, 12), dtype=bool)
    >>> mask[1:11, 1:11, 1:11] = True
    >>> field = np.zeros(mask.shape, dtype=np.float32)
    >>> field[1, 5, 5] = field[5, 5, 5] = 120.0
    >>> found = find_unsure_rim(field, mask, mask, 200.0)
    >>> bool(found[1, 5, 5]), bool(found[5, 5, 5]), int(found.sum())
    (True, False, 6)
    """
    found = np.zeros_like(mask)
    if not mask.any():
        return found
    box = bounding_box(mask)
    inside = np.pad(mask[box], 1)
    axes = [axis for axis in range(3) if axis != slice_axis]
    steep = _steep(np.pad(field[box], 1), inside, STEEP * turn, axes)
    if not steep.any():
        return found
    calm = inside & ~steep
    unsure = inside & ~largest_piece_of_each_part(calm, inside) if calm.any() else inside
    border = inside & ~ndi.binary_erosion(inside)
    joined = _touching(unsure, border)
    found[box] = joined[1:-1, 1:-1, 1:-1] & reliable[box]
    return found


def _steep(field: FloatArray, inside: Mask, limit: float, axes: list[int]) -> Mask:
    """Return the voxels whose field differs from that of a neighbour by more than a limit."""
    found = np.zeros_like(inside)
    for axis in axes:
        low, high = (_part(axis, *ends) for ends in ((0, -1), (1, None)))
        here = inside[low] & inside[high] & (np.abs(field[high] - field[low]) > limit)
        found[low] |= here
        found[high] |= here
    return found


def _part(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))


def _touching(pieces: Mask, target: Mask) -> Mask:
    """Return the pieces, voxels joined by faces, edges or corners, that meet a target."""
    labels: npt.NDArray[np.int32]
    labels, n_pieces = ndi.label(pieces, np.ones((3, 3, 3)))
    kept = np.zeros(n_pieces + 1, dtype=bool)
    kept[labels[target & pieces]] = True
    return np.asarray(kept[labels])
