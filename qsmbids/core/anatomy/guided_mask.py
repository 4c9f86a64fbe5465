"""Mask 1 from a template of the head and from what the run shows near its surface.

Brain extraction runs down the neck, for it knows no anatomy; the template is 1 to 3 mm off at the
surface; intensities alone do not tell grey matter from muscle. So the template says where to look,
and what is seen there says where the surface is: first over some millimetres, where many voxels
agree, then voxel by voxel. With one echo there is no R2*, and muscle looks like brain: there the
extracted brain and the template vote.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, gaussian_filter

from qsmbids.core.anatomy.carrying import signed_distance
from qsmbids.core.anatomy.surface import BAND, Looks, seen_surface, unshaded
from qsmbids.core.masks.masking import largest_component
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.fft import bounding_box

__all__ = ["guided_mask", "reason_against", "tissue_odds"]


#: Second largest extent [mm] of the smallest head that the template may guide: newborns have
#: 95 mm and more, and so have slabs of larger heads.
SMALLEST_EXTENT = 90.0
#: Most that a mask may grow; extraction errs by taking too much.
MOST_GROWTH = 1.25
#: Inside of this distance [mm] to the template's surface everything is brain.
INNERMOST = 7.0
#: How far [mm] the surface may lie outside of where it usually lies: what reaches farther is a
#: cord, a nerve or a vein that leaves the head.
OUTERMOST = 3.0
#: What a factor e of odds is worth [mm], the largest logarithm that counts, and its smoothing.
MM_PER_NAT = 0.5
MOST_ODDS = 2.0
SMOOTHING_MM = 1.5
#: The two shells [mm] that are certain enough to learn from: inside and outside the surface.
INNER, OUTER = (-7.0, -2.5), (0.5, 4.0)
#: Where one echo lets extraction and template vote: how far [mm] from the template's surface the
#: extracted brain has a say, how far the mask ends inside, what odds are worth there, and the
#: shell outside that is certain to be that.
BELIEVED = 4.0
INSET = 0.25
VOTE_MM_PER_NAT = 2.0
FAR_OUTER = (2.5, 7.0)


def guided_mask(
    extracted: Mask,
    distance: Float32Array,
    voxel_size: npt.ArrayLike,
    magnitude: FloatArray,
    r2star: FloatArray | None = None,
) -> Mask:
    """Find the brain where a template says it is, and where its surface is seen.

    Parameters
    ----------
    extracted : (X, Y, Z) ndarray of bool
        Of BET, which may run down the neck or miss a pole; its core shows the receive field.
    distance : (X, Y, Z) ndarray
        Of :func:`qsmbids.core.anatomy.carrying.brain_distance` [mm].
    voxel_size : (3,) array_like
        [mm].
    magnitude, r2star : (X, Y, Z) ndarray
        What tells tissue from its surroundings; R2* [1/s] needs several echoes.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        One component without holes.
    """
    if not (near := distance < BAND).any():
        return np.zeros_like(extracted)
    box = bounding_box(near)
    voxel = np.asarray(voxel_size, dtype=np.float64)
    inner = (distance[box] < -5) & extracted[box]
    features = _features(magnitude[box], None if r2star is None else r2star[box], inner, voxel)
    looks = Looks.of(features, np.abs(distance[box]) < BAND)
    if r2star is None:
        surface, usual = _voted_surface(looks, extracted[box], distance[box], voxel), 0.0
    else:
        seen = seen_surface(looks, distance[box], voxel)
        surface = seen - MM_PER_NAT * tissue_odds(looks, seen, voxel)
        at_surface = np.abs(surface) < voxel.max() / 2
        usual = float(np.median(distance[box][at_surface])) if at_surface.any() else 0.0
    mask = (surface < 0) & (distance[box] < usual + OUTERMOST) | (distance[box] < -INNERMOST)
    out = np.zeros_like(extracted)
    if mask.any():
        out[box] = binary_fill_holes(largest_component(mask))
    return out


def _voted_surface(
    looks: Looks, extracted: Mask, distance: Float32Array, voxel: FloatArray
) -> Float32Array:
    """Return the distance to where extraction, template and looks together put the surface."""
    gap = signed_distance(extracted, voxel)
    # far apart one of the two is wrong, and it is not the template
    share = np.clip(1 - np.abs(distance) / BELIEVED, 0, 1)
    surface = distance + np.clip(gap, -BELIEVED, BELIEVED) * share + INSET
    return np.asarray(surface - VOTE_MM_PER_NAT * tissue_odds(looks, distance, voxel, FAR_OUTER))


def _features(
    magnitude: FloatArray, r2star: FloatArray | None, inner: Mask, voxel: FloatArray
) -> list[Float32Array]:
    """Return what tells brain from its surroundings, with the noise of single voxels reduced."""
    features = [gaussian_filter(unshaded(magnitude, inner, voxel), 0.3)]
    if r2star is not None:
        features.append(gaussian_filter(np.asarray(r2star, dtype=np.float32), 0.5))
    return features


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
    looks: Looks,
    surface: Float32Array,
    voxel_size: npt.ArrayLike,
    shell: tuple[float, float] = OUTER,
) -> Float32Array:
    """Return the logarithm of the odds that a voxel looks like brain rather than its surroundings.

    What both look like is learned from the run: from the shells inside and outside the surface,
    so that no contrast is assumed, and where both look alike the odds are even.
    """
    inner, outer = ((surface > low) & (surface < high) for low, high in (INNER, shell))
    if not inner.any() or not outer.any():
        return np.zeros(surface.shape, dtype=np.float32)
    odds = np.clip(looks.odds(inner, outer), -MOST_ODDS, MOST_ODDS).astype(np.float32)
    voxel = np.asarray(voxel_size, dtype=np.float64)
    return np.asarray(gaussian_filter(odds[looks.number], SMOOTHING_MM / voxel), dtype=np.float32)
