"""The masks of the consensus (section 5, Figure 5) and the morphology that they need.

Mask 1 is the brain, Mask 2 where the phase is reliable, Mask 3 both with its holes filled (for the
background field removal) and Mask 4 what is left of it after that step.
"""

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from qsmbids.core.maths.arrays import EmptyMaskError, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.distance import limited_distance

__all__ = [
    "background_mask",
    "erode",
    "erode_rim",
    "fill_holes",
    "inverse_noise_mask",
    "largest_component",
    "largest_piece_of_each_part",
    "mask_with_holes",
    "reliable_phase_mask",
]

#: Reach from either side [voxels] that makes a gap between two parts of a mask a narrow one.
_GAP_VOXELS = 3
#: Parts that may face each other; the rest are specks.
_MOST_PARTS = 8


def reliable_phase_mask(quality: FloatArray, threshold: float = 0.3) -> Mask:
    """Return Mask 2 from a phase quality map (recommendation 5.a).

    Parameters
    ----------
    quality : (X, Y, Z) ndarray
        0 (noise) to 1.
    threshold : float
        Voxels above it are reliable. For ROMEO's voxel quality (three weights: phase coherence,
        its gradient, magnitude coherence) on head phantoms at 3 T and 7 T, 0.3 keeps more than
        99.9 % of the cortex and drops 99.9 % of air.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        False where the quality is not finite.
    """
    return np.asarray(quality > threshold)


def inverse_noise_mask(noise_sd: FloatArray, factor: float = 1.0) -> Mask:
    """Return Mask 2 from the noise of the field map (consensus section 5.1).

    Parameters
    ----------
    noise_sd : (X, Y, Z) ndarray
        Noise SD of the field in any unit over the whole field of view; 0 or not finite where
        there is no signal.
    factor : float
        Voxels with 1 / SD above ``factor`` times its mean over the whole field of view are
        reliable. 1 is the start the consensus proposes, 1.2 the stricter one.

    Returns
    -------
    (X, Y, Z) ndarray of bool
    """
    inverse = np.zeros(noise_sd.shape, dtype=np.float32)
    known = np.isfinite(noise_sd) & (noise_sd > 0)
    np.divide(1.0, noise_sd, out=inverse, where=known, casting="same_kind")
    return np.asarray(inverse > factor * inverse.mean(dtype=np.float64))


def background_mask(
    mask1: Mask,
    mask2: Mask,
    *,
    voxel_size: npt.ArrayLike = (1.0, 1.0, 1.0),
    closing_mm: float = 2.0,
) -> Mask:
    """Return Mask 3: brain with reliable phase, holes filled, largest pieces (5.a and 5.b).

    Parameters
    ----------
    mask1, mask2 : (X, Y, Z) ndarray of bool
        Brain, and reliable phase.
    voxel_size : (3,) array_like
        [mm].
    closing_mm : float
        See :func:`fill_holes`; 0 fills only holes that are wholly enclosed.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        Inside Mask 1, whose own holes stay holes: there is no field in them. Of every part of
        Mask 1 the largest piece; BET's has one part, one that was drawn may have more.

    Raises
    ------
    EmptyMaskError
        The masks have nothing in common.
    ValueError
        Shapes differ.
    """
    if mask1.shape != mask2.shape:
        raise ValueError(f"Mask 1 {mask1.shape} and Mask 2 {mask2.shape} differ in shape")
    both = mask1 & mask2
    if not both.any():
        raise EmptyMaskError("Mask 1 and Mask 2 have no voxel in common")
    filled = fill_holes(both, voxel_size=voxel_size, closing_mm=closing_mm)
    return largest_piece_of_each_part(filled & mask1, mask1)


def mask_with_holes(mask4: Mask, mask2: Mask) -> Mask:
    """Return Mask 4 with the holes of unreliable phase put back (recommendation 5.c)."""
    return mask4 & mask2


