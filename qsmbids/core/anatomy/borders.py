"""Borders of nuclei, moved to where the maps of a run have their edges.

The template says about where a nucleus is, and what tissue lies around it. What each tissue looks
like in every map, and how much that varies, is measured in the run itself; a voxel then belongs to
the tissue that is most probable by its place, its values and its neighbours. Means, spreads and
labels are found in turn (expectation maximisation with a mean field for the neighbours).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label
from scipy.sparse.csgraph import connected_components

from qsmbids.core.anatomy.neighbours import Neighbours
from qsmbids.core.anatomy.template import CLASSES, EXPECTED, NUCLEI, Template
from qsmbids.core.maths.arrays import Box, Float32Array, Float64Array, FloatArray, LabelArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.distance import limited_distance
from qsmbids.core.maths.gaussian import gaussian
from qsmbids.core.maths.robust import MAD_TO_STD

__all__ = ["BorderChange", "Look", "box_around", "refine_borders"]


#: How far [mm] from the border the template is even odds against e, by registration and anatomy.
UNSURE = 1.2
#: Greatest share of a nucleus by the template, deep in it: nuclei vary.
SURE = 0.6
#: How far [mm] a border may move outwards.
REACH = 5.0
#: What two neighbours of one tissue count (logarithm of the odds).
TOGETHER = 0.6
#: What a value counts against an independent one: errors of neighbours go together.
INDEPENDENT = 0.5
#: Squared distance [spreads] beyond which a value tells nothing: of vessels, bleeding, streaks.
STRANGE = 40.0
#: Least share of its voxels that a nucleus keeps: else it is not where the template puts it.
LEAST_SHARE = 0.15
#: Least difference [spreads] between a nucleus and what lies around it for an edge to be one.
LEAST_STEP = 1.0
#: Two nuclei touch where some voxel has this share of both.
TOUCHING = 0.2
#: Least susceptibility [ppm] by the literature for a nucleus to show by its iron, and for half a
#: voxel of it to look like another nucleus.
LEAST_IRON, MUCH_IRON = 0.03, 0.1
#: Voxels of which one side [mm] is longer are half of one such nucleus and half of another too
#: often for them to be told apart; they stay as the template has them.
THICK = 2.5
#: Share of the template's region, the most susceptible, that surely is of a nucleus with iron.
SURELY = 0.15
#: Share of its largest piece below which another piece of a nucleus is none.
ISLAND = 0.1
#: Rounds of measuring and labelling, and of asking the neighbours within each.
N_ROUNDS, N_ASKED = 6, 3
_BLUR = 0.5  # mm: streaks and noise have edges too
_BLUR_TISSUE = 1.5  # mm: as uncertain as the nuclei
#: Least and greatest spread, of the usual one of a map: few voxels may agree by chance, and what
#: varies much would take in all that lies around.
SPREADS = (0.7, 2.0)
_FEWEST = 8


class BorderChange(dict[int, tuple[int, int]]):
    """Of every label that was moved: voxels won and lost."""


class Look(NamedTuple):
    """One map of the run that shows where tissues end."""

    values: FloatArray
    least_spread: float
    """No tissue varies less, in the unit of the map."""


class _Tissues(NamedTuple):
    """Place and number of what competes for the voxels: nuclei by name, then what is around."""

    names: tuple[str, ...]
    prior: Float32Array
    """(N, K) share of each tissue in every voxel by the template."""
    depth: Float32Array
    """(N, K of nuclei) distance to the template's border [mm], negative inside."""


def refine_borders(
    labels: LabelArray,
    looks: list[Look],
    around: Float32Array,
    support: Mask,
    template: Template,
    voxel_size: npt.ArrayLike,
) -> tuple[LabelArray, BorderChange]:
    """Let nuclei grow or shrink to the edges of the maps around their borders.

    A nucleus that does not stand out from its surroundings stays as it is, and so do, in thick
    slices, those with much iron, which lie side by side.

    Parameters
    ----------
    labels : (X, Y, Z) ndarray of uint8
        Of :func:`~qsmbids.core.anatomy.carrying.carry_labels`.
    looks : list of Look
        Maps of the run: susceptibility, and whatever else it has.
    around : (T, X, Y, Z) ndarray
        Share of every tissue that nuclei lie in, by the template.
    support : (X, Y, Z) ndarray of bool
        Where the maps are known.
    template : Template
        For the names of the labels.
    voxel_size : (3,) array_like
        [mm].

    References
    ----------
    Zhang Y, Brady M, Smith S. Segmentation of brain MR images through a hidden Markov random field
    model and the expectation-maximization algorithm. IEEE Trans Med Imaging 2001;20:45-57.
    doi:10.1109/42.906424
    """
    voxel = np.asarray(voxel_size, dtype=np.float64)
    index = {r.index: r.name for r in template.table if r.name in NUCLEI}
    box = box_around(np.isin(labels, list(index)), voxel, REACH + 2.0)
    if box is None:
        return labels.copy(), BorderChange()
    part = labels[box]
    near, nearest, tissues = _tissues(
        part, around[(slice(None), *box)], support[box], index, voxel
    )
    if len(tissues.prior) < _FEWEST:
        return labels.copy(), BorderChange()
    values = np.stack(
        [gaussian(look.values[box], _BLUR / voxel)[near] for look in looks], axis=-1
    ).astype(np.float32)
    floors = np.array([look.least_spread for look in looks])
    share = _segment(values, floors, tissues, Neighbours.of(near, voxel))
    found = np.zeros(part.shape, dtype=labels.dtype)
    best = share.argmax(axis=1)
    inside = best < len(tissues.names)
    chosen = np.zeros(len(best), dtype=labels.dtype)
    chosen[inside] = nearest[np.flatnonzero(inside), best[inside]]
    found[near] = chosen
    _drop_islands(found)
    thick = {i for i, name in index.items() if voxel.max() > THICK and _iron(name) >= MUCH_IRON}
    return _keep(labels, box, near, found, index, thick)


