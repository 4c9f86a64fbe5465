"""The template's regions in a susceptibility map, from whatever else the run has."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.borders import BorderChange, Look, box_around, refine_borders
from qsmbids.core.anatomy.carrying import carry_labels, carry_shares
from qsmbids.core.anatomy.registration import Registration, refine_registration, register
from qsmbids.core.anatomy.surface import unshaded
from qsmbids.core.anatomy.template import NUCLEI, Template, class_maps
from qsmbids.core.maths.arrays import Box, Float32Array, FloatArray, LabelArray, Mask

__all__ = ["PlacedRegions", "fit_regions", "place_regions"]

#: Voxels of fluid and white matter that are further from the rest [ppm] are vessels, choroid
#: plexus, bleeding or calcification.
STRAY_PPM = 0.1
#: How far around nuclei [mm] the magnitude tells its receive field.
FIELD_SEEN = 20.0
#: Range of susceptibility [ppm] and greatest R2* [1/s] of tissue.
CHI_RANGE, R2STAR_MOST = (-0.3, 0.4), 150.0
#: Least spread of a tissue: susceptibility [ppm], R2* [1/s], magnitude against that of the brain.
LEAST_SPREADS = {"chi": 0.006, "r2star": 1.0, "magnitude": 0.02}


class PlacedRegions(NamedTuple):
    """Labels of the template where a run has them; ask the fit whether they may be used."""

    labels: LabelArray
    fit: Registration
    moved: BorderChange
    """Of every nucleus whose border followed the map: voxels won and lost."""


def place_regions(
    template: Template,
    run_affine: npt.ArrayLike,
    support: Mask,
    chi: FloatArray,
    fit: Registration,
    *,
    magnitude: Float32Array | None = None,
    r2star: Float32Array | None = None,
) -> PlacedRegions:
    """Put the template's regions into a map, and move their borders to its edges.

    Parameters
    ----------
    template : Template
    run_affine : (4, 4) array_like
        Voxels to space [mm], right and front up.
    support : (X, Y, Z) ndarray of bool
        Where chi is known.
    chi : (X, Y, Z) ndarray
        [ppm], under any reference.
    fit : Registration
        Where the template lies: :func:`fit_regions`.
    magnitude, r2star : (X, Y, Z) ndarray, optional
        Further maps that show borders; R2* in 1/s.

    Returns
    -------
    PlacedRegions
        Without labels where the fit is not usable.
    """
    affine = np.asarray(run_affine, dtype=np.float64)
    values = _centred(chi, support)
    maps = class_maps(template)
    if not fit.usable:
        return PlacedRegions(np.zeros(chi.shape, dtype=np.uint8), fit, BorderChange())
    shape = (chi.shape[0], chi.shape[1], chi.shape[2])
    carried = carry_labels(fit, template, shape)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    nuclei = np.isin(carried, [r.index for r in template.table if r.name in NUCLEI])
    box = box_around(nuclei, voxel, FIELD_SEEN)
    labels, moved = carried.copy(), BorderChange()
    if box is not None:
        looks = _looks(values, magnitude, r2star, support, voxel, box)
        corner = np.eye(4)
        corner[:3, 3] = [part.start for part in box]
        here = replace(fit, run_affine=affine @ corner)
        around = carry_shares(here, template, carried[box].shape, maps)
        labels[box], moved = refine_borders(
            carried[box], looks, around, support[box], template, voxel
        )
    return PlacedRegions(_without_strays(labels, values, support, template), fit, moved)


def fit_regions(
    template: Template,
    run_affine: npt.ArrayLike,
    brain: Mask,
    support: Mask,
    chi: FloatArray,
    *,
    magnitude: Float32Array | None = None,
    r2star: Float32Array | None = None,
    start: Registration | None = None,
) -> Registration:
    """Register the template to all that a run shows.

    Parameters
    ----------
    template, run_affine, support, chi, magnitude, r2star
        As for :func:`place_regions`.
    brain : (X, Y, Z) ndarray of bool
        A brain mask, which may be rough.
    start : Registration, optional
        To the magnitude, if it was registered before; returned where it is not usable.
    """
    values = _centred(chi, support)
    if start is None and magnitude is not None:
        start = register(template, run_affine, brain, magnitude=magnitude)
    if start is None:
        return register(template, run_affine, support, chi=values, r2star=r2star)
    if not start.usable:
        return start
    return refine_registration(
        start, template, support, magnitude=magnitude, chi=values, r2star=r2star
    )


def _centred(chi: FloatArray, support: Mask) -> Float32Array:
    """Return a map less its mean, zero where it is not known."""
    values = chi.astype(np.float32)
    if not support.any():
        return values
    return np.where(support, values - values[support].mean(dtype=np.float64), 0).astype(np.float32)


def _looks(
    chi: Float32Array,
    magnitude: Float32Array | None,
    r2star: Float32Array | None,
    support: Mask,
    voxel: FloatArray,
    box: Box,
) -> list[Look]:
    """Return a part of the maps that show borders; no tissue varies less there than is said."""
    looks = [Look(np.clip(chi[box], *CHI_RANGE), LEAST_SPREADS["chi"])]
    if r2star is not None:
        known = np.nan_to_num(np.clip(r2star[box], 0, R2STAR_MOST))
        looks.append(Look(known, LEAST_SPREADS["r2star"]))
    inside = support[box]
    if magnitude is not None and 2 * np.count_nonzero(magnitude[box][inside]) > inside.sum():
        even = unshaded(magnitude[box], inside, voxel)
        looks.append(Look(even, LEAST_SPREADS["magnitude"]))
    return looks


def _without_strays(
    labels: LabelArray, chi: Float32Array, support: Mask, template: Template
) -> LabelArray:
    """Leave out of fluid and white matter what is neither."""
    out = labels.copy()
    for name in {region.name for region in template.table} - set(NUCLEI):
        both = [region.index for region in template.table if region.name == name]
        found = np.isin(labels, both) & support
        if found.any():
            out[found & (np.abs(chi - np.median(chi[found])) > STRAY_PPM)] = 0
    return out
