"""The template: a brain with known tissues and regions, and what each channel shows of it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.gaussian import gaussian

__all__ = [
    "CLASSES",
    "EXPECTED",
    "IRON_RICH",
    "NUCLEI",
    "Region",
    "Template",
    "brain_share",
    "class_maps",
    "expected_map",
]


#: Deep grey nuclei, in the order of the labels of the template.
NUCLEI = (
    "caudate",
    "putamen",
    "pallidum-external",
    "pallidum-internal",
    "red-nucleus",
    "substantia-nigra",
    "subthalamic-nucleus",
    "thalamus",
    "dentate-nucleus",
)

#: Those that are paramagnetic against their surroundings at any adult age.
IRON_RICH = (
    "pallidum-external",
    "pallidum-internal",
    "red-nucleus",
    "substantia-nigra",
    "dentate-nucleus",
)

#: What has an intensity of its own. ``outside`` is the ring of fluid and skull around the brain.
#: Sulci are narrow and mixed, ventricles are fluid alone.
CLASSES = ("outside", "sulci", "ventricle", "grey", "white", *NUCLEI)
#: Typical susceptibility [ppm] and R2* at 3 T [1/s] of healthy adults, in the order of
#: :data:`CLASSES`; only a start, for the values of the run itself are fitted.
EXPECTED = {
    "chi": (0.0, 0.01, 0.0, 0.015, -0.025, 0.045, 0.05, 0.13, 0.12, 0.1, 0.12, 0.1, 0.01, 0.1),
    "r2star": (20.0, 12.0, 3.0, 17.0, 21.0, 26.0, 28.0, 42.0, 42.0, 36.0, 40.0, 38.0, 21.0, 34.0),
}


class Region(NamedTuple):
    """One label of the template."""

    index: int  # type: ignore[assignment]  # a tuple has a method of this name
    name: str
    side: str
    """``left`` or ``right``."""


class Template(NamedTuple):
    """Images of the template; both grids map voxels to the same space [mm], right and front up."""

    t1: Float32Array
    """Intensities, 0 outside the brain."""
    grey: Float32Array
    """Share of grey matter, 0 to 1."""
    white: Float32Array
    grid: Float64Array
    """(4, 4), of the three maps above."""
    brain: Mask
    regions: npt.NDArray[np.uint8]
    fine_grid: Float64Array
    """(4, 4), of brain and regions; its voxels are half as wide and share the first centre."""
    table: tuple[Region, ...]


def class_maps(template: Template) -> Float32Array:
    """Return the share of every class in the voxels of the coarse grid.

    Returns
    -------
    (C, X, Y, Z) ndarray
        In the order of :data:`CLASSES`; the shares of a voxel add up to 1.
    """
    brain = _halve(template.brain)
    maps = np.zeros((len(CLASSES), *template.t1.shape), dtype=np.float32)
    for region in template.table:
        if region.name in NUCLEI:
            maps[CLASSES.index(region.name)] += _halve(template.regions == region.index)
    free = np.clip(brain - maps.sum(axis=0), 0, 1)
    grey, white = np.clip(template.grey, 0, 1), np.clip(template.white, 0, 1)
    fluid = np.clip(1 - grey - white, 0, 1)
    total = np.maximum(grey + white + fluid, 1e-6)
    deep = gaussian(np.isin(template.regions, _fluid(template)), 2.0)
    deep = np.clip(3 * deep[::2, ::2, ::2], 0, 1)
    shares = {"grey": grey, "white": white, "sulci": fluid * (1 - deep), "ventricle": fluid * deep}
    for name, share in shares.items():
        maps[CLASSES.index(name)] = free * share / total
    maps[0] = np.clip(1 - maps.sum(axis=0), 0, 1)
    return maps


def brain_share(maps: Float32Array) -> Float32Array:
    """Return the share of brain in the voxels of the class maps."""
    return np.asarray(1 - maps[0], dtype=np.float32)


def _fluid(template: Template) -> list[int]:
    return [r.index for r in template.table if r.name == "ventricle-csf"]


def expected_map(maps: Float32Array, channel: str) -> Float32Array:
    """Return what ``chi`` or ``r2star`` of the template is by the literature."""
    values = np.asarray(EXPECTED[channel], dtype=np.float32)
    return np.tensordot(values, maps, axes=1)


def _halve(mask: Mask) -> Float32Array:
    """Average a mask of the fine grid over the voxels of the coarse one."""
    out = np.zeros(tuple((n + 1) // 2 for n in mask.shape), dtype=np.float32)
    if not mask.any():
        return out
    # a region is small; its Gaussian ends after four voxels
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(int(found[0]) - 4, 0) // 2 * 2, int(found[-1]) + 5))
    part = gaussian(mask[tuple(box)], 0.85, mode="nearest")
    small = part[::2, ::2, ::2]
    start = [s.start // 2 for s in box]
    out[tuple(slice(a, a + n) for a, n in zip(start, small.shape, strict=True))] = small
    return out
