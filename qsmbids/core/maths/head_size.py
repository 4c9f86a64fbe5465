"""Heads too small for what was made for adults: brain extraction, and lengths in millimetres.

Rodents are scanned with as many voxels as people, each a tenth as long.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["SMALL_HEAD_MM", "is_small_head", "length_scale"]

#: The second largest edge of a field of view [mm]; a slab of a human head is thin along one axis
#: alone. An infant's head is wider than 80 mm, a rat's field of view is about 30 mm.
SMALL_HEAD_MM = 35.0

#: That edge [mm] for an adult head, for which the lengths of the settings were found.
_ADULT_MM = 200.0


def is_small_head(extents: npt.ArrayLike) -> bool:
    """Tell whether a field of view is too small for a human head.

    Parameters
    ----------
    extents : (3,) array_like
        Edges of the field of view [mm].

    Examples
    --------
    >>> is_small_head((6.4, 7.2, 5.6)), is_small_head((180.0, 220.0, 20.0))
    (True, False)
    """
    return _second(extents) < SMALL_HEAD_MM


def length_scale(extents: npt.ArrayLike) -> float:
    """Return the factor for lengths [mm] of the settings: 1 but for small heads.

    Examples
    --------
    >>> length_scale((180.0, 220.0, 20.0)), length_scale((20.0, 20.0, 10.0))
    (1.0, 0.1)
    """
    return _second(extents) / _ADULT_MM if is_small_head(extents) else 1.0


def _second(extents: npt.ArrayLike) -> float:
    return float(np.sort(np.asarray(extents, dtype=np.float64))[1])
