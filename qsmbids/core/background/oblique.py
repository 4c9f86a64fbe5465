r"""Turn an oblique slab until B0 runs along an array axis, and turn results back.

The alternative to the tilted dipole kernel: the *unwrapped* total field is rotated before the
background is removed, and the susceptibility is rotated back. Never rotate wrapped phase: its
jumps of 2 pi are not continuous, and interpolated jumps are wrong values that nothing repairs.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.inversion.b0_direction import tilt_degrees
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import pad_to

__all__ = [
    "Grid",
    "from_straight",
    "mask_from_straight",
    "mask_to_straight",
    "straight_grid",
    "to_straight",
]


#: Below this tilt the corner of a head moves by less than a hundredth of a voxel.
STRAIGHT_DEGREES = 0.005
#: Zeros around the rotated mask [voxels].
MARGIN = 3
#: Zeros kept around the mask when it is cropped: the spline of its edge has died away there.
CROP = 12
#: The interpolated mask is close to one half or more wherever it is divided by.
LEAST_WEIGHT = 0.25


@dataclass(frozen=True)
class Grid:
    """An array with B0 along one axis, and where it lies in the original array.

    Attributes
    ----------
    shape : (3,) tuple of int
        Shape of the straight array.
    voxel_size : (3,) ndarray
        [mm], of the straight array.
    b0_direction : (3,) ndarray
        Plus or minus a unit vector along one axis of the straight array.
    original_shape : (3,) tuple of int
        Shape of the original array.
    matrix : (3, 3) ndarray
        Straight to original voxel indices, ``i = matrix @ j + offset``.
    offset : (3,) ndarray
        Likewise.
    """

    shape: tuple[int, int, int]
    voxel_size: Float64Array
    b0_direction: Float64Array
    original_shape: tuple[int, int, int]
    matrix: Float64Array
    offset: Float64Array

    @property
    def is_identity(self) -> bool:
        """Whether the original array is straight already."""
        return self.shape == self.original_shape and bool(np.all(self.matrix == np.eye(3)))


def straight_grid(
    shape: tuple[int, int, int],
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    mask: Mask,
    *,
    oversampling: float = 1.0,
) -> Grid:
    r"""Return the straight array that holds a mask.

    Parameters
    ----------
    shape : (3,) tuple of int
        Shape (X, Y, Z) of the original array.
    voxel_size : (3,) array_like
        [mm], along the original array axes.
    b0_direction : (3,) array_like
        Vector along the original array axes; its length does not matter.
    mask : (X, Y, Z) ndarray of bool
        What has to fit in.
    oversampling : float
        At least 1. More than 1 makes the voxels smaller by this factor: less is lost by the two
        interpolations, for more memory and time. A straight slab stays as it is.

    Returns
    -------
    Grid
        The original array itself when B0 runs along an axis already. A permuted slab
        (sagittal, coronal) is straight: no axis is exchanged.

    Raises
    ------
    ValueError
        A shape, the voxel size or the direction is wrong, or the mask is empty.

    Notes
    -----
    The rotation R is the smallest that brings the nearest axis onto B0 (Rodrigues). Along its
    axis j the voxels are

    .. math:: v'_j = \Bigl(\sum_i (R_{ij} / v_i)^2\Bigr)^{-1/2}

    so that the ellipsoid of spatial frequencies that the original voxels resolve is kept: an
    isotropic size stays as it is. The array has the volume of the original if the mask fits,
    and the mask in its middle: FANSI's regularisation weights are relative to a mean over the
    whole array, so that the share of the head in it must not change.
    """
    voxel = np.asarray(voxel_size, dtype=float)
    b0 = np.asarray(b0_direction, dtype=float)
    if len(shape) != 3 or tuple(shape) != mask.shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {tuple(shape)}")
    if voxel.shape != (3,) or not np.all(np.isfinite(voxel)) or not np.all(voxel > 0):
        raise ValueError("voxel_size must be three positive numbers")
    if b0.shape != (3,) or not np.all(np.isfinite(b0)) or not np.linalg.norm(b0) > 0:
        raise ValueError("b0_direction must be three numbers, not all zero")
    if not oversampling >= 1:
        raise ValueError("oversampling must be at least 1")
    if not mask.any():
        raise EmptyMaskError("the mask is empty")
    b0 = b0 / np.linalg.norm(b0)
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    nearest = int(np.abs(b0).argmax())
    axis = np.zeros(3)
    axis[nearest] = np.sign(b0[nearest])
    if tilt_degrees(b0) < STRAIGHT_DEGREES:
        return Grid(size, voxel, axis, size, np.eye(3), np.zeros(3))
    rotation = _smallest_rotation(axis, b0)
    straight_voxel = 1.0 / np.sqrt(((rotation / voxel[:, None]) ** 2).sum(axis=0)) / oversampling
    to_straight_index = (rotation.T * voxel) / straight_voxel[:, None]
    surface = _column_ends(mask) @ to_straight_index.T
    low = np.floor(surface.min(axis=0)) - MARGIN
    count = (np.ceil(surface.max(axis=0)) + MARGIN - low).astype(int) + 1
    share = np.prod(size * voxel) / np.prod(count * straight_voxel)
    around = np.round(count * max(0.0, share ** (1 / 3) - 1.0)).astype(int)
    count, low = count + around, low - around // 2
    matrix = rotation * straight_voxel / voxel[:, None]
    return Grid(
        shape=(int(count[0]), int(count[1]), int(count[2])),
        voxel_size=straight_voxel,
        b0_direction=axis,
        original_shape=size,
        matrix=matrix,
        offset=matrix @ low,
    )


def to_straight(
    volume: FloatArray, grid: Grid, mask: Mask, *, order: int = 3, n_threads: int = 1
) -> Float32Array:
    """Interpolate a field, magnitude or weights onto the straight array; never wrapped phase.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
        On the original array, any unit; values outside the mask are ignored.
    grid : Grid
        From :func:`straight_grid`.
    mask : (X, Y, Z) ndarray of bool
        Where the volume is known, on the original array.
    order : int
        Order of the spline, 1 to 5. Structures of a voxel or two keep most with 5: of a head of
        1 mm, turned by 30 degrees and back, the nuclei keep 98.9 % of their contrast, 98.2 %
        with 3, which is better at the border.
    n_threads : int
        Threads of the interpolation.

    Returns
    -------
    ndarray of float32
        Of shape ``grid.shape``, zero outside :func:`mask_to_straight` of the mask, and within
        the range that the volume has inside the mask (no negative weights).

    Raises
    ------
    ValueError
        A shape or the order is wrong, or the volume is not finite in the mask.

    Notes
    -----
    The interpolated product of volume and mask is divided by the interpolated mask: exact for
    a constant, and the values outside the mask do not enter. Within two voxels of the border a
    steep field is less certain.

    References
    ----------
    Kiersnowski OC, Karsa A, Wastling SJ, Thornton JS, Shmueli K. Investigating the effect of
    oblique image acquisition on the accuracy of QSM and a robust tilt correction method. Magn
    Reson Med 2023;89:1791. doi:10.1002/mrm.29550
    """
    inside = mask_to_straight(mask, grid, n_threads=n_threads)
    if volume.shape != grid.original_shape:
        raise ValueError(f"the volume has shape {volume.shape}, not {grid.original_shape}")
    return _interpolate(
        volume, mask, inside, grid.matrix, grid.offset, grid.is_identity, order, n_threads
    )


def from_straight(
    volume: FloatArray, grid: Grid, mask: Mask, *, order: int = 3, n_threads: int = 1
) -> Float32Array:
    """Interpolate a result, such as susceptibility, back onto the original array.

    Parameters
    ----------
    volume : ndarray
        Of shape ``grid.shape``; values outside the mask are ignored.
    grid : Grid
        From :func:`straight_grid`.
    mask : ndarray of bool
        Where the volume is known, on the straight array too.
    order, n_threads : int
        As in :func:`to_straight`.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Zero outside :func:`mask_from_straight` of the mask.

    Raises
    ------
    ValueError
        As in :func:`to_straight`.
    """
    inside = mask_from_straight(mask, grid, n_threads=n_threads)
    if volume.shape != grid.shape:
        raise ValueError(f"the volume has shape {volume.shape}, not {grid.shape}")
    matrix, offset = _inverse(grid)
    return _interpolate(volume, mask, inside, matrix, offset, grid.is_identity, order, n_threads)


def mask_to_straight(mask: Mask, grid: Grid, *, n_threads: int = 1) -> Mask:
    """Return where the linearly interpolated mask exceeds one half, on the straight array.

    Raises
    ------
    ValueError
        The mask does not have the shape of the original array.
    """
    if mask.shape != grid.original_shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {grid.original_shape}")
    if grid.is_identity:
        return np.array(mask, dtype=bool)
    return _resampled_mask(mask, grid.matrix, grid.offset, grid.shape, n_threads)


def mask_from_straight(mask: Mask, grid: Grid, *, n_threads: int = 1) -> Mask:
    """Return where the linearly interpolated mask exceeds one half, on the original array.

    Raises
    ------
    ValueError
        The mask does not have the shape of the straight array.
    """
    if mask.shape != grid.shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {grid.shape}")
    if grid.is_identity:
        return np.array(mask, dtype=bool)
    matrix, offset = _inverse(grid)
    return _resampled_mask(mask, matrix, offset, grid.original_shape, n_threads)


def _smallest_rotation(start: Float64Array, end: Float64Array) -> Float64Array:
    """Return the rotation of unit vector ``start`` onto ``end`` (less than 180 degrees apart)."""
    x, y, z = np.cross(start, end)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1.0 + float(start @ end))


def _column_ends(mask: Mask) -> Float64Array:
    """Return the first and last voxel of the mask in every column; they hold its convex hull."""
    x, y = np.nonzero(mask.any(axis=2))
    columns = mask[x, y]
    first = columns.argmax(axis=1)
    last = mask.shape[2] - 1 - columns[:, ::-1].argmax(axis=1)
    return np.vstack([np.column_stack([x, y, first]), np.column_stack([x, y, last])]).astype(float)


def _inverse(grid: Grid) -> tuple[Float64Array, Float64Array]:
    """Return original to straight voxel indices."""
    inverse = np.linalg.inv(grid.matrix).astype(np.float64)
    return inverse, -inverse @ grid.offset


def _interpolate(
    volume: FloatArray,
    mask: Mask,
    inside: Mask,
    matrix: Float64Array,
    offset: Float64Array,
    identity: bool,
    order: int,
    n_threads: int,
) -> Float32Array:
    """Sample the masked volume at ``matrix @ j + offset`` for the voxels j of ``inside``."""
    if order not in range(1, 6):
        raise ValueError("order must be 1 to 5")
    known = volume[mask]
    if not np.all(np.isfinite(known)):
        raise ValueError("the volume is not finite in the mask")
    if identity:
        return np.where(mask, volume, 0).astype(np.float32)
    if not inside.any():
        return np.zeros(inside.shape, np.float32)
    low, high, mean = known.min(), known.max(), np.float32(known.mean(dtype=np.float64))
    source, result = _box(mask, CROP), _box(inside, 0)
    start = offset + matrix @ _corner(result) - _corner(source)
    support = mask[source].astype(np.float32)
    values = np.where(mask[source], volume[source] - mean, 0).astype(np.float32)
    wanted = inside[result]

    def sampled(samples: Float32Array) -> Float32Array:
        spline = samples
        if order > 1:
            spline = ndi.spline_filter(samples, order=order, output=np.float32, mode="mirror")
        return _affine(spline, matrix, start, wanted.shape, order, n_threads, wanted)

    out, weight = sampled(values), sampled(support)
    np.divide(out, weight, out=out, where=weight > LEAST_WEIGHT)
    out = np.clip(out + mean, low, high)
    out[~wanted] = 0.0
    return pad_to(out, inside.shape, tuple(b.start for b in result))


def _box(mask: Mask, margin: int) -> tuple[slice, ...]:
    """Return the bounding box of a mask with a margin inside the array."""
    return tuple(
        slice(max(0, b.start - margin), min(n, b.stop + margin))
        for b, n in zip(bounding_box(mask), mask.shape, strict=True)
    )


def _corner(box: tuple[slice, ...]) -> Float64Array:
    return np.array([b.start for b in box], dtype=float)


def _resampled_mask(
    mask: Mask, matrix: Float64Array, offset: Float64Array, shape: tuple[int, ...], n_threads: int
) -> Mask:
    return _affine(mask.astype(np.float32), matrix, offset, shape, 1, n_threads) > 0.5


def _affine(
    spline: Float32Array,
    matrix: Float64Array,
    offset: Float64Array,
    shape: tuple[int, ...],
    order: int,
    n_threads: int,
    inside: Mask | None = None,
) -> Float32Array:
    """Sample a filtered spline at ``matrix @ j + offset``, a slab of voxels j at a time."""
    out = np.zeros(shape, np.float32)

    def sample(planes: slice) -> None:
        box = (planes, slice(0, shape[1]), slice(0, shape[2]))
        if inside is not None:  # most slabs of a head need far less than the whole plane
            part = ndi.find_objects(inside[planes].view(np.uint8), max_label=1)[0]
            if part is None:
                return
            box = (planes, part[1], part[2])
        start = matrix @ np.array([b.start for b in box], dtype=float) + offset
        ndi.affine_transform(
            spline,
            matrix,
            offset=start,
            output=out[box],
            output_shape=tuple(b.stop - b.start for b in box),
            order=order,
            mode="constant",
            prefilter=False,
        )

    slabs: Iterable[slice] = [slice(i, min(i + 4, shape[0])) for i in range(0, shape[0], 4)]
    with ThreadPoolExecutor(max(1, n_threads)) as pool:
        list(pool.map(sample, slabs))
    return out
