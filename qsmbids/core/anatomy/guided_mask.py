"""Mask 1 from a template of the head and from what the run shows near its surface.

Brain extraction runs down the neck, for it knows no anatomy; the template is 1 to 3 mm off at the
surface; intensities alone do not tell grey matter from muscle. So the template says where to look,
and what is seen there says where the surface is: first over some millimetres, where many voxels
agree, then voxel by voxel. With one echo there is no R2*, and muscle looks like brain: there what
lies beyond bone is learned apart from what lies beside muscle.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes

from qsmbids.core.anatomy.surface import BAND, Looks, seen_surface, unshaded
from qsmbids.core.masks.masking import largest_component
from qsmbids.core.maths.arrays import Float32Array, FloatArray, LabelArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.gaussian import gaussian

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
#: Where [mm outside] bone is dark, or there is none, over how many millimetres that holds, and
#: the share of the brain's magnitude that tells.
BONE, ALIKE, BRIGHT = (4.0, 9.0), 6.0, 0.5


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
    flat = unshaded(magnitude[box], inner, voxel)
    features, kinds = [gaussian(flat, 0.3)], None
    if r2star is None:
        kinds = _surroundings(flat, distance[box], voxel)
    else:
        features.append(gaussian(r2star[box], 0.5))
    looks = Looks.of(features, np.abs(distance[box]) < BAND, kinds)
    seen = seen_surface(looks, distance[box], voxel)
    surface = seen - MM_PER_NAT * tissue_odds(looks, seen, voxel)
    at_surface = np.abs(surface) < voxel.max() / 2
    usual = float(np.median(distance[box][at_surface])) if at_surface.any() else 0.0
    mask = (surface < 0) & (distance[box] < usual + OUTERMOST) | (distance[box] < -INNERMOST)
    out = np.zeros_like(extracted)
    if mask.any():
        out[box] = binary_fill_holes(largest_component(mask))
    return out


def _surroundings(flat: Float32Array, distance: Float32Array, voxel: FloatArray) -> LabelArray:
    """Return where the brain has bright surroundings, as muscle, rather than bone or air."""
    beyond = ((distance > BONE[0]) & (distance < BONE[1])).astype(np.float32)
    sigma = ALIKE / voxel
    level = gaussian(np.clip(flat, 0, 1.2) * beyond, sigma)
    return np.asarray(level > BRIGHT * np.maximum(gaussian(beyond, sigma), 1e-3), dtype=np.int32)


def reason_against(extracted: Mask, voxel_size: npt.ArrayLike) -> str | None:
    """Return why no template of the human head may guide a brain mask; ``None`` if it may."""
    voxel = np.asarray(voxel_size, dtype=np.float64)
    if not extracted.any():
        return "the brain mask is empty"
    sides = [side.stop - side.start for side in bounding_box(extracted)]
    extent = sorted(sides * voxel)[1]
    if extent < SMALLEST_EXTENT:
        least = f"{SMALLEST_EXTENT:.0f} mm"
        return f"the brain is {extent:.0f} mm across, less than a human one ({least})"
    return None


def tissue_odds(looks: Looks, surface: Float32Array, voxel_size: npt.ArrayLike) -> Float32Array:
    """Return the logarithm of the odds that a voxel looks like brain rather than its surroundings.

    What both look like is learned from the run: from the shells inside and outside the surface,
    so that no contrast is assumed, and where both look alike the odds are even.
    """
    inner, outer = ((surface > low) & (surface < high) for low, high in (INNER, OUTER))
    if not inner.any() or not outer.any():
        return np.zeros(surface.shape, dtype=np.float32)
    odds = np.clip(looks.odds(inner, outer), -MOST_ODDS, MOST_ODDS).astype(np.float32)
    voxel = np.asarray(voxel_size, dtype=np.float64)
    return gaussian(odds[looks.number], SMOOTHING_MM / voxel)
