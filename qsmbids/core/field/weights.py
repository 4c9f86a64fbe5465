"""Data weights of the dipole inversion from the noise of the field map, by SEPIA's rule."""

import numpy as np

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["sepia_weights"]


def sepia_weights(
    noise_sd_relative: FloatArray,
    mask: Mask,
    residual_weight: FloatArray | None = None,
) -> Float32Array:
    """Return the data weights of the inversion, of median 1 but for outliers and the residual.

    Parameters
    ----------
    noise_sd_relative : (X, Y, Z) ndarray
        Noise SD of the field in any unit; 0 or not finite where unknown.
    mask : (X, Y, Z) ndarray of bool
        Brain (Mask 1).
    residual_weight : (X, Y, Z) ndarray, optional
        0 to 1, see :func:`qsmbids.core.field.relative_residual.residual_weight`.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 or more, mostly around 1; 0 outside the mask and where the noise is unknown.

    Raises
    ------
    ValueError
        Shapes differ, the mask is empty or holds no voxel of known noise.

    Notes
    -----
    SEPIA's version 1 rule, with median and interquartile range (IQR) over the mask:
    w = 1 / SD, zero where the residual is above its threshold; w / (median + 3 IQR); shift so
    that the median is 1; outliers above median + 3 IQR take the mean of their 3 x 3 x 3 block;
    times mask and residual weight.
    The shift makes a weight of zero positive (1 - median), so voxels of unknown noise are set
    to zero again at the end, where SEPIA leaves that small weight.
    Percentiles are MATLAB's, which numpy calls "hazen".

    References
    ----------
    Chan KS, Marques JP. SEPIA - Susceptibility mapping pipeline tool for phase images.
    NeuroImage 2021;227:117611. doi:10.1016/j.neuroimage.2020.117611 (weights, version 1).
    """
    shape = noise_sd_relative.shape
    if mask.shape != shape or (residual_weight is not None and residual_weight.shape != shape):
        raise ValueError("noise, mask and residual weight differ in shape")
    if not mask.any():
        raise ValueError("the mask is empty")
    sd = np.asarray(noise_sd_relative, dtype=np.float64)[mask]
    reliable = np.isfinite(sd) & (sd > 0)
    factor = np.ones_like(sd)
    if residual_weight is not None:
        factor = np.asarray(residual_weight, dtype=np.float64)[mask]
        reliable &= factor > 0
    if not reliable.any():
        raise ValueError("no voxel of the mask has a known noise and an acceptable residual")
    weight = np.zeros_like(sd)
    weight[reliable] = 1.0 / sd[reliable]

    low, median, high = np.percentile(weight, (25, 50, 75), method="hazen")
    fence = median + 3 * (high - low)
    if fence > 0:  # else most voxels are unreliable and there is no scale to go by
        weight /= fence
        low, median, high = low / fence, median / fence, high / fence
    weight += 1.0 - median  # shifts the fence, too, to 1 + 3 IQR
    _soften_outliers(weight, weight > 1.0 + 3 * (high - low), mask)

    weight[~reliable] = 0.0
    weights = np.zeros(shape, dtype=np.float32)
    weights[mask] = np.maximum(weight, 0.0) * factor
    return weights


def _soften_outliers(
    weight: Float64Array,
    outlier: Mask,
    mask: Mask,
) -> None:
    """Replace outliers of the masked values by the mean of their block, zero outside the mask."""
    if not outlier.any():
        return
    inside = mask[bounding_box(mask)]
    volume = np.zeros([n + 2 for n in inside.shape])
    volume[1:-1, 1:-1, 1:-1][inside] = weight
    flat = volume.reshape(-1)
    steps = np.array(volume.strides) // volume.itemsize
    place = np.unravel_index(np.flatnonzero(inside)[outlier], inside.shape)
    centre = (np.stack(place, axis=-1) + 1) @ steps
    total = np.zeros(centre.size)
    for shift in np.ndindex(3, 3, 3):
        total += flat[centre + (np.array(shift) - 1) @ steps]
    mean = total / 27
    weight[outlier] = np.where(mean != 0, mean, weight[outlier])
