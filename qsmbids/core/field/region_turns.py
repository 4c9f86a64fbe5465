r"""Regions that region growing left whole turns off what surrounds them.

Beside air the phase changes by more than half a turn from voxel to voxel. Growing, which asks for
less, enters such a place by a step that is too small by a turn, and all that lies behind follows:
a region of good signal that is a turn off. Along the rest of its border the phase jumps.

Candidates are found by a minimum cut: of all sets of voxels, moving which by a turn lowers
:math:`\sum_{ij} w_{ij} (u_i - u_j)^2` most [1]_, until none does. That alone would flatten places
that are truly steep, so that a region is moved only if the phase then also runs straighter across
its border: the sum of its second differences, robust and weighted, must fall.

References
----------
.. [1] Bioucas-Dias JM, Valadão G. Phase unwrapping via graph cuts. IEEE Trans Image Process
   2007;16:698-709. doi:10.1109/TIP.2006.888351
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.units import TWO_PI

__all__ = ["RegionTurns", "mend_region_turns"]

#: A step between neighbours from which a turn may be missing.
JUMP = 0.5
#: Least share of the median magnitude of both for a jump to be asked about.
LEAST_SIGNAL = 0.25
#: How far from a jump [voxels] turns may be changed, and most voxels of that.
REACH, MOST_VOXELS = 8, 400_000
#: The smallest region that is moved, and what of its second differences may be left.
SMALLEST, STRAIGHTER = 4, 0.9
#: Integers of the cut per unit of the energy; a fixed voxel cannot be cut off.
SCALE, FIXED = 1000, 10**8


@dataclass(frozen=True)
class RegionTurns:
    """What :func:`mend_region_turns` returns.

    Attributes
    ----------
    phase : (X, Y, Z) ndarray of float32
        [rad]
    n_regions, n_voxels : int
        That were moved.
    too_many : bool
        So much of the phase jumps that nothing was tried.
    """

    phase: Float32Array
    n_regions: int = 0
    n_voxels: int = 0
    too_many: bool = False


def mend_region_turns(
    phase: Float32Array, magnitude: FloatArray, mask: Mask, *, slice_axis: int | None = None
) -> RegionTurns:
    """Move regions of an unwrapped phase by whole turns where it then runs straighter.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Unwrapped [rad], 0 outside the mask.
    magnitude : (X, Y, Z) ndarray
        Of the same echo: voxels of little signal have little say.
    mask : (X, Y, Z) ndarray of bool
        Where the phase was unwrapped.
    slice_axis : int, optional
        Across the slices of a 2-D scan: slices are not compared.

    Returns
    -------
    RegionTurns

    Notes
    -----
    Where no neighbours of fair signal differ by more than half a turn, nothing is done.

    Examples
    --------
    >>> ramp = np.full((12, 12, 12), 0.3, np.float32) * np.arange(12, dtype=np.float32)
    >>> wrong = ramp.copy()
    >>> wrong[4:8, 4:8, 4:8] -= np.float32(2 * np.pi)
    >>> found = mend_region_turns(wrong, np.ones_like(ramp), np.ones(ramp.shape, bool))
    >>> found.n_voxels, bool(np.allclose(found.phase, ramp, atol=1e-5))
    (64, True)
    """
    if not mask.any():
        return RegionTurns(phase)
    box = bounding_box(mask)
    inside = np.ascontiguousarray(mask[box])
    turns = np.where(inside, phase[box], 0).astype(np.float32) / np.float32(TWO_PI)
    signal = np.where(inside, magnitude[box], 0).astype(np.float32)
    middle = float(np.median(signal[inside]))
    signal = np.clip(signal / middle, 0, 1) if middle > 0 else inside.astype(np.float32)
    axes = [axis for axis in range(3) if axis != slice_axis]
    jumps = _jumps(turns, inside, signal, axes)
    if not jumps.any():
        return RegionTurns(phase)
    free = _around(jumps, inside)
    if np.count_nonzero(free) > MOST_VOXELS:
        return RegionTurns(phase, too_many=True)
    proposed = _least_jumps(turns, inside, signal, free, axes)
    moved, n_regions = _straighter(turns, proposed, inside, signal, axes)
    if not n_regions:
        return RegionTurns(phase)
    mended = phase.copy()
    mended[box] += np.float32(TWO_PI) * moved
    return RegionTurns(mended, n_regions, int(np.count_nonzero(moved)))


def _slices(axis: int, *parts: tuple[int | None, int | None]) -> list[tuple[slice, ...]]:
    return [tuple(slice(*part) if a == axis else slice(None) for a in range(3)) for part in parts]


def _jumps(turns: Float32Array, inside: Mask, signal: Float32Array, axes: list[int]) -> Mask:
    """Return the voxels of fair signal that differ from a neighbour by over half a turn."""
    fair = inside & (signal > LEAST_SIGNAL)
    found = np.zeros_like(inside)
    for axis in axes:
        low, high = _slices(axis, (0, -1), (1, None))
        here = fair[low] & fair[high] & (np.abs(turns[high] - turns[low]) > JUMP)
        found[low] |= here
        found[high] |= here
    return found


def _around(jumps: Mask, inside: Mask) -> Mask:
    """Return what is near a jump or cut off by such places from most of the mask."""
    near = inside & ndi.binary_dilation(jumps, iterations=REACH)
    labels, _ = ndi.label(inside & ~near)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return inside & ((labels != sizes.argmax()) if sizes.any() else True)


def _least_jumps(
    turns: Float32Array, inside: Mask, signal: Float32Array, free: Mask, axes: list[int]
) -> npt.NDArray[np.int16]:
    """Return the turns to add for the least sum of squared steps; only ``free`` may move."""
    nodes = inside & ndi.binary_dilation(free)
    number = np.full(inside.shape, -1, np.int32)
    number[nodes] = np.arange(np.count_nonzero(nodes), dtype=np.int32)
    ends = []
    for axis in axes:
        pair = [number[part] for part in _slices(axis, (0, -1), (1, None))]
        both = (pair[0] >= 0) & (pair[1] >= 0)
        ends.append([p[both] for p in pair])
    near, far = (np.concatenate(part) for part in zip(*ends, strict=True))
    value, say = turns[nodes].astype(np.float64), signal[nodes].astype(np.float64)
    weight = np.minimum(say[near], say[far])
    fixed = np.flatnonzero(~free[nodes])
    if not fixed.size:  # turns of all voxels together mean nothing
        fixed = np.array([int(np.argmax(say))])
    start = value.copy()
    sign, idle = 1, 0
    while idle < 2:
        chosen = _best_set(value, near, far, weight, fixed, sign)
        moved = value + sign * chosen
        before, after = (float((weight * (v[far] - v[near]) ** 2).sum()) for v in (value, moved))
        if after < before - 1e-3:
            value, idle = moved, 0
        else:
            sign, idle = -sign, idle + 1
    proposed = np.zeros(inside.shape, np.int16)
    proposed[nodes] = np.rint(value - start)
    return proposed


def _best_set(
    value: npt.NDArray[np.float64],
    near: npt.NDArray[np.int32],
    far: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float64],
    fixed: npt.NDArray[np.intp],
    sign: int,
) -> Mask:
    """Return the voxels to move by a turn: those on the sink's side of the minimum cut."""
    n, step = value.size, value[far] - value[near]
    stay = weight * step**2
    far_moves, near_moves = weight * (step + sign) ** 2, weight * (step - sign) ** 2
    own = np.bincount(near, near_moves - stay, n) + np.bincount(far, stay - near_moves, n)
    across = np.rint(SCALE * (far_moves + near_moves - 2 * stay)).astype(np.int64)
    own = np.rint(SCALE * own).astype(np.int64)
    costs, gains = np.flatnonzero(own > 0), np.flatnonzero(own < 0)
    rows: list[npt.NDArray[np.integer]] = [near, np.full(costs.size + fixed.size, n), gains]
    columns: list[npt.NDArray[np.integer]] = [far, costs, fixed, np.full(gains.size, n + 1)]
    sizes = [across, own[costs], np.full(fixed.size, FIXED), -own[gains]]
    graph = sp.coo_matrix(
        (np.concatenate(sizes), (np.concatenate(rows), np.concatenate(columns))), (n + 2, n + 2)
    ).tocsr()
    graph.data = np.minimum(graph.data, 2 * FIXED).astype(np.int32)
    left = graph - maximum_flow(graph, n, n + 1).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    stays = np.zeros(n + 2, bool)
    stays[breadth_first_order(left, n, return_predecessors=False)] = True
    return np.asarray(~stays[:n])


