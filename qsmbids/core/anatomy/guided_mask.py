"""Mask 1 from three witnesses: the extracted brain, the template, and what tissue looks like.

Each errs in its own way. Brain extraction runs down the neck, for it knows no anatomy; the
template is 1 to 2 mm off at the surface; intensities do not tell grey matter from muscle. Near the
surface of the template their opinions add up, as distances.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, gaussian_filter

from qsmbids.core.anatomy.carrying import signed_distance
from qsmbids.core.masks.masking import largest_component
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.fft import bounding_box

__all__ = ["guided_mask", "reason_against", "tissue_odds"]


#: Second largest extent [mm] of the smallest head that the template may guide: newborns have
#: 95 mm and more, and so have slabs of larger heads.
SMALLEST_EXTENT = 90.0
#: Most that a mask may grow; extraction errs by taking too much.
MOST_GROWTH = 1.25
#: How far [mm] from the template's surface the extracted brain has a say.
BELIEVED = 4.0
#: Outside of this distance [mm] nothing is brain, and inside of the other everything is.
OUTERMOST, INNERMOST = 3.0, 7.0
#: How far [mm] the mask ends inside of where the witnesses see the surface.
INSET = 0.25
#: What a factor e of odds is worth [mm], the largest logarithm that counts, and its smoothing.
MM_PER_NAT = 2.0
MOST_ODDS = 2.0
SMOOTHING_MM = 1.5
#: The two shells [mm] that are certain enough to learn from: inside and outside the surface.
LEARNED = 2.5
N_BINS = 24


def guided_mask(
    extracted: Mask,
    distance: Float32Array,
    voxel_size: npt.ArrayLike,
    *,
    magnitude: FloatArray | None = None,
    r2star: FloatArray | None = None,
) -> Mask:
    """Correct a brain mask by where the template says the brain is, and by what is seen there.

    Parameters
    ----------
    extracted : (X, Y, Z) ndarray of bool
        Of BET, which may run down the neck or miss a pole.
    distance : (X, Y, Z) ndarray
        Of :func:`qsmbids.core.anatomy.carrying.brain_distance` [mm].
    voxel_size : (3,) array_like
        [mm].
    magnitude, r2star : (X, Y, Z) ndarray, optional
        What tells tissue from its surroundings; R2* [1/s] needs several echoes. Without a
        magnitude the template and the extracted brain decide alone.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        One component without holes.
    """
    if not (near := distance < OUTERMOST).any():
        return np.zeros_like(extracted)
    # the shells to learn from lie within a few voxels of what may be brain
    voxel = np.asarray(voxel_size, dtype=np.float64)
    box = tuple(
        slice(max(s.start - wide, 0), s.stop + wide)
        for s, wide in zip(bounding_box(near), np.ceil(8.0 / voxel).astype(int), strict=True)
    )
    channels = [None if c is None else c[box] for c in (magnitude, r2star)]
    out = np.zeros_like(extracted)
    out[box] = _combined(extracted[box], distance[box], voxel, *channels)
    return out


def _combined(
    extracted: Mask,
    distance: Float32Array,
    voxel: FloatArray,
    magnitude: FloatArray | None,
    r2star: FloatArray | None,
) -> Mask:
    """Let the witnesses vote in the part of the image that holds the brain."""
    gap = signed_distance(extracted, voxel)
    # far apart one of the two is wrong, and it is not the template
    share = np.clip(1 - np.abs(distance) / BELIEVED, 0, 1)
    surface = distance + np.clip(gap, -BELIEVED, BELIEVED) * share
    if magnitude is not None:
        surface -= MM_PER_NAT * tissue_odds(extracted, distance, voxel, magnitude, r2star)
    mask = ((surface < -INSET) & (distance < OUTERMOST)) | (distance < -INNERMOST)
    if not mask.any():
        return np.asarray(mask)
    return np.asarray(binary_fill_holes(largest_component(mask)))


def reason_against(extracted: Mask, voxel_size: npt.ArrayLike) -> str | None:
    """Return why no template of the human head may guide a brain mask; ``None`` if it may."""
    voxel = np.asarray(voxel_size, dtype=np.float64)
    if not extracted.any():
        return "the brain mask is empty"
    extent = sorted(np.ptp(np.argwhere(extracted), axis=0) * voxel + voxel)[1]
    if extent < SMALLEST_EXTENT:
        least = f"{SMALLEST_EXTENT:.0f} mm"
        return f"the brain is {extent:.0f} mm across, less than a human one ({least})"
    return None


def tissue_odds(
    extracted: Mask,
    distance: Float32Array,
    voxel_size: npt.ArrayLike,
    magnitude: FloatArray,
    r2star: FloatArray | None = None,
) -> Float32Array:
    """Return the logarithm of the odds that a voxel looks like brain rather than its surroundings.

    What both look like is learned from the run: from the shells inside and outside the surface,
    so that no contrast is assumed, and where both look alike the odds are even.
    """
    voxel = np.asarray(voxel_size, dtype=np.float64)
    features = [gaussian_filter(_unshaded(magnitude, (distance < -5) & extracted, voxel), 0.3)]
    if r2star is not None:
        features.append(gaussian_filter(np.asarray(r2star, dtype=np.float32), 0.5))
    near = np.abs(distance) < INNERMOST
    inner = near & (distance < -LEARNED)
    outer = near & (distance > LEARNED)
    if not inner.any() or not outer.any():
        return np.zeros(distance.shape, dtype=np.float32)
    bins = np.zeros((len(features), *distance.shape), dtype=np.int64)
    for feature, out in zip(features, bins, strict=True):
        low, high = np.percentile(feature[near], (1, 99))
        scaled = (feature - low) / max(float(high - low), 1e-12) * (N_BINS - 1)
        out[:] = np.clip(scaled, 0, N_BINS - 1)
    shape = (N_BINS,) * len(features)
    index = np.ravel_multi_index(tuple(bins), shape)

    def density(chosen: Mask) -> FloatArray:
        counts = np.bincount(index[chosen], minlength=int(np.prod(shape))).reshape(shape)
        smooth = gaussian_filter(counts.astype(np.float64), 1.0)
        return np.asarray(smooth / smooth.sum() + 1e-4)

    odds = np.log(density(inner) / density(outer)).astype(np.float32)
    seen = np.clip(odds.ravel()[index], -MOST_ODDS, MOST_ODDS)
    return np.asarray(gaussian_filter(seen, SMOOTHING_MM / voxel), dtype=np.float32)


def _unshaded(magnitude: FloatArray, core: Mask, voxel: FloatArray) -> Float32Array:
    """Divide by the smooth mean of the brain's core, which shows the receive field."""
    weight = core.astype(np.float32)
    sigma = 12.0 / voxel
    smooth = gaussian_filter(np.asarray(magnitude * weight, dtype=np.float32), sigma)
    smooth /= np.maximum(gaussian_filter(weight, sigma), 1e-4)
    level = float(np.median(magnitude[core])) if core.any() else 1.0
    return np.asarray(magnitude / np.maximum(smooth, 1e-3 * max(level, 1e-30)), dtype=np.float32)
