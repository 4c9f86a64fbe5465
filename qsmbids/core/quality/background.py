"""Background field that was left, and the shadows that it makes in the susceptibility map."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from qsmbids.core.masks.masking import erode
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["harmonic_part", "rim_difference", "shadowing"]


_MOST_SAMPLES = 60_000


def harmonic_part(field: FloatArray, mask: Mask, voxel_size: npt.ArrayLike) -> float:
    """Return the standard deviation of the part of a field that is a harmonic polynomial.

    A field of sources outside the mask is harmonic in it; its smoothest part are the solid
    harmonics of low degree. Tissue makes nearly none of it.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Local field, any unit.
    mask : (X, Y, Z) ndarray of bool
        Where it is known.
    voxel_size : (3,) array_like
        [mm].

    Returns
    -------
    float
        In the unit of the field, of degrees 1 to 3 (15 terms); NaN for a mask of fewer than 100
        voxels.

    Raises
    ------
    ValueError
        Shapes differ.
    """
    if field.shape != mask.shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {field.shape}")
    where = np.flatnonzero(mask)
    if where.size < 100:
        return float("nan")
    where = where[:: max(1, where.size // _MOST_SAMPLES)]
    values = field.reshape(-1)[where].astype(np.float64)
    values -= values.mean()
    voxel = np.asarray(voxel_size, dtype=float)
    place = np.stack(np.unravel_index(where, mask.shape)) * voxel[:, None]
    place -= place.mean(axis=1, keepdims=True)
    x, y, z = place / np.abs(place).max()
    terms = _solid_harmonics(x, y, z)
    terms -= terms.mean(axis=0)
    solution = np.linalg.lstsq(terms, values, rcond=None)[0]
    return float(np.std(terms @ solution))


def _solid_harmonics(x: FloatArray, y: FloatArray, z: FloatArray) -> Float64Array:
    """Return the (N, 15) polynomials of degree 1 to 3 whose Laplacian is zero."""
    r2 = x * x + y * y + z * z
    terms = [
        x, y, z,
        x * y, y * z, z * x, x * x - y * y, 3 * z * z - r2,
        x * y * z, z * (x * x - y * y), x * (x * x - 3 * y * y), y * (3 * x * x - y * y),
        x * (5 * z * z - r2), y * (5 * z * z - r2), z * (5 * z * z - 3 * r2),
    ]  # fmt: skip
    return np.stack(terms, axis=1)


def shadowing(
    chi: FloatArray, mask: Mask, voxel_size: npt.ArrayLike, *, smoothing_mm: float = 8.0
) -> float:
    """Return the standard deviation [ppm] of the map after smoothing.

    Shadows are broader than any nucleus: of the anatomy, a Gaussian of 8 mm leaves little.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility [ppm], any reference.
    mask : (X, Y, Z) ndarray of bool
        Where it is known; smoothing is normalised by the mask, so that its rim is no slope.
    voxel_size : (3,) array_like
        [mm].
    smoothing_mm : float
        Of the Gaussian.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        The mask is empty.
    """
    box = bounding_box(mask)
    # every second or third voxel is enough for what is 8 mm wide, after a mean over the block
    step = [max(1, int(smoothing_mm / 4.0 / v)) for v in np.asarray(voxel_size, dtype=float)]
    inside = mask[box]
    weight = _block_sums(inside.astype(np.float32), step)
    value = _block_sums(np.where(inside, chi[box], 0).astype(np.float32), step)
    sigma = [smoothing_mm / (v * s) for v, s in zip(np.asarray(voxel_size), step, strict=True)]
    value, share = (gaussian_filter(a, sigma, mode="constant") for a in (value, weight))
    used = weight >= 0.5 * np.prod(step)
    if not used.any():
        return float("nan")
    return float(np.std((value[used] / share[used]).astype(np.float64)))


def rim_difference(
    chi: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    rim_mm: float = 4.0,
    centre_mm: float = 12.0,
) -> float:
    """Return the median of the map at the rim less that of the inside [ppm].

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility [ppm], any reference.
    mask : (X, Y, Z) ndarray of bool
        Where it is known.
    voxel_size : (3,) array_like
        [mm].
    rim_mm, centre_mm : float
        Distances from the outside up to which, and from which, voxels count.

    Returns
    -------
    float
        NaN if the mask is too thin to have an inside.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    step = tuple(slice(None, None, s) for s in _strides(mask, voxel_size))
    box = bounding_box(mask)
    inside, values = mask[box][step], chi[box][step]
    voxel = np.asarray(voxel_size, dtype=float) * [s.step for s in step]
    rim = inside & ~erode(inside, rim_mm, voxel)
    centre = erode(inside, centre_mm, voxel)
    if np.count_nonzero(centre) < 50 or np.count_nonzero(rim) < 50:
        return float("nan")
    return float(np.median(values[rim]) - np.median(values[centre]))


def _strides(mask: Mask, voxel_size: npt.ArrayLike) -> list[int]:
    """Return steps that leave voxels of at most 2 mm."""
    return [max(1, int(2.0 / v)) for v in np.asarray(voxel_size, dtype=float)]


def _block_sums(volume: Float32Array, step: list[int]) -> Float32Array:
    """Sum over blocks; zeros are put behind the last."""
    pad = [(0, -n % s) for n, s in zip(volume.shape, step, strict=True)]
    padded = np.pad(volume, pad)
    shape = [k for n, s in zip(padded.shape, step, strict=True) for k in (n // s, s)]
    return np.asarray(padded.reshape(shape).sum(axis=(1, 3, 5)))