def _straighter(
    turns: Float32Array,
    proposed: npt.NDArray[np.int16],
    inside: Mask,
    signal: Float32Array,
    axes: list[int],
) -> tuple[npt.NDArray[np.float32], int]:
    """Return the turns of those proposed regions that straighten the phase, and their number."""
    regions = []
    for turn in np.unique(proposed[proposed != 0]):
        labels, _ = ndi.label(proposed == turn)
        for number, box in enumerate(ndi.find_objects(labels), 1):
            where = labels[box] == number
            size = int(np.count_nonzero(where))
            if size >= SMALLEST:
                # two voxels around, as far as a second difference reaches
                wide = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
                regions.append((size, float(turn), wide, labels[wide] == number))
    regions.sort(key=lambda region: -region[0])
    here, moved, accepted = turns.copy(), np.zeros_like(turns), 0
    for _ in range(2):  # one may be straight only when those around it are
        waiting = []
        for region in regions:
            _, turn, box, where = region
            data = here[box], inside[box], signal[box], where, axes
            shifted = here[box] + np.where(where, np.float32(turn), np.float32(0))
            if _bending(shifted, *data[1:]) < STRAIGHTER * _bending(*data):
                here[box] = shifted
                moved[box][where] = turn
                accepted += 1
            else:
                waiting.append(region)
        regions = waiting
    return moved, accepted


def _bending(
    turns: Float32Array, inside: Mask, signal: Float32Array, where: Mask, axes: list[int]
) -> float:
    """Return the sum of weighted second differences, of a turn at most, that touch a region."""
    total = 0.0
    for axis in axes:
        parts = _slices(axis, (0, -2), (1, -1), (2, None))
        all_in = np.logical_and.reduce([inside[p] for p in parts])
        all_in &= np.logical_or.reduce([where[p] for p in parts])
        first, middle, last = (turns[p][all_in] for p in parts)
        weight = np.minimum.reduce([signal[p][all_in] for p in parts])
        bend = np.minimum(np.abs(first + last - 2 * middle), 1)
        total += float((weight * bend).sum(dtype=np.float64))
    return total
