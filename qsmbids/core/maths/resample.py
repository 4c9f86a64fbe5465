"""Bring labels and images onto another grid."""

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, LabelArray

__all__ = ["resample_image", "resample_labels"]


def resample_labels(
    labels: LabelArray, to_voxel: Float64Array, shape: tuple[int, int, int]
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
    _check(labels, to_voxel)
    moved = np.zeros(shape, dtype=np.int32)
    _vote(np.pad(labels.astype(np.int32), 1), np.ascontiguousarray(to_voxel, np.float64), moved)
    return moved


def resample_image(
    image: FloatArray, to_voxel: Float64Array, shape: tuple[int, int, int]
) -> Float32Array:
    """Bring an image onto another grid by trilinear interpolation, 0 outside.

    Parameters and errors as in :func:`resample_labels`.
    """
    _check(image, to_voxel)
    padded = np.pad(image.astype(np.float32), 1)
    # one voxel further, for the background around it
    offset = to_voxel[:3, 3] + 1.0
    moved: Float32Array = ndimage.affine_transform(
        padded, to_voxel[:3, :3], offset, shape, np.float32, order=1, mode="constant"
    )
    return moved


def _check(volume: npt.NDArray, to_voxel: Float64Array) -> None:
    if volume.ndim != 3:
        raise ValueError(f"the volume has {volume.ndim} axes instead of 3")
    if not np.isfinite(to_voxel).all() or abs(np.linalg.det(to_voxel[:3, :3])) < 1e-9:
        raise ValueError("the transform is singular or not finite")


@njit(cache=True)
def _vote(
    padded: npt.NDArray[np.int32], to_voxel: Float64Array, moved: npt.NDArray[np.int32]
) -> None:
    """Fill ``moved`` with the winners; ``padded`` has one voxel of background around it."""
    place, corner = np.empty(3), np.empty(3, np.int64)
    label, weight = np.empty(8, np.int32), np.empty(8)
    for x in range(moved.shape[0]):
        for y in range(moved.shape[1]):
            for z in range(moved.shape[2]):
                for a in range(3):
                    row = to_voxel[a]
                    at = row[0] * x + row[1] * y + row[2] * z + row[3] + 1.0
                    # a matrix that should be the identity leaves indices like 2.9999999
                    at = np.floor(at * 1e6 + 0.5) * 1e-6
                    at = min(max(at, 0.0), padded.shape[a] - 1.0)
                    corner[a] = min(int(at), padded.shape[a] - 2)
                    place[a] = at - corner[a]
                mixed = False
                for n in range(8):
                    i, j, k = n >> 2, (n >> 1) & 1, n & 1
                    label[n] = padded[corner[0] + i, corner[1] + j, corner[2] + k]
                    weight[n] = (
                        (place[0] if i else 1.0 - place[0])
                        * (place[1] if j else 1.0 - place[1])
                        * (place[2] if k else 1.0 - place[2])
                    )
                    mixed = mixed or label[n] != label[0]
                winner = label[0]
                if mixed:
                    best = 0.0
                    for one in range(8):
                        votes = 0.0
                        for other in range(8):
                            if label[other] == label[one]:
                                votes += weight[other]
                        if votes > best:
                            winner, best = label[one], votes
                moved[x, y, z] = winner
