"""Borders of nuclei, moved to where a susceptibility map has its edge."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, binary_erosion, find_objects, gaussian_filter

from qsmbids.core.anatomy.template import CLASSES, EXPECTED, NUCLEI, Template
from qsmbids.core.maths.arrays import FloatArray, LabelArray, Mask

__all__ = ["BorderChange", "refine_borders"]


#: How far [mm] a border may move outwards; at least one voxel.
REACH = 1.5
#: How far [mm] it may move inwards: a nucleus may be thinner than that of the atlas by more than
#: the registration errs, and what lies between is then plainly not it.
RETREAT = 4.0
#: Least share of its voxels that a nucleus keeps.
LEAST_SHARE = 0.15
#: Least difference [ppm] between a nucleus and its surroundings for an edge to be one.
LEAST_STEP = 0.02
#: Difference [ppm] from which a border may move by more than the registration errs; below it,
#: voxels would be chosen by the errors of the map, and the mean of a region with them.
CLEAR_STEP = 0.03
#: Volume [mm^3] from which a nucleus may shed a layer of tissue that it had taken for its own.
LARGE = 1500.0
#: Least susceptibility [ppm] by the literature for a nucleus to show in a map.
LEAST_IRON = 0.03
#: Percentile of a region that is taken for its nucleus, before and after the first step.
AT_FIRST, THEN = 90.0, 60.0
_BLUR = 0.6  # mm: streaks and noise have edges too


class BorderChange(dict[int, tuple[int, int]]):
    """Of every label that was moved: voxels won and lost."""


def refine_borders(
    labels: LabelArray,
    chi: FloatArray,
    support: Mask,
    template: Template,
    voxel_size: npt.ArrayLike,
) -> tuple[LabelArray, BorderChange]:
    """Let nuclei grow or shrink by the susceptibility beside their border.

    A border voxel belongs to the side whose value it is nearer to: that of the nucleus' core, or
    the median of the tissue a little further out. A nucleus that does not stand out from its
    surroundings, as the thalamus never does, stays as it is, and none takes a voxel from another.

    Parameters
    ----------
    labels : (X, Y, Z) ndarray of uint8
        Of :func:`~qsmbids.core.anatomy.carrying.carry_labels`.
    chi : (X, Y, Z) ndarray
        [ppm]
    support : (X, Y, Z) ndarray of bool
        Where chi is known.
    template : Template
        For the names of the labels.
    voxel_size : (3,) array_like
        [mm].
    """
    voxel = np.asarray(voxel_size, dtype=np.float64)
    out = labels.copy()
    change = BorderChange()
    boxes = find_objects(labels)
    names = {r.index: r.name for r in template.table}
    margin = np.ceil(6.0 / voxel).astype(int)
    grow, shrink = (max(1, round(mm / float(voxel.mean()))) for mm in (REACH, RETREAT))
    for index, box in enumerate(boxes, start=1):
        name = names.get(index)
        if box is None or name not in NUCLEI:
            continue
        if EXPECTED["chi"][CLASSES.index(name)] < LEAST_IRON:
            continue
        wide = tuple(
            slice(max(0, s.start - m), min(n, s.stop + m))
            for s, m, n in zip(box, margin, labels.shape, strict=True)
        )
        region, changed = _refine_one(
            labels[wide] == index,
            _free(out[wide], index, names),
            gaussian_filter(chi[wide].astype(np.float64), _BLUR / voxel),
            support[wide],
            grow,
            shrink,
        )
        if changed is not None and np.count_nonzero(region) * voxel.prod() > LARGE:
            smooth = gaussian_filter(chi[wide].astype(np.float64), _BLUR / voxel)
            region, shed = _shed(region, smooth, support[wide], shrink)
            changed = (changed[0], changed[1] + shed)
        if changed is not None:
            part = out[wide]
            part[part == index] = 0
            part[region] = index
            change[index] = changed
    return out, change


def _free(labels: LabelArray, index: int, names: dict[int, str]) -> Mask:
    """Return where a nucleus may grow: not into another one."""
    others = [i for i, name in names.items() if name in NUCLEI and i != index]
    return ~np.isin(labels, others)


def _refine_one(
    region: Mask, free: Mask, chi: FloatArray, support: Mask, grow: int, shrink: int
) -> tuple[Mask, tuple[int, int] | None]:
    shell = binary_dilation(region, iterations=grow + 2) & ~binary_dilation(
        region, iterations=grow
    )
    shell &= free & support
    if np.count_nonzero(region & support) < 8 or np.count_nonzero(shell) < 8:
        return region, None
    outside = float(np.median(chi[shell]))
    before = region
    for step in range(max(grow, shrink)):
        # at first the region may hold more of its surroundings than of the nucleus
        inside = _inside(region & support, chi, AT_FIRST if step == 0 else THEN)
        # what is counted here has more iron than what lies around it
        if inside - outside < LEAST_STEP:
            return before, None
        like = (chi - outside) / (inside - outside) > 0.5
        moved = region
        if step < (shrink if inside - outside > CLEAR_STEP else grow):
            moved = region & ~(~binary_erosion(region) & ~like & support)
        if step < grow:
            moved = moved | (binary_dilation(region) & ~region & free & support & like)
        # a nucleus that would lose most of itself is not where the template puts it
        if np.count_nonzero(moved) < LEAST_SHARE * np.count_nonzero(before):
            break
        if np.array_equal(moved, region):
            break
        region = moved
    return region, (
        int(np.count_nonzero(region & ~before)),
        int(np.count_nonzero(before & ~region)),
    )


def _shed(region: Mask, chi: FloatArray, support: Mask, shrink: int) -> tuple[Mask, int]:
    """Take off outer layers that are unlike the core, though more like it than what lies around.

    Grey matter around a nucleus that is smaller than the atlas' is such a layer.
    """
    before = int(np.count_nonzero(region))
    kept = region
    for _ in range(shrink):
        core = binary_erosion(kept & support)
        rim = kept & support & ~core
        if np.count_nonzero(core) < 8 or not rim.any():
            break
        inside, beside = float(np.percentile(chi[core], 60)), float(np.median(chi[rim]))
        if inside - beside < LEAST_STEP:
            break
        like = (chi - beside) / (inside - beside) > 0.5
        inner = kept & ~(~binary_erosion(kept) & ~like & support)
        if np.count_nonzero(inner) < LEAST_SHARE * before or np.array_equal(inner, kept):
            break
        kept = inner
    return kept, before - int(np.count_nonzero(kept))


def _inside(known: Mask, chi: FloatArray, percent: float) -> float:
    """Return the value of a nucleus, from its core where it has one."""
    core = binary_erosion(known)
    values = chi[core if np.count_nonzero(core) >= 8 else known]
    return float(np.percentile(values, percent))
