"""The template's regions and the surface of its brain in the voxels of a run."""

import numba
import numpy as np

from qsmbids.core.anatomy.registration import Registration
from qsmbids.core.anatomy.sampling import in_planes, pull, resample_affine
from qsmbids.core.anatomy.template import CLASSES, Template, class_maps
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, LabelArray, Mask
from qsmbids.core.maths.distance import limited_distance
from qsmbids.core.maths.gaussian import gaussian

__all__ = ["brain_distance", "carry_labels", "carry_shares", "signed_distance"]

#: Distances from a surface [mm] beyond this are all the same.
FARTHEST = 15.0
#: Voxels by which the template's field of view is widened for distances.
_MARGIN = 10


def carry_labels(
    registration: Registration, template: Template, shape: tuple[int, int, int]
) -> LabelArray:
    """Return the label of the template at the centre of every voxel of the run."""
    fine, shift = _maps(registration, template, shape)
    labels = np.ascontiguousarray(template.regions, dtype=np.uint8)
    out = np.zeros(shape, dtype=np.uint8)
    with in_planes(out) as run:
        run(_nearest, labels, shift, fine, out)
    return out


def carry_shares(
    registration: Registration,
    template: Template,
    shape: tuple[int, int, int],
    maps: Float32Array | None = None,
) -> Float32Array:
    """Return the shares of what nuclei lie in, in every voxel of the run: white, grey, fluid.

    Parameters
    ----------
    registration, template
    shape : tuple of int
        Of the run.
    maps : (C, X, Y, Z) ndarray, optional
        Of :func:`~qsmbids.core.anatomy.template.class_maps`, where they are known.
    """
    maps = class_maps(template) if maps is None else maps
    coarse = np.linalg.inv(template.grid) @ np.linalg.inv(registration.affine)
    coarse = coarse @ registration.run_affine
    shift = np.stack([resample_affine(c, coarse, shape, np.nan) for c in registration.shift])
    fluid = sum(maps[CLASSES.index(name)] for name in ("outside", "sulci", "ventricle"))
    shares = (maps[CLASSES.index("white")], maps[CLASSES.index("grey")], fluid)
    return np.stack([pull(s, shift, coarse) for s in shares])


def brain_distance(
    registration: Registration, template: Template, shape: tuple[int, int, int]
) -> Float32Array:
    """Return how far [mm of the template] every voxel of the run lies outside its brain.

    Negative inside; far beyond the template's field of view that of :data:`_MARGIN` beyond it.
    """
    voxel = np.linalg.norm(template.fine_grid[:3, :3], axis=0)
    # the template ends a little below the brain, and a cord goes on
    brain = np.pad(template.brain, _MARGIN)
    # the surface passes half way between the voxels on its two sides
    distance = gaussian(signed_distance(brain, voxel), 0.7)
    fine, shift = _maps(registration, template, shape)
    fine[:3, 3] += _MARGIN
    return pull(distance, shift, fine)


def signed_distance(mask: Mask, voxel: FloatArray) -> Float32Array:
    """Return the distance to a mask [mm], negative inside, up to :data:`FARTHEST`."""
    outside = limited_distance(mask, voxel, FARTHEST)
    return outside - limited_distance(~mask, voxel, FARTHEST)


def _maps(
    registration: Registration, template: Template, shape: tuple[int, int, int]
) -> tuple[Float64Array, Float32Array]:
    """Return run voxels to the fine grid, and the shift there [fine voxels]."""
    to_template = np.linalg.inv(registration.affine) @ registration.run_affine
    fine = np.linalg.inv(template.fine_grid) @ to_template
    coarse = np.linalg.inv(template.grid) @ to_template
    ratio = np.linalg.norm(template.grid[:3, :3], axis=0) / np.linalg.norm(
        template.fine_grid[:3, :3], axis=0
    )
    scaled = registration.shift * ratio[:, None, None, None].astype(np.float32)
    shift = np.stack([resample_affine(c, coarse, shape, np.nan) for c in scaled])
    return fine, shift


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _nearest(
    start: int,
    stop: int,
    labels: LabelArray,
    shift: Float32Array,
    fine: Float64Array,
    out: LabelArray,
) -> None:
    nx, ny, nz = labels.shape
    for i in range(start, stop):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                x = fine[0, 0] * i + fine[0, 1] * j + fine[0, 2] * k + fine[0, 3]
                y = fine[1, 0] * i + fine[1, 1] * j + fine[1, 2] * k + fine[1, 3]
                z = fine[2, 0] * i + fine[2, 1] * j + fine[2, 2] * k + fine[2, 3]
                x = x + shift[0, i, j, k] + 0.5
                y = y + shift[1, i, j, k] + 0.5
                z = z + shift[2, i, j, k] + 0.5
                if 0 <= x < nx and 0 <= y < ny and 0 <= z < nz:
                    out[i, j, k] = labels[int(x), int(y), int(z)]
