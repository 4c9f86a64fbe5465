"""Where a run shows the surface of the brain that a template has put near it.

What a voxel looks like by its distance to the surface is learned from the run itself, so no
contrast is assumed: tissue, fluid, bone, muscle or air have the values that they have there. Then
the template's surface moves, smoothly, to where the run agrees best with what was learned, which
sharpens what is learned next.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from qsmbids.core.maths.arrays import (
    Float32Array,
    Float64Array,
    FloatArray,
    LabelArray,
    Mask,
)
from qsmbids.core.maths.smoothing import block_sums, convolve_blocks, interpolate_blocks

__all__ = ["Looks", "seen_surface", "unshaded"]


#: Half the width [mm] of the band around the template's surface that is looked at.
BAND = 9.0
#: Width [mm] of the layers that are told apart, and of the steps of the surface.
LAYER = 0.75
#: Most that the surface moves [mm], what is usual, and how far its moves hang together.
FARTHEST, USUAL, SMOOTH = 6.0, 3.0, 3.0
#: Width [mm] of the cells whose moves are sought.
CELL = 4.0
#: Distance [mm] between voxels that are looked at for it.
ENOUGH = 1.0
#: Independent voxels that the voxels of a neighbourhood count for.
INDEPENDENT = 20.0
N_ROUNDS = 4
#: Levels of a feature.
N_LEVELS = 20
N_LEVELS_OF_ONE = 48
#: Probability that anything is seen anywhere.
FLOOR = 2e-4

#: Width [mm] of the Gaussian over which the receive field is seen, how far beyond its middle a
#: slope is believed [such widths], and within what factors of the median it is.
SHADE, FARTHEST_SHADE, SHADES = 12.0, 2.0, (0.1, 10.0)
#: Variance of the places [such widths squared] below which no slope is seen.
_FLAT = 0.03
#: Tissue is so near to its neighbours, as a share.
USUAL_SPREAD = 0.3

#: Layers [mm] inside the surface that are brain and outside of it that are not.
_BRAIN, _BEYOND = (-6.0, -2.5), 4.5
#: Share of brain-like voxels that is left where tissue ends: gyri do not all reach the surface.
_LEFT = 0.2
#: Width [mm] of the fluid between the brain's surface and the bone: the least, within which the
#: brain's tissue is seen to end, and what is usual where fluid looks like tissue.
_FLUID, _UNSEEN_FLUID = 2.5, 3.0
#: Least share of voxels whose look changes across a surface.
_LEAST_FALL = 0.2

_EDGES = np.arange(-BAND, BAND + LAYER / 2, LAYER)
_CENTRES = (_EDGES[1:] + _EDGES[:-1]) / 2


class Looks(NamedTuple):
    """What every voxel looks like, as one number that counts levels of the features."""

    number: LabelArray
    """Looks beside other surroundings are other looks."""
    shape: tuple[int, ...]
    """Kinds of surroundings, and levels of every feature."""

    @classmethod
    def of(
        cls, features: list[Float32Array], near: Mask, kinds: LabelArray | None = None
    ) -> "Looks":
        """Sort voxels by their features; the levels span what is seen in ``near``.

        Parameters
        ----------
        features : list of (X, Y, Z) ndarray
        near : (X, Y, Z) ndarray of bool
        kinds : (X, Y, Z) ndarray of int, optional
            What kind of surroundings the brain has there, from 0: what bone looks like from
            outside tells nothing of muscle.
        """
        index = np.zeros(near.shape, dtype=np.int32) if kinds is None else kinds.astype(np.int32)
        n_levels = N_LEVELS if len(features) > 1 else N_LEVELS_OF_ONE
        for feature in features:
            low, high = np.percentile(feature[near], (1, 99))
            scaled = (feature - low) * ((n_levels - 1) / max(float(high - low), 1e-12))
            index *= n_levels
            index += np.clip(scaled, 0, n_levels - 1).astype(np.int32)
        n_kinds = 1 if kinds is None else int(kinds.max()) + 1
        return cls(index, (n_kinds, *(n_levels,) * len(features)))

    def counts(self, chosen: Mask) -> Float64Array:
        """Return how often every look is chosen: kinds times looks, smooth over the levels."""
        counts = np.bincount(self.number[chosen], minlength=int(np.prod(self.shape)))
        smooth = gaussian_filter(
            counts.reshape(self.shape).astype(np.float64), [0.0] + [1.0] * (len(self.shape) - 1)
        )
        return np.asarray(smooth.reshape(self.shape[0], -1))

    def odds(self, inner: Mask, outer: Mask) -> Float64Array:
        """Return, of every look, the logarithm of the odds to be in one set, not the other."""
        inside, outside = (
            c / np.maximum(c.sum(axis=1, keepdims=True), 1e-12) + 1e-4
            for c in (self.counts(inner), self.counts(outer))
        )
        return np.asarray(np.log(inside / outside).ravel())


def unshaded(magnitude: FloatArray, core: Mask, voxel: FloatArray) -> Float32Array:
    """Divide by the smooth receive field, which the brain's core shows.

    By local planes: a mean looks to one side at the core's rim, and a field that falls towards the
    neck would make all that lies below it dark.
    """
    level = float(np.median(magnitude[core])) if core.any() else 0.0
    if level <= 0:
        return np.asarray(magnitude, dtype=np.float32)
    scaled = np.asarray(magnitude, dtype=np.float32) / np.float32(level)
    field = _local_planes(scaled, core, voxel)
    # fluid and vessels are not shade
    field = _local_planes(scaled, core & (np.abs(scaled / field - 1) < USUAL_SPREAD), voxel)
    return np.asarray(scaled / field, dtype=np.float32)


def _local_planes(values: Float32Array, core: Mask, voxel: FloatArray) -> Float32Array:
    """Fit a plane around every place, with Gaussian weights over the core, and take its value."""
    sigma = SHADE / voxel
    widths = [max(1, int(w / 3)) for w in sigma]
    weight = block_sums(core.astype(np.float32), widths)
    product = block_sums(np.where(core, values, 0).astype(np.float32), widths)
    place = np.indices(weight.shape, dtype=np.float32)
    place *= (np.asarray(widths) / sigma).astype(np.float32)[:, None, None, None]
    place -= place.mean(axis=(1, 2, 3), keepdims=True)
    upper = [(i, j) for i in range(3) for j in range(i, 3)]
    moments = [weight, *(weight * x for x in place)]
    moments += [weight * place[i] * place[j] for i, j in upper]
    moments += [product, *(product * x for x in place)]
    smooth = convolve_blocks(np.stack(moments, axis=-1), sigma / widths)
    least = 1e-6 * float(smooth[..., 0].max())
    sums: Float64Array = smooth.astype(np.float64) / np.maximum(smooth[..., :1], least)
    mean, covariance = sums[..., 1:4], np.empty((*weight.shape, 3, 3))
    for n, (i, j) in enumerate(upper):
        covariance[..., i, j] = sums[..., 4 + n] - mean[..., i] * mean[..., j]
        covariance[..., j, i] = covariance[..., i, j]
    covariance += _FLAT * np.eye(3)
    slope = sums[..., 11:] - mean * sums[..., 10:11]
    slope = np.asarray(np.linalg.solve(covariance, slope[..., None])[..., 0], dtype=np.float64)
    away = np.clip(np.moveaxis(place, 0, -1) - mean, -FARTHEST_SHADE, FARTHEST_SHADE)
    field = np.clip(sums[..., 10] + (slope * away).sum(axis=-1), *SHADES).astype(np.float32)
    return np.asarray(interpolate_blocks(field, widths, core.shape), dtype=np.float32)


def seen_surface(looks: Looks, distance: Float32Array, voxel_size: npt.ArrayLike) -> Float32Array:
    """Return the distance to the surface that is seen near that of a template.

    Parameters
    ----------
    looks : Looks
    distance : (X, Y, Z) ndarray
        To the template's surface [mm], negative inside.
    voxel_size : (3,) array_like
        [mm].

    Returns
    -------
    (X, Y, Z) ndarray
        [mm], 0 at the brain's surface; farther than :data:`BAND` as it was.
    """
    voxel = np.asarray(voxel_size, dtype=np.float64)
    near = np.abs(distance) < BAND - LAYER
    if not near.any():
        return distance.copy()
    # voxels that are much smaller than a cell tell the same again
    few = tuple(slice(None, None, max(1, round(ENOUGH / v))) for v in voxel)
    chosen = np.zeros_like(near)
    chosen[few] = near[few]
    cells = _Cells(np.argwhere(chosen), voxel, distance.shape)
    look, depth = looks.number[chosen], distance[chosen].astype(np.float64)
    best, move = np.zeros(cells.shape), np.zeros(len(depth))
    for _ in range(N_ROUNDS):
        learned = np.log(_layers(look, looks.shape, depth - move) + FLOOR)
        best = _best_move(learned, look, depth, cells)
        move = cells.at_voxels(best)
    layers = _layers(look, looks.shape, depth - move)
    end = np.asarray([_end_of_brain(k) for k in np.split(layers, looks.shape[0])])
    if not chosen[near].all():
        move = cells.at_voxels(best, np.argwhere(near))
    seen, kind = distance.copy(), looks.number[near] // int(np.prod(looks.shape[1:]))
    seen[near] = distance[near].astype(np.float64) - move - end[kind]
    return seen


class _Cells:
    """Cells of the image, wider than its voxels: sums over them, and values between them."""

    def __init__(self, place: LabelArray, voxel: Float64Array, shape: tuple[int, ...]) -> None:
        self.width = np.maximum(CELL, voxel)
        self.scale = voxel / self.width
        self.coordinates = self._between(place)
        self.shape = tuple(
            int(n) for n in np.ceil(np.asarray(shape) * voxel / self.width).astype(int)
        )
        number = np.clip(np.rint(self.coordinates).astype(int), 0, np.asarray(self.shape) - 1)
        self.number = np.ravel_multi_index(tuple(number.T), self.shape)
        self.weight = self._smooth(np.ones(len(place)))

    def _smooth(self, values: Float64Array) -> Float64Array:
        n_cells = int(np.prod(self.shape))
        sums = np.bincount(self.number, values, minlength=n_cells).reshape(self.shape)
        return np.asarray(gaussian_filter(sums, SMOOTH / self.width))

    def mean(self, values: Float64Array) -> Float64Array:
        """Return the mean of the voxels around every cell, 0 far from all."""
        return self._smooth(values) / np.maximum(self.weight, 1e-3 * self.weight.max())

    def at_voxels(self, values: Float64Array, place: LabelArray | None = None) -> Float64Array:
        """Return values of cells at the voxels, or at others."""
        where = self.coordinates if place is None else self._between(place)
        return np.asarray(
            map_coordinates(values, where.T, order=1, mode="nearest"), dtype=np.float64
        )

    def _between(self, place: LabelArray) -> Float64Array:
        """Return where voxels lie on the grid of the cells."""
        return np.asarray((place + 0.5) * self.scale - 0.5)


def _layers(look: LabelArray, shape: tuple[int, ...], depth: Float64Array) -> Float64Array:
    """Return how probable every look is in every layer."""
    layer = np.clip(np.floor((depth + BAND) / LAYER), 0, len(_CENTRES) - 1).astype(np.int64)
    n_looks = int(np.prod(shape))
    counts = np.bincount(look * len(_CENTRES) + layer, minlength=n_looks * len(_CENTRES))
    smooth = gaussian_filter(
        counts.reshape(*shape, len(_CENTRES)).astype(np.float64),
        [0.0] + [1.0] * (len(shape) - 1) + [0.5],
    ).reshape(shape[0], -1, len(_CENTRES))
    smooth /= np.maximum(smooth.sum(axis=1, keepdims=True), 1e-12)
    return smooth.reshape(n_looks, len(_CENTRES))


def _best_move(
    learned: Float64Array, look: LabelArray, depth: Float64Array, cells: _Cells
) -> Float64Array:
    """Return the move [mm] of every cell that agrees best with what was learned, on average."""
    moves = np.arange(-round(FARTHEST / LAYER), round(FARTHEST / LAYER) + 1)
    layer = np.floor((depth + BAND) / LAYER).astype(np.int64)
    flat, row = learned.ravel(), look.astype(np.int64) * learned.shape[1]
    support = []
    for move in moves:
        column = np.clip(layer - move, 0, learned.shape[1] - 1)
        prior = 0.5 * (move * LAYER / USUAL) ** 2
        support.append(INDEPENDENT * cells.mean(flat[row + column]) - prior)
    stack = np.stack(support)
    weight = np.exp(stack - stack.max(axis=0))
    best = np.tensordot(moves * LAYER, weight, axes=1) / weight.sum(axis=0)
    return np.asarray(best, dtype=np.float64)


def _end_of_brain(layers: Float64Array) -> float:
    """Return where the brain ends [mm]: with its tissue, or farther out if bone is far from it.

    Fluid may look like some tissue: that has ended where no more of it is left than there is in
    the fluid, before the bone.
    """
    brain = layers[:, (_CENTRES > _BRAIN[0]) & (_CENTRES < _BRAIN[1])].mean(axis=1)
    beyond = layers[:, _CENTRES > _BEYOND].mean(axis=1)
    left = np.minimum(layers, brain[:, None]).sum(axis=0)
    tissue = _falls_below(left, _LEFT)
    bone = _falls_below(-np.minimum(layers, beyond[:, None]).sum(axis=0), 0.5)
    if tissue is None or bone is None:
        return 0.0
    if bone < tissue:
        # no fluid is to be seen between the two, as in late echoes at 7 T
        return bone - _UNSEEN_FLUID
    in_fluid = _falls_below(left, _LEFT, bone - _FLUID / 4)
    return max(tissue if in_fluid is None else in_fluid, bone - _FLUID)


def _falls_below(curve: Float64Array, share: float, last: float = np.inf) -> float | None:
    """Return where a curve over the layers first has fallen to a share of its whole fall [mm].

    The fall ends at ``last`` [mm]. ``None`` where it does not fall: the run shows no surface.
    """
    inside = curve[(_CENTRES > _BRAIN[0]) & (_CENTRES < _BRAIN[1])].mean()
    start = int(np.argmax(_CENTRES > _BRAIN[1]))
    stop = start + np.count_nonzero(_CENTRES[start:] < last)
    if stop == start:
        return None
    low = curve[start:stop].min()
    if inside - low < _LEAST_FALL:
        return None
    level = low + share * (inside - low)
    below = np.flatnonzero(curve[start:] <= level)
    k = start + int(below[0])
    drop = curve[k - 1] - curve[k]
    part = (curve[k - 1] - level) / drop if drop > 0 else 0.0
    return float(_CENTRES[k - 1] + np.clip(part, 0, 1) * LAYER)
