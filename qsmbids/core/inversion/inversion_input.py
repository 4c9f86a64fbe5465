"""What every inversion asks of its volumes."""

import numpy as np

from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["check_finite", "check_inversion"]


def check_inversion(local_field: FloatArray, mask: Mask, weights: FloatArray) -> None:
    """Check what every inversion is given.

    Raises
    ------
    ValueError
        The shapes differ, the mask is empty, or the field or the weights in it are not finite,
        negative, or all zero.
    """
    if local_field.ndim != 3 or not local_field.shape == mask.shape == weights.shape:
        raise ValueError("the field, the mask and the weights must be the same 3-D volume")
    check_finite(mask, field=local_field, weights=weights)
    box = bounding_box(mask)
    inside = weights[box][mask[box]]
    if inside.min() < 0 or inside.max() <= 0:
        raise ValueError("the weights must be >= 0, and not 0 in the whole mask")


def check_finite(mask: Mask, **volumes: FloatArray) -> None:
    """Check that volumes are finite in a mask.

    Raises
    ------
    ValueError
        One is not, and which; or the mask is empty.
    """
    box = bounding_box(mask)
    inside = mask[box]
    for name, volume in volumes.items():
        if not np.isfinite(volume[box][inside]).all():
            raise ValueError(f"the {name} must be finite in the mask")
