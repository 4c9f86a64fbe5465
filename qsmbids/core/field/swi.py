r"""Susceptibility-weighted images: a magnitude that is dark where the source is paramagnetic.

References
----------
.. [1] Eckstein K, Bachrata B, Hangel G, et al. Improved susceptibility weighted imaging at
   ultra-high field using bipolar multi-echo acquisition and optimized image processing:
   CLEAR-SWI. NeuroImage 2021;237:118175. doi:10.1016/j.neuroimage.2021.118175
.. [2] Gho SM, Liu C, Li W, et al. Susceptibility map-weighted imaging (SMWI) for neuroimaging.
   Magn Reson Med 2014;72:337-346. doi:10.1002/mrm.24920
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.smoothing import smooth_complex

__all__ = [
    "even_magnitude",
    "high_pass",
    "minimum_projection",
    "phase_mask",
    "susceptibility_mask",
]


#: Sharpness of the softplus: below its knee a signal is pressed down, above it is kept.
_SOFTPLUS_FACTOR = 2.0
#: Share of the local mean below or above which a voxel says nothing about the receive field.
_TISSUE_RANGE = (0.6, 1.5)


def even_magnitude(
    magnitude: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    smoothing_mm: float = 16.0,
    n_threads: int = 1,
) -> Float32Array:
    r"""Return a magnitude without receive bias, about 1 in tissue and pressed down below it.

    The bias is the Gaussian mean of the voxels that resemble their surroundings. The even signal
    x then passes

    .. math:: s(x) = \frac{x_0}{k} \log\left(1 + e^{k (x / x_0 - 1)}\right) - s(0),

    with k = 2 and x_0 half of its 80th percentile, which deepens what is dark.

    Parameters
    ----------
    magnitude : (X, Y, Z) ndarray
        Combined over the echoes, any unit.
    mask : (X, Y, Z) ndarray of bool
    voxel_size : (3,) array_like
        [mm].
    smoothing_mm : float
        Width [mm] of the Gaussian: wider than structures, narrower than the receive field.
    n_threads : int

    Returns
    -------
    (X, Y, Z) ndarray of float32
        1 at the 80th percentile, 0 outside the mask; the same for any scale of ``magnitude``.

    Raises
    ------
    ValueError
        Unequal shapes, an empty mask, no signal in it, a width that is not positive.
    """
    box = _checked_box(magnitude, mask)
    sigma = smoothing_mm / _positive(voxel_size, "voxel size")
    if not smoothing_mm > 0:
        raise ValueError(f"smoothing {smoothing_mm} must be positive")
    inside = mask[box]
    signal = np.where(inside, magnitude[box], 0).astype(np.float32)
    level = float(np.mean(signal[inside], dtype=np.float64))
    if not level > 0:
        raise ValueError("there is no signal in the mask")
    signal /= np.float32(level)
    use, bias = inside, np.ones_like(signal)
    for _ in range(2):
        # the sum of the signal and the number of voxels it is over, in one pass
        both = np.where(use, signal, 0) + 1j * use.astype(np.float32)
        both = smooth_complex(both.astype(np.complex64), sigma, n_threads)
        known = both.imag > 1e-6
        np.divide(both.real, both.imag, out=bias, where=known)
        low, high = (np.float32(share) * bias for share in _TISSUE_RANGE)
        use = inside & known & (signal > low) & (signal < high)
        if not use.any():  # no two voxels alike: the first mean is all there is
            break
    even = signal / np.maximum(bias, np.float32(1e-6))
    top = float(np.percentile(even[inside], 80))
    knee = 0.5 * top
    floor = float(np.logaddexp(0.0, -_SOFTPLUS_FACTOR))
    scale = float(np.logaddexp(0.0, _SOFTPLUS_FACTOR * (top / knee - 1.0))) - floor
    bent = np.logaddexp(np.float32(0), _SOFTPLUS_FACTOR * (even / np.float32(knee) - 1)) - floor
    return _into(mask, box, np.where(inside, bent / scale, 0))


def high_pass(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    smoothing_mm: float = 4.0,
    slice_axis: int = 2,
) -> Float32Array:
    """Return a field less its Gaussian mean over the voxels of the mask in the same slice.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Unwrapped phase or field, any unit.
    mask : (X, Y, Z) ndarray of bool
    voxel_size : (3,) array_like
        [mm].
    smoothing_mm : float
        Width [mm]. Nothing is smoothed along ``slice_axis`` [1]_.
    slice_axis : int
        0, 1 or 2.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Unit of ``field``; 0 outside the mask.

    Raises
    ------
    ValueError
        Unequal shapes, an empty mask, an axis that there is not, a width that is not positive.
    """
    box = _checked_box(field, mask)
    sigma = smoothing_mm / _positive(voxel_size, "voxel size")
    if not smoothing_mm > 0 or slice_axis not in (0, 1, 2):
        raise ValueError(
            f"smoothing {smoothing_mm} must be positive and the axis {slice_axis} 0 to 2"
        )
    sigma[slice_axis] = 0.0
    inside = mask[box]
    values = np.where(inside, field[box], 0).astype(np.float32)
    total = ndimage.gaussian_filter(values, sigma, mode="constant")
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="constant")
    mean = np.divide(total, share, out=np.zeros_like(total), where=inside)
    return _into(mask, box, np.where(inside, values - mean, 0))


def phase_mask(phase: FloatArray, mask: Mask, *, strength: float = 4.0) -> Float32Array:
    r"""Return the factor that darkens positive phase: :math:`(1 + \tanh(1 - p / m)) / 2`.

    m is 10 / ``strength`` times the median of the positive phase, so that the factor is the same
    for any unit and echo time [1]_. Positive phase is that of a higher field.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        High-pass filtered phase or field, any unit, growing with the field.
    mask : (X, Y, Z) ndarray of bool
    strength : float
        Larger is darker.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 to 1, 0.88 where the phase is zero; 1 outside the mask.

    Raises
    ------
    ValueError
        Unequal shapes, an empty mask, a strength that is not positive.
    """
    _checked_box(phase, mask)
    if not strength > 0:
        raise ValueError(f"strength {strength} must be positive")
    positive = phase[mask & (phase > 0)]
    out = np.ones(mask.shape, dtype=np.float32)
    scale = 10.0 / strength * float(np.median(positive)) if positive.size else 1.0
    out[mask] = 0.5 * (1.0 + np.tanh(1.0 - phase[mask] / np.float32(scale)))
    return out


def susceptibility_mask(
    chi: FloatArray, *, limit_ppm: float = 1.0, power: float = 4.0
) -> Float32Array:
    """Return the factor that darkens paramagnetic voxels [2]_.

    1 where chi is zero or diamagnetic, from there linear to 0 at ``limit_ppm``, to a power.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Referenced susceptibility [ppm].
    limit_ppm : float
        [ppm]; 1 in [2]_.
    power : float
        4 in [2]_.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 to 1.

    Raises
    ------
    ValueError
        A limit or power that is not positive.

    Examples
    --------
    >>> susceptibility_mask(np.array([-1.0, 0.0, 0.5, 2.0]), power=1).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """
    if not (limit_ppm > 0 and power > 0):
        raise ValueError(f"limit {limit_ppm} and power {power} must be positive")
    linear = np.clip(1.0 - np.asarray(chi, np.float32) / np.float32(limit_ppm), 0.0, 1.0)
    return np.asarray(linear ** np.float32(power), dtype=np.float32)


def minimum_projection(
    image: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    thickness_mm: float = 10.0,
    slice_axis: int = 2,
) -> Float32Array:
    """Return the running minimum over a slab of slices, of the voxels inside the mask.

    Parameters
    ----------
    image : (X, Y, Z) ndarray
    mask : (X, Y, Z) ndarray of bool
        The dark outside of the mask is not projected into it.
    voxel_size : (3,) array_like
        [mm].
    thickness_mm : float
        Of the slab around each slice [mm]; the nearest odd number of slices is taken.
    slice_axis : int
        0, 1 or 2.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 outside the mask.

    Raises
    ------
    ValueError
        Unequal shapes, an empty mask, an axis that there is not, a thickness that is not positive.
    """
    box = _checked_box(image, mask)
    if not thickness_mm > 0 or slice_axis not in (0, 1, 2):
        raise ValueError(f"thickness {thickness_mm} must be positive, axis {slice_axis} 0 to 2")
    n_slices = slab_slices(float(_positive(voxel_size, "voxel size")[slice_axis]), thickness_mm)
    inside = mask[box]
    values = np.where(inside, image[box], np.inf).astype(np.float32)
    lowest = ndimage.minimum_filter1d(
        values, n_slices, axis=slice_axis, mode="constant", cval=np.inf
    )
    return _into(mask, box, np.where(inside, lowest, 0))


def slab_slices(spacing_mm: float, thickness_mm: float) -> int:
    """Return the odd number of slices of ``spacing_mm`` that is nearest to a thickness [mm]."""
    return 2 * max(0, round((thickness_mm / spacing_mm - 1.0) / 2.0)) + 1


def _checked_box(volume: FloatArray, mask: Mask) -> tuple[slice, slice, slice]:
    """Return the box of the mask, after a look at the shapes."""
    if volume.ndim != 3 or mask.shape != volume.shape or mask.dtype != np.bool_:
        raise ValueError(f"volume {volume.shape} and mask {mask.shape} must be of one 3-D shape")
    return bounding_box(mask)


def _positive(values: npt.ArrayLike, name: str) -> Float64Array:
    numbers = np.array(values, dtype=float)
    if numbers.shape != (3,) or not np.all(numbers > 0):
        raise ValueError(f"{name} must be three positive numbers, not {numbers}")
    return numbers


def _into(mask: Mask, box: tuple[slice, slice, slice], values: FloatArray) -> Float32Array:
    out = np.zeros(mask.shape, dtype=np.float32)
    out[box] = values
    return out