def box_around(found: Mask, voxel: Float64Array, spare_mm: float) -> Box | None:
    """Return the part of a volume around what was found, None where nothing was."""
    if not found.any():
        return None
    x, y, z = (
        slice(max(part.start - wide, 0), part.stop + wide)
        for part, wide in zip(
            bounding_box(found), np.ceil(spare_mm / voxel).astype(int).tolist(), strict=True
        )
    )
    return x, y, z


def _tissues(
    labels: LabelArray,
    around: Float32Array,
    support: Mask,
    index: dict[int, str],
    voxel: Float64Array,
) -> tuple[Mask, LabelArray, _Tissues]:
    """Return the voxels that may be of nuclei, the label of each kind nearest, and the tissues."""
    names = tuple(dict.fromkeys(index[i] for i in index if (labels == i).any()))
    depth = np.full((len(names), *labels.shape), REACH, dtype=np.float32)
    nearest = np.zeros((len(names), *labels.shape), dtype=labels.dtype)
    for number, name in index.items():
        box = box_around(labels == number, voxel, REACH + 2.0)
        if box is None:
            continue
        at = (names.index(name), *box)
        away = _signed(labels[box] == number, voxel)
        nearer = away < depth[at]
        nearest[at][nearer] = number
        depth[at] = np.minimum(depth[at], away)
    near = (depth < REACH).any(axis=0) & support
    depth, nearest = depth[:, near].T, nearest[:, near].T
    inside = (1 / (1 + np.exp(depth / UNSURE))) * (depth < REACH)
    inside /= np.maximum(inside.sum(axis=1, keepdims=True) / SURE, 1)
    rest = 1 - inside.sum(axis=1, keepdims=True)
    shares = np.stack([gaussian(t, _BLUR_TISSUE / voxel)[near] for t in around], axis=-1) + 0.05
    shares *= rest / shares.sum(axis=1, keepdims=True)
    prior = np.concatenate([inside, shares], axis=1).astype(np.float32)
    return near, nearest, _Tissues(names, prior, depth)


def _signed(mask: Mask, voxel: Float64Array) -> Float32Array:
    """Return the distance [mm] to the faces of a region, negative inside."""
    limit, half = REACH + 2.0, float(voxel.mean()) / 2
    outside = limited_distance(mask, voxel, limit) - half
    return np.where(mask, half - limited_distance(~mask, voxel, limit), outside)


def _segment(
    values: Float32Array, floors: Float64Array, tissues: _Tissues, neighbours: Neighbours
) -> Float32Array:
    """Return how probable every tissue is in every voxel."""
    log_prior = np.log(np.maximum(tissues.prior, 1e-9))
    share = tissues.prior / tissues.prior.sum(axis=1, keepdims=True)
    weight, alike = _cores(values, tissues), _alike(tissues)
    for _ in range(N_ROUNDS):
        centre, spread = _measure(values, weight, floors, alike)
        away = np.minimum(((values[:, None] - centre) / spread) ** 2, STRANGE).sum(axis=2)
        likely = INDEPENDENT * (-0.5 * away - np.log(spread).sum(axis=1))
        own = _as_the_template(log_prior + likely, log_prior, tissues, centre, spread)
        for _ in range(N_ASKED):
            share = neighbours.settle(own, share, TOGETHER)
        weight = np.where(share > 0.5, share, 0)
    return share


