"""The template on a quick map: registered while the map of a run is still being inverted.

The grid of the template has voxels of 2 mm, on which a rapid two-step inversion shows nuclei as
well as the map of a run does, and takes a fraction of a second.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.regions import fit_regions
from qsmbids.core.anatomy.registration import Registration
from qsmbids.core.anatomy.template import Template
from qsmbids.core.inversion.rts import rts
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Float64Array, Mask
from qsmbids.core.maths.smoothing import block_mask, block_means, coarse_widths

__all__ = ["BlockGrid", "fit_to_quick_map"]

#: Largest side of blocks of smaller voxels [mm]: that of the template.
BLOCK_MM = 2.0


class BlockGrid(NamedTuple):
    """Blocks of the voxels of a run, which volumes are joined to one after the other."""

    run_affine: Float64Array
    """(4, 4), voxels to the space of the run [mm]."""
    widths: list[int]
    """Voxels along every axis."""
    affine: Float64Array
    """(4, 4), blocks to the space of the run [mm]."""

    @classmethod
    def of(cls, run_affine: npt.ArrayLike) -> "BlockGrid":
        """Return blocks of at most 2 mm."""
        affine = np.asarray(run_affine, dtype=np.float64)
        widths = coarse_widths(np.linalg.norm(affine[:3, :3], axis=0), BLOCK_MM)
        to_voxel = np.diag([*widths, 1.0])
        to_voxel[:3, 3] = (np.asarray(widths) - 1) / 2
        return cls(affine, widths, affine @ to_voxel)

    @property
    def size(self) -> Float64Array:
        """Of a block [mm]."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def mask(self, mask: Mask) -> Mask:
        """Join a mask: a block is in it where half of it is."""
        return block_mask(mask, self.widths)

    def mean(self, volume: npt.NDArray, mask: Mask | None = None) -> Float32Array:
        """Join a volume, of which the voxels in a mask count."""
        counted = np.isfinite(volume) if mask is None else mask & np.isfinite(volume)
        return block_means(volume, counted, self.widths)


def fit_to_quick_map(
    template: Template,
    grid: BlockGrid,
    brain: Mask,
    known: Mask,
    local_field: Float32Array,
    weights: Float32Array,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    magnitude: Float32Array | None = None,
    r2star: Float32Array | None = None,
    start: Registration | None = None,
    n_threads: int = 1,
) -> Registration:
    """Register the template to a quick map of a local field and what else there is.

    Parameters
    ----------
    template : Template
    grid : BlockGrid
        On which all volumes are.
    brain, known : (X, Y, Z) ndarray of bool
        A brain mask, which may be rough, and where the local field is known.
    local_field, weights : (X, Y, Z) ndarray
        [Hz], and of the data.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        [Hz].
    magnitude, r2star : (X, Y, Z) ndarray, optional
        Further channels; R2* in 1/s.
    start : Registration, optional
        To the magnitude, if it was registered before.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    Registration
        For the voxels of the run, as ``start`` is; that itself where it is not usable.

    Raises
    ------
    EmptyMaskError
        The field is known nowhere.
    ValueError
        See :func:`qsmbids.core.inversion.rts.rts`.
    """
    if start is not None and not start.usable:
        return start
    if not known.any():
        raise EmptyMaskError("the local field is known nowhere")
    chi = rts(
        local_field, known, weights, grid.size, b0_direction, centre_frequency=centre_frequency,
        n_threads=n_threads,
    ).chi  # fmt: skip
    here = None if start is None else replace(start, run_affine=grid.affine)
    fit = fit_regions(
        template, grid.affine, brain, known, chi, magnitude=magnitude, r2star=r2star, start=here
    )
    return replace(fit, run_affine=grid.run_affine)
