"""Slices of DICOM as a grid, and voxels of an image in the order of those slices.

DICOM counts columns, rows and slices, in axes to the left, posterior and superior of the patient;
the affines here are to the right, anterior and superior, as everywhere else.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qsmbids.errors import InputError
from qsmbids.io.grids import difference, is_same_place

__all__ = ["Affine", "grid_affine", "in_order_of", "slice_order"]

Affine = npt.NDArray[np.float64]

#: From left, posterior, superior to right, anterior, superior, and back.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Slices whose distances differ by more are no grid [mm].
_UNEVEN_MM = 0.05


def slice_order(
    positions: Sequence[Sequence[float]], orientation: Sequence[float]
) -> npt.NDArray[np.intp]:
    """Return the order of slices along their normal: as they come where that is monotonic.

    Parameters
    ----------
    positions : sequence of (3,) sequence of float
        Image positions (patient) [mm], in the order in which the images are numbered.
    orientation : (6,) sequence of float
        Image orientation (patient).

    Returns
    -------
    ndarray of int
        Falling along the normal where the images are numbered so, else rising.
    """
    along = np.asarray(positions, dtype=float) @ _normal(orientation)
    order = np.argsort(along, kind="stable")
    numbers = np.arange(len(along))
    falls = len(along) > 1 and np.corrcoef(numbers, along)[0, 1] < 0
    return order[::-1] if falls else order


def grid_affine(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    spacing: Sequence[float],
    thickness: float,
) -> Affine:
    """Return the affine of slices: from column, row and slice to scanner RAS+ [mm].

    Parameters
    ----------
    positions : sequence of (3,) sequence of float
        In the order of the slices.
    orientation : (6,) sequence of float
    spacing : (2,) sequence of float
        Pixel spacing as DICOM has it: between rows, between columns.
    thickness : float
        Distance of slices, for a single one.

    Raises
    ------
    ValueError
        The slices are not evenly spaced along one line.
    """
    places = np.asarray(positions, dtype=float)
    axes = np.asarray(orientation, dtype=float)
    if len(places) > 1:
        step = (places[-1] - places[0]) / (len(places) - 1)
        even = places[0] + np.arange(len(places))[:, None] * step
        if np.abs(places - even).max() > _UNEVEN_MM or not np.linalg.norm(step) > 0:
            raise ValueError("its slices are not evenly spaced")
    else:
        step = thickness * _normal(orientation)
    affine = np.eye(4)
    affine[:3, 0] = axes[:3] * float(spacing[1])
    affine[:3, 1] = axes[3:] * float(spacing[0])
    affine[:3, 2] = step
    affine[:3, 3] = places[0]
    return np.asarray(_LPS_TO_RAS @ affine)


def in_order_of(
    array: npt.NDArray,
    affine: Affine,
    shape: Sequence[int],
    target: Affine,
    where: str,
) -> npt.NDArray:
    """Return the voxels of an image with the axes of a grid of the same voxels.

    Axes are flipped and exchanged, and nothing is interpolated.

    Parameters
    ----------
    array : (X, Y, Z) ndarray
    affine : (4, 4) ndarray
    shape : (3,) sequence of int
    target : (4, 4) ndarray
        Of the grid.
    where : str
        The file, for the message.

    Returns
    -------
    ndarray
        Of ``shape``.

    Raises
    ------
    InputError
        The image has other voxels.
    """
    turned, moved = _turned(array, affine, target)
    if turned is None or turned.shape != tuple(shape) or not is_same_place(shape, moved, target):
        how = difference(array.shape, affine, shape, target) or "has other voxels"
        raise InputError(f"{how}; as DICOM it has to lie where its source does", where)
    return turned


def _turned(
    array: npt.NDArray, affine: Affine, target: Affine
) -> tuple[npt.NDArray | None, Affine]:
    """Exchange and flip axes so that they run as those of the target; None if they cannot.

    The nearest signed permutation is that of the rounded matrix from one grid to the other. Slabs
    near 45 degrees, for which a name such as "RAS" is a matter of rounding, need no more.
    """
    axes = np.rint(np.linalg.solve(target[:3, :3], affine[:3, :3]))
    if not (np.abs(axes).sum(axis=0) == 1).all() or not (np.abs(axes).sum(axis=1) == 1).all():
        return None, affine
    order = [int(np.argmax(np.abs(row))) for row in axes]  # of each new axis, the old one
    change = np.zeros((4, 4))
    change[3, 3] = 1.0
    out = array.transpose(order)
    for new, old in enumerate(order):
        change[old, new] = axes[new, old]
        if axes[new, old] < 0:
            out = np.flip(out, axis=new)
            change[old, 3] = array.shape[old] - 1
    return out, affine @ change


def _normal(orientation: Sequence[float]) -> npt.NDArray[np.float64]:
    axes = np.asarray(orientation, dtype=float)
    return np.cross(axes[:3], axes[3:])
