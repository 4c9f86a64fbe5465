"""Bring labels and images onto another grid."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["resample_image", "resample_labels"]

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]
_CORNERS = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]


def resample_labels(
    labels: Labels, to_voxel: Matrix, shape: tuple[int, int, int]
) -> npt.NDArray[np.int32]:
    """Bring a segmentation onto another grid; labels are voted for, never averaged.

    Parameters
    ----------
    labels : (X, Y, Z) ndarray of int
        0 is background.
    to_voxel : (4, 4) ndarray
        From voxel indices of the new grid to those of ``labels``.
    shape : (3,) tuple of int
        Of the new grid.

    Returns
    -------
    ndarray of int32
        Of that shape. Each voxel has the label with the largest sum of trilinear weights among
        the eight nearest voxels, which is linear interpolation of every region on its own; 0
        beyond the first and last voxel of ``labels``, which are never repeated or wrapped. Of
        equal sums, that of the voxel with the lowest indices counts.

    Raises
    ------
    ValueError
        The labels are no integers or not 3-D, or the matrix is singular or not finite.

    Examples
    --------
    >>> labels = np.zeros((4, 4, 4), np.int32)
    >>> labels[1:3] = 17
    >>> half = np.diag([0.5, 1, 1, 1])
    >>> resample_labels(labels, half, (8, 4, 4))[:, 1, 1].tolist()
    [0, 0, 17, 17, 17, 17, 0, 0]
    """
    if labels.dtype.kind not in "iu":
        raise ValueError("labels must be integers")
    padded = _padded(labels.astype(np.int32), to_voxel)
    moved = np.zeros(shape, dtype=np.int32)
    for slab, corner, fraction in _slabs(padded.shape, to_voxel, shape):
        neighbours = [_at(padded, corner, c) for c in _CORNERS]
        result = neighbours[0].copy()
        mixed = np.zeros(result.shape, dtype=bool)
        for other in neighbours[1:]:
            mixed |= other != result
        if mixed.any():
            given = np.stack([n[mixed] for n in neighbours])
            weights = np.stack([_weight(fraction[:, mixed], c) for c in _CORNERS])
            votes = np.stack([(weights * (given == one)).sum(axis=0) for one in given])
            winner = np.argmax(votes, axis=0)
            result[mixed] = given[winner, np.arange(winner.size)]
        moved[slab] = result
    return moved


def resample_image(
    image: npt.NDArray[np.floating], to_voxel: Matrix, shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Bring an image onto another grid by trilinear interpolation, 0 outside.

    Parameters and errors as in :func:`resample_labels`.
    """
    padded = _padded(image.astype(np.float32), to_voxel)
    moved = np.zeros(shape, dtype=np.float32)
    for slab, corner, fraction in _slabs(padded.shape, to_voxel, shape):
        moved[slab] = sum(_weight(fraction, c) * _at(padded, corner, c) for c in _CORNERS)
    return moved


def _padded(volume: npt.NDArray, to_voxel: Matrix) -> npt.NDArray:
    """Return the volume with one voxel of background around it, where all that is outside ends."""
    if volume.ndim != 3:
        raise ValueError(f"the volume has {volume.ndim} axes instead of 3")
    if not np.isfinite(to_voxel).all() or abs(np.linalg.det(to_voxel[:3, :3])) < 1e-9:
        raise ValueError("the transform is singular or not finite")
    return np.pad(volume, 1)


def _slabs(
    padded: tuple[int, ...], to_voxel: Matrix, shape: tuple[int, int, int]
) -> Iterator[tuple[slice, npt.NDArray[np.intp], npt.NDArray[np.float64]]]:
    """Yield, slab by slab, where each new voxel lies in the padded volume."""
    thickness = max(1, 2**18 // max(1, shape[1] * shape[2]))
    last = np.array(padded).reshape(3, 1, 1, 1) - 1.0
    for first in range(0, shape[0], thickness):
        slab = slice(first, min(first + thickness, shape[0]))
        grid = np.mgrid[slab, : shape[1], : shape[2]].astype(np.float64)
        place = np.tensordot(to_voxel[:3, :3], grid, axes=1) + to_voxel[:3, 3].reshape(3, 1, 1, 1)
        # a matrix that should be the identity leaves indices like 2.9999999
        place = np.clip(np.round(place, 6) + 1.0, 0.0, last)
        corner = np.minimum(np.floor(place), last - 1.0)
        yield slab, corner.astype(np.intp), place - corner


def _at(volume: npt.NDArray, corner: npt.NDArray, offset: tuple[int, int, int]) -> npt.NDArray:
    return volume[corner[0] + offset[0], corner[1] + offset[1], corner[2] + offset[2]]


def _weight(fraction: npt.NDArray, offset: tuple[int, int, int]) -> npt.NDArray:
    """Return the trilinear weight of one of the eight corners."""
    weight = np.ones(fraction.shape[1:])
    for axis, step in enumerate(offset):
        weight = weight * (fraction[axis] if step else 1.0 - fraction[axis])
    return weight
