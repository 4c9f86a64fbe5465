"""Whether two images have the same voxels: the one tolerance for echoes, parts and given images.

Tools round affines, so that images of one scan differ by micrometres. What counts is how far the
voxels themselves lie apart, and that is largest at a corner of the volume.
"""

from collections.abc import Sequence

import nibabel as nib
import numpy as np
import numpy.typing as npt

__all__ = [
    "GRID_TOLERANCE",
    "ROUNDING_MM",
    "corner_distance",
    "difference",
    "is_same_place",
    "reoriented",
]

#: Largest distance of a voxel from its like, as a fraction of the smallest voxel edge.
GRID_TOLERANCE = 0.05

#: Distances [mm] that single precision of the header alone makes, and of which nothing is said.
ROUNDING_MM = 1e-3

Affine = npt.NDArray[np.floating]


def corner_distance(shape: Sequence[int], one: Affine, other: Affine) -> float:
    """Return the largest distance [mm] between the like voxels of two grids of one shape.

    Examples
    --------
    >>> moved = np.eye(4)
    >>> moved[0, 3] = 2.0
    >>> corner_distance((4, 4, 4), np.eye(4), moved)
    2.0
    """
    corners = np.array([(*c, 1) for c in np.ndindex(2, 2, 2)], dtype=np.float64)
    corners[:, :3] *= np.asarray(shape[:3]) - 1
    apart = corners @ (np.asarray(one, np.float64) - other)[:3].T
    return float(np.linalg.norm(apart, axis=1).max())


def is_same_place(shape: Sequence[int], one: Affine, other: Affine) -> bool:
    """Tell whether two grids of one shape lie within :data:`GRID_TOLERANCE` of each other."""
    edge = float(np.linalg.norm(np.asarray(one)[:3, :3], axis=0).min())
    return corner_distance(shape, one, other) <= GRID_TOLERANCE * edge


def reoriented(
    shape: Sequence[int], affine: Affine, target: Affine
) -> tuple[npt.NDArray[np.floating], tuple[int, ...], Affine]:
    """Return how the axes of a grid are flipped and permuted to run as those of another.

    Returns
    -------
    ornt : (3, 2) ndarray
        For :func:`nibabel.orientations.apply_orientation`.
    shape : tuple of int
    affine : (4, 4) ndarray
        Of the grid in the new order.
    """
    ornt = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.io_orientation(target)
    )
    new_shape = tuple(int(shape[int(axis)]) for axis in np.argsort(ornt[:, 0]))
    return ornt, new_shape, affine @ nib.orientations.inv_ornt_aff(ornt, tuple(shape[:3]))


def difference(
    shape: Sequence[int], affine: Affine, other_shape: Sequence[int], other_affine: Affine
) -> str:
    """Say how a grid differs from another one, "" where it is the same but for its order."""
    if tuple(shape) == tuple(other_shape) and is_same_place(shape, affine, other_affine):
        return ""
    _, shape, affine = reoriented(shape, affine, other_affine)
    if shape != tuple(other_shape):
        return f"has the matrix {_times(shape)}, the run has {_times(other_shape)}"
    if is_same_place(shape, affine, other_affine):
        return ""
    shift = (np.asarray(other_affine) - affine) @ [*(0.5 * (np.array(shape) - 1)), 1.0]
    middle = float(np.linalg.norm(shift[:3]))
    corner = corner_distance(shape, affine, other_affine)
    sizes = [np.linalg.norm(np.asarray(a)[:3, :3], axis=0) for a in (affine, other_affine)]
    voxels = ""
    if not np.allclose(sizes[0], sizes[1], rtol=0.01):
        one, two = (" x ".join(f"{v:.3g}" for v in size) for size in sizes)
        voxels = f"; its voxels are {one} mm, the run's {two} mm"
    return (
        f"lies elsewhere than the run, {middle:.3g} mm away in the middle and {corner:.3g} mm at a"
        f" corner{voxels}"
    )


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)