def _cores(values: Float32Array, tissues: _Tissues) -> Float32Array:
    """Return the voxels that surely are of each tissue, as first weights.

    Of a nucleus with iron, they are the most susceptible ones: the nucleus may be much smaller
    than that of the template.
    """
    weight = np.where(tissues.prior > 0.5, tissues.prior, 0)
    for k, name in enumerate(tissues.names):
        deep = tissues.depth[:, k]
        if not (deep < 0).any():
            continue
        core = deep <= max(-1.5, 0.5 * float(deep.min()))
        if _iron(name) >= LEAST_IRON:
            core = deep < 0
            n = max(_FEWEST, int(SURELY * np.count_nonzero(core)))
            core &= values[:, 0] >= np.sort(values[core, 0])[-n:][0]
        weight[:, k] = core
    return weight


def _iron(name: str) -> float:
    """Return the susceptibility of a nucleus by the literature [ppm]."""
    return EXPECTED["chi"][CLASSES.index(name)]


def _measure(
    values: Float32Array, weight: Float32Array, floors: Float64Array, alike: list[list[int]]
) -> tuple[Float32Array, Float32Array]:
    """Return middle and spread of every tissue in every map; vessels and streaks do not count."""
    n_tissues, n_maps = weight.shape[1], values.shape[1]
    centre = np.zeros((n_tissues, n_maps))
    spread = np.full((n_tissues, n_maps), np.nan)
    for kinds in alike:
        seen = values[(weight[:, kinds] > 0).any(axis=1)]
        if len(seen) >= _FEWEST:
            centre[kinds] = np.median(seen, axis=0)
            spread[kinds] = MAD_TO_STD * np.median(np.abs(seen - centre[kinds[0]]), axis=0)
        else:
            centre[kinds] = np.inf  # what is not there looks like nothing
    usual = np.nanmedian(spread, axis=0) if np.isfinite(spread).any() else floors
    least = np.maximum(floors, SPREADS[0] * usual)
    most = np.maximum(floors, SPREADS[1] * usual)
    spread = np.clip(np.where(np.isfinite(spread), spread, usual), least, most)
    return centre.astype(np.float32), spread.astype(np.float32)


def _alike(tissues: _Tissues) -> list[list[int]]:
    """Return which tissues share a look: nuclei with much iron that touch, the others alone.

    Only the template tells those apart: half of a voxel of one looks like the whole of another.
    """
    rich = [k for k, name in enumerate(tissues.names) if _iron(name) >= MUCH_IRON]
    touching = np.eye(tissues.prior.shape[1], dtype=bool)
    for i, j in combinations(rich, 2):
        shared = np.minimum(tissues.prior[:, i], tissues.prior[:, j]).max()
        touching[i, j] = touching[j, i] = shared > TOUCHING
    n_looks, look = connected_components(touching, directed=False)
    return [np.flatnonzero(look == number).tolist() for number in range(n_looks)]


def _as_the_template(
    own: Float32Array,
    log_prior: Float32Array,
    tissues: _Tissues,
    centre: Float32Array,
    spread: Float32Array,
) -> Float32Array:
    """Let the template alone speak of nuclei that look like what lies around them."""
    n_nuclei = len(tissues.names)
    for k in range(n_nuclei):
        shell = (tissues.depth[:, k] > 0) & (tissues.depth[:, k] < REACH)
        beside = tissues.prior[shell, n_nuclei:].sum(axis=0)
        step = np.abs(centre[n_nuclei:] - centre[k]) / np.maximum(spread[n_nuclei:], spread[k])
        if beside[step.max(axis=1) >= LEAST_STEP].sum() < 0.5 * beside.sum():
            inner = tissues.depth[:, k] < 0
            own[inner] = log_prior[inner]
            own[inner, k] = 30.0
            own[~inner, k] = -30.0
    return own


def _drop_islands(found: LabelArray) -> None:
    """Take out what is apart from a nucleus and small against it: cortex and vessels."""
    for number, box in enumerate(find_objects(found), start=1):
        if box is None:
            continue
        pieces, _ = label(found[box] == number, np.ones((3, 3, 3)))
        size = np.bincount(pieces.ravel())
        size[0] = 0
        found[box][(pieces > 0) & (size < ISLAND * size.max())[pieces]] = 0


def _keep(
    labels: LabelArray,
    box: Box,
    near: Mask,
    found: LabelArray,
    index: dict[int, str],
    stay: set[int],
) -> tuple[LabelArray, BorderChange]:
    """Take over what was found, but for nuclei that are to stay or would lose most of theirs."""
    out, change = labels.copy(), BorderChange()
    part, before = out[box], labels[box]
    lost = stay | {
        i
        for i in index
        if np.count_nonzero(found == i) < LEAST_SHARE * np.count_nonzero((before == i) & near)
    }
    ours = near & np.isin(before, list(index)) & ~np.isin(before, list(lost))
    part[ours] = 0
    new = np.isin(found, list(index)) & ~np.isin(found, list(lost)) & ~np.isin(part, list(lost))
    part[new] = found[new]
    for i in index:
        won = int(np.count_nonzero((part == i) & (before != i)))
        gone = int(np.count_nonzero((part != i) & (before == i)))
        if won or gone:
            change[i] = (won, gone)
    return out, change