def largest_component(mask: Mask) -> Mask:
    """Return the largest piece of a mask, voxels joined by faces; the first of equal ones.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    box = bounding_box(mask)
    labels, count = scipy.ndimage.label(mask[box])
    if count == 1:
        return mask.copy()
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    piece = np.zeros_like(mask)
    piece[box] = labels == sizes.argmax()
    return piece


def largest_piece_of_each_part(pieces: Mask, parts: Mask) -> Mask:
    """Return, of the pieces that lie in each part of a mask, the largest one.

    Parameters
    ----------
    pieces, parts : (X, Y, Z) ndarray of bool
        Voxels are joined by faces; no piece reaches over two parts.

    Returns
    -------
    (X, Y, Z) ndarray of bool
    """
    box = bounding_box(parts)
    part, n_parts = scipy.ndimage.label(parts[box])
    if n_parts == 1:
        return largest_component(pieces)
    piece, n_pieces = scipy.ndimage.label(pieces[box])
    sizes = np.bincount(piece.reshape(-1), minlength=n_pieces + 1)
    part_of = np.zeros(n_pieces + 1, dtype=np.intp)
    part_of[piece] = part  # a piece lies in one part
    part_of[0] = sizes[0] = 0
    by_size = np.argsort(sizes, kind="stable")
    largest = np.zeros(n_parts + 1, dtype=np.intp)
    largest[part_of[by_size]] = by_size
    kept = np.zeros(n_pieces + 1, dtype=bool)
    kept[largest] = True
    kept[0] = False
    out = np.zeros_like(pieces)
    out[box] = kept[piece]
    return out


def erode(mask: Mask, radius: float, voxel_size: npt.ArrayLike = (1.0, 1.0, 1.0)) -> Mask:
    """Erode a mask by a sphere: keep voxels whose whole sphere lies inside.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        What lies outside the array counts as outside the mask, so that a mask at the border of
        the array loses its border planes as well.
    radius : float
        In the unit of ``voxel_size``; a voxel at exactly this distance belongs to the sphere.
    voxel_size : (3,) array_like
        [mm]; leave it at 1 for a radius in voxels.

    Returns
    -------
    (X, Y, Z) ndarray of bool

    Raises
    ------
    ValueError
        The radius is negative or the voxel size not positive.
    """
    voxel = _checked(radius, voxel_size)
    if radius == 0 or not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    # the box is tight, so one plane around it is background, in the array or beyond it
    inside = np.pad(mask[box], 1)
    kept = np.zeros_like(mask)
    kept[box] = ~_near(~inside, radius, voxel)[1:-1, 1:-1, 1:-1]
    return kept


def erode_rim(mask: Mask, radius: float) -> Mask:
    """Erode a mask, but not where one of its parts faces another across a narrow gap.

    The rim is taken off because it holds something of skull and air. Between the parts of a mask
    that was drawn, hemispheres for example, there is none.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
    radius : float
        [voxels], as for :func:`erode`.

    Returns
    -------
    (X, Y, Z) ndarray of bool
    """
    if radius == 0 or not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    inside = mask[box]
    parts, n_parts = scipy.ndimage.label(inside)
    if n_parts == 1:
        return erode(mask, radius)
    sizes = np.bincount(parts.reshape(-1))
    largest = 1 + np.argsort(-sizes[1:], kind="stable")[:_MOST_PARTS]
    n_near = np.zeros(inside.shape, dtype=np.uint8)
    for part in largest:
        n_near += _near(parts == part, _GAP_VOXELS, np.ones(3))
    bridged = mask.copy()
    bridged[box] |= n_near > 1
    return erode(bridged, radius) & mask


def fill_holes(
    mask: Mask, *, voxel_size: npt.ArrayLike = (1.0, 1.0, 1.0), closing_mm: float = 0.0
) -> Mask:
    """Fill the cavities of a mask in three dimensions.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        A hole is background that is not joined through faces with the outside.
    voxel_size : (3,) array_like
        [mm].
    closing_mm : float
        Fill also cavities that reach the outside through a narrow channel or gap, such as a
        haemorrhage that touches the surface of the brain with a voxel. They are found by a
        closing with a sphere of this radius, so a gap in a thick wall may be up to twice this
        wide, one in a thin, slanting wall only a voxel or two. Only the cavities and the channel
        near them are filled, the surface elsewhere is left alone.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        Contains ``mask``.

    Raises
    ------
    ValueError
        The radius is negative or the voxel size not positive.
    """
    voxel = _checked(closing_mm, voxel_size)
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    # half a voxel more, else the pole of the digital ball, one voxel, slips through thin walls
    radius = closing_mm + voxel.min() / 2
    margin = [int(np.ceil(radius / v)) + 1 for v in voxel]
    inside = np.pad(mask[box], [(m, m) for m in margin])
    if closing_mm > 0:
        closed = ~_near(~_near(inside, radius, voxel), radius, voxel)
        cavity = ~closed & ~_outside(closed)
        if cavity.any():
            inside |= cavity | (closed & _near(cavity, radius, voxel))
    filled = mask.copy()
    filled[box] = ~_outside(inside)[tuple(slice(m, -m) for m in margin)]
    return filled


def _checked(radius: float, voxel_size: npt.ArrayLike) -> Float64Array:
    voxel = np.asarray(voxel_size, dtype=np.float64)
    if voxel.shape != (3,) or not (np.isfinite(voxel) & (voxel > 0)).all():
        raise ValueError(f"the voxel size must be three positive numbers, not {voxel_size!r}")
    if not (np.isfinite(radius) and radius >= 0):
        raise ValueError(f"the radius must be 0 or more, not {radius}")
    return voxel


def _outside(mask: Mask) -> Mask:
    """Return the background joined through faces with the first voxel (which is background)."""
    labels, _ = scipy.ndimage.label(~mask)
    return np.asarray(labels == labels[0, 0, 0])


def _near(target: Mask, radius: float, voxel: Float64Array) -> Mask:
    """Return where the distance to the next voxel of ``target`` is at most ``radius``."""
    # the slack lets a voxel at exactly the radius in, whatever its float rounding
    return limited_distance(target, voxel, radius * (1 + 1e-4)) <= np.float32(radius * (1 + 5e-6))
