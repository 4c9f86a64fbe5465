r"""What a removal of the background took of the local field, estimated and put back.

Near the rim a background cannot be told from the smooth part of the local field, and a removal V
takes both: from the field of a nucleus, too, although that can be told by its edges. With a quick
map x of what V has left, and x' what of it is finer than a few millimetres and not near the rim,

.. math:: l = V f + (D x' - V D x')

has that part whole, while the rest of the map, which may be a rest of the background, is not
reinforced. V is linear here.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.background.result import BackgroundResult
from qsmbids.core.background.smv import distance_to_border
from qsmbids.core.inversion.dipole import dipole_field
from qsmbids.core.inversion.rts import rts
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.robust import NORMAL_MAD
from qsmbids.core.maths.smoothing import (
    block_mask,
    block_means,
    block_sums,
    block_widths,
    coarse_widths,
    convolve_blocks,
    interpolate_blocks,
)

__all__ = ["finer_part", "lost_field", "lost_of_map"]

#: Standard deviation [mm] of the window of a local mean.
WINDOW_MM = 8.0
#: Values this many robust standard deviations from the local mean have a quarter of the say in it.
OUTLIER = 5.0
#: Depth [mm] below which a map counts less the nearer it is to the rim.
DEPTH_MM = 10.0
#: Side [mm] of the blocks of smaller voxels that the map is made of: what is lost is smooth.
COARSE_MM = 2.0
#: How often the local mean is found anew without what is far from it.
ROUNDS = 3

#: A linear removal: from a field on blocks of so many voxels to what is left of it, and where.
_Remove = Callable[[Float32Array, list[int]], BackgroundResult]


def lost_field(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    remove: _Remove,
    *,
    n_threads: int = 1,
) -> Float32Array:
    r"""Return what a removal has taken of the field [Hz] of what it left.

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        What the removal left [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Where that is known (Mask 4).
    weights : (X, Y, Z) ndarray
        Of the data.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    remove : callable
        The removal, linear: from a field [Hz] in the whole volume, on blocks of so many voxels
        along every axis, to what is left of it and where that is known.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        To be added to the local field [Hz]; zero outside the mask. Zero where nothing was lost,
        and in masks too thin for blocks of 2 mm.

    Raises
    ------
    ValueError
        A parameter is wrong, or the field or the weights in the mask are not finite, negative, or
        all zero.

    Notes
    -----
    The quick map is that of :mod:`qsmbids.core.inversion.rts`. A truncated division, which knows
    no weights, takes the end of the field at the rim for that of the head: for a few balls its
    estimate has a correlation of 0.2 to 0.5 with what was lost, and this one has 0.99. Voxels are
    joined to blocks of 2 mm before, for what is lost is smooth; where blocks are not known but
    their voxels are, the next known block tells.
    """
    widths = coarse_widths(voxel_size, COARSE_MM)
    size = np.asarray(voxel_size, dtype=np.float64) * widths
    coarse = block_mask(mask, widths)
    if not coarse.any():
        return np.zeros(mask.shape, dtype=np.float32)
    field, weight = (block_means(v, mask, widths) for v in (local_field, weights))
    # a map whose field is in Hz: a frequency of 1 MHz makes 1 ppm of 1 Hz
    chi = rts(
        field, coarse, weight, size, b0_direction, centre_frequency=1e6,
        n_threads=n_threads,
    ).chi  # fmt: skip
    finer = finer_part(chi, coarse, size, n_threads) * _depth(coarse, size)
    field = dipole_field(finer, size, b0_direction, n_threads=n_threads)
    return _taken(field, mask, widths, remove)


def _taken(field: Float32Array, mask: Mask, widths: list[int], remove: _Remove) -> Float32Array:
    """Return what a removal takes of a field on blocks, interpolated to the voxels of a mask."""
    try:
        left = remove(field, widths)
    except EmptyMaskError:  # no room for a sphere of blocks
        return np.zeros(mask.shape, dtype=np.float32)
    lost = _continued(field - left.local_field, left.mask)
    return np.where(mask, interpolate_blocks(lost, widths, mask.shape), np.float32(0))


def _continued(values: Float32Array, known: Mask) -> Float32Array:
    """Return the nearest known value in every voxel."""
    nearest = ndi.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def lost_of_map(
    chi: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    remove: _Remove,
    n_threads: int = 1,
) -> Float32Array:
    """Return what a removal takes of the field [ppm] of the fine part of a map [ppm].

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        A good map [ppm]: one of what the removal left, of which the rim need not be doubted.
    mask : (X, Y, Z) ndarray of bool
        Where it counts.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    remove : callable
        The removal, as for :func:`lost_field`.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        [ppm], zero outside the mask, and in masks too thin for blocks of 2 mm.
    """
    widths = coarse_widths(voxel_size, COARSE_MM)
    size = np.asarray(voxel_size, dtype=np.float64) * widths
    coarse = block_mask(mask, widths)
    if not coarse.any():
        return np.zeros(mask.shape, dtype=np.float32)
    finer = finer_part(block_means(chi, mask, widths), coarse, size, n_threads)
    field = dipole_field(finer, size, b0_direction, n_threads=n_threads)
    return _taken(field, mask, widths, remove)


def finer_part(
    volume: FloatArray, mask: Mask, voxel_size: npt.ArrayLike, n_threads: int = 1
) -> Float32Array:
    r"""Return a volume less its local mean, in which what is far from it has little say.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray
        Any unit.
    mask : (X, Y, Z) ndarray of bool
        Where it counts; not empty.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    n_threads : int

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Zero outside the mask.

    Notes
    -----
    With x' the volume less the mean, found before, and s its robust standard deviation, the
    weights of the next mean are :math:`(1 + (x' / 5s)^2)^{-2}`, those of Geman and McClure's
    estimator: the mean around a nucleus is that of the tissue, and a strong source has no halo.
    """
    box = bounding_box(mask)
    values = np.asarray(volume[box], dtype=np.float32)
    inside = mask[box]
    sigma = WINDOW_MM / np.asarray(voxel_size, dtype=np.float64)
    widths = block_widths(sigma)
    weight: FloatArray = inside.astype(np.float32)
    for _ in range(ROUNDS):
        pair = np.stack([block_sums(v, widths) for v in (weight * values, weight)], axis=-1)
        pair = convolve_blocks(pair, sigma / widths, n_threads)
        mean = pair[..., 0] / np.maximum(pair[..., 1], np.float32(1e-6))
        finer = np.where(inside, values - interpolate_blocks(mean, widths, values.shape), 0)
        spread = float(np.median(np.abs(finer[inside]))) / NORMAL_MAD
        if not spread > 0:
            break
        weight = (1 + (finer / np.float32(OUTLIER * spread)) ** 2) ** -2.0 * inside
    out = np.zeros(mask.shape, dtype=np.float32)
    out[box] = finer
    return out


def _depth(mask: Mask, voxel_size: npt.ArrayLike) -> Float32Array:
    """Return 0 at the rim of a mask to 1 in the depth."""
    size = np.asarray(voxel_size, dtype=np.float64)
    distance = distance_to_border(np.pad(mask, 1), size, DEPTH_MM)[1:-1, 1:-1, 1:-1]
    return np.minimum(distance / np.float32(DEPTH_MM), np.float32(1))
