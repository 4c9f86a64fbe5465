r"""ROMEO phase unwrapping: region growing along the most reliable edges.

The weights are in :mod:`qsmbids.core.field.romeo_weights`. Every voxel gets a whole number of
cycles: the growth follows the edges in the order of their cost, a tree that is close to the
minimum spanning tree, and asks along each edge for less than half a cycle of true change.

References
----------
.. [1] Dymerska B, Eckstein K, Bachrata B, et al. Phase unwrapping with a rapid opensource minimum
   spanning tree algorithm (ROMEO). Magn Reson Med 2021;85:2294-2308. doi:10.1002/mrm.28563
"""

from collections.abc import Callable
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.field.romeo_weights import (
    WEIGHT_PRESETS,
    WORST_COST,
    as_volume,
    edge_costs,
    edge_weights,
    masked_quantile,
    padded_box,
    quality_map,
    ratio_of,
)
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.units import TWO_PI

__all__ = ["WEIGHT_PRESETS", "edge_weights", "quality_map", "unwrap", "unwrap_echoes"]


def unwrap(
    phase: FloatArray,
    *,
    magnitude: FloatArray | None = None,
    mask: Mask | None = None,
    phase2: FloatArray | None = None,
    echo_times: npt.ArrayLike | None = None,
    weights: str = "romeo3",
    correct_global: bool = True,
    slice_axis: int | None = None,
    n_threads: int = 1,
) -> Float32Array:
    """Unwrap one phase volume in space.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Phase [rad]; whole cycles added anywhere change nothing.
    magnitude : (X, Y, Z) ndarray, optional
        Magnitude of the same echo.
    mask : (X, Y, Z) ndarray of bool, optional
        Where to unwrap; default is everywhere.
    phase2 : (X, Y, Z) ndarray, optional
        Phase [rad] of a second echo, for the gradient coherence.
    echo_times : (2,) array_like, optional
        Echo times of ``phase`` and ``phase2`` [s]; given together with ``phase2``.
    weights : str
        Terms of the edge weights, see :func:`~qsmbids.core.field.romeo_weights.edge_weights`.
    correct_global : bool
        Take whole cycles off every region so that its median is within half a cycle of zero.
        If not, its first voxel is left in (-pi, pi], or put at the cycle that agrees best with
        the second echo.
    slice_axis : int, optional
        Array axis across the slices of a 2-D scan: every slice is then unwrapped as far as it is
        connected before an edge to another slice is followed, the best one.
    n_threads : int
        Threads of the edge weights; the growth itself is serial.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Unwrapped phase [rad]; 0 outside the mask and where phase or magnitude is not finite.

    Raises
    ------
    ValueError
        Unequal shapes, an empty mask, an unknown preset, or echo times without a second echo.

    Notes
    -----
    Ref. [1] of this module. Parts of the mask that no face joins are regions of their own: each
    starts from its own best voxel, and nothing measured tells how many cycles lie between two of
    them, so that each is brought near zero by itself.

    Memory: about ten volumes of the mask's bounding box.

    Examples
    --------
    >>> ramp = np.linspace(-9, 9, 32) * np.ones((4, 4, 1))
    >>> bool(np.allclose(unwrap(np.angle(np.exp(1j * ramp))), ramp, atol=1e-5))
    True
    """
    phase = as_volume(phase, "phase")
    usable = np.isfinite(phase)
    if mask is not None:
        usable &= as_volume(mask, "mask", phase.shape, np.bool_)
    magnitude_max = None
    if magnitude is not None:
        magnitude = as_volume(magnitude, "magnitude", phase.shape)
        usable &= np.isfinite(magnitude)
        if {5, 6} & set(WEIGHT_PRESETS.get(weights, ())):
            magnitude_max = masked_quantile(magnitude, usable)
    if phase2 is not None:
        phase2 = as_volume(phase2, "phase2", phase.shape)

    box = padded_box(usable)
    inside = np.pad(usable[box], 1)
    wrapped = np.pad(phase[box], 1)
    wrapped[~inside] = 0
    edges = edge_weights(
        phase[box],
        magnitude=None if magnitude is None else magnitude[box],
        mask=usable[box],
        phase2=None if phase2 is None else phase2[box],
        te_ratio=ratio_of(echo_times),
        weights=weights,
        magnitude_max=magnitude_max,
        n_threads=n_threads,
    )
    cycles, order, starts = _grow(
        edge_costs(edges, slice_axis).ravel(),
        wrapped.ravel(),
        inside.ravel(),
        inside.shape[1] * inside.shape[2],
        inside.shape[2],
    )
    if correct_global:
        _centre_regions(cycles, wrapped.ravel(), order, starts)
    elif phase2 is not None and echo_times is not None:
        second = np.pad(phase2[box], 1).ravel()
        _correct_seeds(cycles, wrapped.ravel(), second, echo_times, order, starts)

    inner = (slice(1, -1),) * 3
    unwrapped = np.zeros(phase.shape, dtype=np.float32)
    unwrapped[box] = (wrapped + TWO_PI * cycles.reshape(inside.shape))[inner]
    return unwrapped


def unwrap_echoes(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    mask: Mask,
    *,
    template: int = 0,
    weights: str = "romeo3",
    correct_global: bool = True,
    slice_axis: int | None = None,
    n_threads: int = 1,
    overwrite: bool = False,
    mend: Callable[[Float32Array], Float32Array] | None = None,
) -> Float32Array:
    """Unwrap one echo in space and the others in time from it.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Phase [rad] without phase offset, see :func:`qsmbids.core.phase.offset.mcpc3ds`: only then
        is the phase proportional to the echo time.
    magnitude : (E, X, Y, Z) or (X, Y, Z) ndarray
        Magnitude of all echoes, or of the template.
    echo_times : (E,) array_like
        [s], increasing.
    mask : (X, Y, Z) ndarray of bool
        Where to unwrap.
    template : int
        Echo that is unwrapped in space. The first one has the fewest wraps, and a wrong cycle in
        it would not be a whole cycle in the others.
    weights, correct_global, slice_axis, n_threads
        As in :func:`unwrap`.
    overwrite : bool
        Unwrap in place, in an array of float32 that is not read-only.
    mend : callable, optional
        What is done to the unwrapped template [rad] before the others follow it.

    Returns
    -------
    (E, X, Y, Z) ndarray of float32
        Unwrapped phase [rad]; 0 outside the mask, where the template is not finite, and in every
        other echo where that echo is not finite.

    Raises
    ------
    ValueError
        Unequal shapes, echo times that do not increase, an empty mask, no such template.
    """
    phase = as_volume(phase, "phase", ndim=4)
    if np.ndim(magnitude) == 4:
        magnitude = as_volume(magnitude, "magnitude", phase.shape, ndim=4)
        magnitude = magnitude[template if 0 <= template < phase.shape[0] else 0]
    magnitude = as_volume(magnitude, "magnitude", phase.shape[1:])
    mask = as_volume(mask, "mask", phase.shape[1:], np.bool_)
    times = np.asarray(echo_times, dtype=float)
    n_echoes = phase.shape[0]
    if times.shape != (n_echoes,) or not (times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError(f"{n_echoes} positive, increasing echo times are needed, not {times}")
    if not 0 <= template < n_echoes:
        raise ValueError(f"there is no template echo {template} in {n_echoes} echoes")

    second = None if n_echoes == 1 else (1 if template == 0 else template - 1)
    first = unwrap(
        phase[template],
        magnitude=magnitude,
        mask=mask,
        phase2=None if second is None else phase[second],
        echo_times=None if second is None else times[[template, second]],
        weights=weights,
        correct_global=correct_global,
        slice_axis=slice_axis,
        n_threads=n_threads,
    )
    if mend is not None:
        first = mend(first)
    usable = mask & np.isfinite(phase[template]) & np.isfinite(magnitude)
    out = phase if overwrite else np.empty_like(phase)
    out[template] = first
    del first
    volume = (n_echoes, mask.size)
    _follow_in_time(phase.reshape(volume), usable.ravel(), times, template, out.reshape(volume))
    return out


def _centre_regions(
    cycles: npt.NDArray[np.int32],
    wrapped: Float32Array,
    order: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
) -> None:
    """Subtract from each region its median number of cycles, in place."""
    nearest = cycles[order] + np.rint(wrapped[order] / TWO_PI).astype(np.int32)
    for start, stop in pairwise(starts):
        middle = (stop - start) // 2
        cycles[order[start:stop]] -= np.partition(nearest[start:stop], middle)[middle]


def _correct_seeds(
    cycles: npt.NDArray[np.int32],
    wrapped: Float32Array,
    second: Float32Array,
    echo_times: npt.ArrayLike,
    order: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
) -> None:
    """Shift each region to where its first voxel agrees with the second echo, in place."""
    # the penalty for leaving zero was tuned for milliseconds
    te1, te2 = np.asarray(echo_times, dtype=float) * 1e3
    shift1, shift2 = np.meshgrid(np.arange(-2, 3), np.arange(-1, 2), indexing="ij")
    for start, stop in pairwise(starts):
        seed = order[start]
        phi1 = wrapped[seed] + TWO_PI * (cycles[seed] + shift1)
        phi2 = second[seed] - TWO_PI * np.rint(second[seed] / TWO_PI) + TWO_PI * shift2
        misfit = np.abs(phi1 / te1 - phi2 / te2) + (np.abs(shift1) + np.abs(shift2)) / 100
        if np.isfinite(second[seed]):
            cycles[order[start:stop]] += shift1.ravel()[np.argmin(misfit)]


@numba.njit(cache=True, inline="always")
def _push_edges(v, cost, closed, strides, stack, top, lowest):  # type: ignore[no-untyped-def]
    """Queue the edges from a voxel to its open neighbours; return the lowest filled bucket."""
    for axis in range(3):
        for far, edge in (
            (v + strides[axis], 3 * v + axis),
            (v - strides[axis], 3 * (v - strides[axis]) + axis),
        ):
            c = np.int64(cost[edge])
            if c > 0 and not closed[far]:
                stack[top[c]] = edge
                top[c] += 1
                lowest = min(lowest, c)
    return lowest


@numba.njit(cache=True)
def _grow(cost, wrapped, inside, stride_x, stride_y):  # type: ignore[no-untyped-def]
    """Grow regions over all voxels inside.

    Returns the cycles to add to each voxel, the voxels in the order of their visit, and where in
    that order each region starts (and the last one ends).

    The queue is one stack per cost. An edge enters it when its first end is visited and never
    again, so that all stacks fit side by side in one array with a place for every edge.
    """
    n = wrapped.size
    strides = (stride_x, stride_y, 1)
    n_costs = WORST_COST + 1

    # stacks, and candidates for a seed by the sum of their outgoing costs
    n_edges = np.zeros(n_costs, np.int64)
    n_inside = 0
    seed_head = np.full(3 * WORST_COST + 1, -1, np.int32)
    seed_following = np.empty(n, np.int32)
    for v in range(n - 1, -1, -1):
        if inside[v]:
            n_inside += 1
            total = np.int64(0)
            for axis in range(3):
                c = np.int64(cost[3 * v + axis])
                n_edges[c] += 1
                total += c if c > 0 else np.int64(WORST_COST)
            seed_following[v] = seed_head[total]
            seed_head[total] = v
    top = np.cumsum(n_edges) - n_edges
    bottom = top.copy()
    stack = np.empty(n_edges.sum(), np.int32)

    closed = ~inside
    cycles = np.zeros(n, np.int32)
    order = np.empty(n_inside, np.int32)
    starts = [0]
    visited = 0
    for candidate in seed_head:
        seed = np.int64(candidate)
        while seed >= 0:
            if not closed[seed]:
                cycles[seed] = -np.int32(np.rint(np.float64(wrapped[seed]) / TWO_PI))
                closed[seed] = True
                order[visited] = seed
                visited += 1
                lowest = _push_edges(seed, cost, closed, strides, stack, top, n_costs)
                while lowest < n_costs:
                    if top[lowest] == bottom[lowest]:
                        lowest += 1
                        continue
                    top[lowest] -= 1
                    edge = np.int64(stack[top[lowest]])
                    near = edge // 3
                    far = near + strides[edge - 3 * near]
                    if closed[far]:
                        near, far = far, near
                    if closed[far]:
                        continue
                    jump = np.float64(wrapped[near]) - np.float64(wrapped[far])
                    cycles[far] = cycles[near] + np.int32(np.rint(jump / TWO_PI))
                    closed[far] = True
                    order[visited] = far
                    visited += 1
                    lowest = _push_edges(far, cost, closed, strides, stack, top, lowest)
                starts.append(visited)
            seed = np.int64(seed_following[seed])
    return cycles, order, np.array(starts)


@numba.njit(cache=True)
def _follow_in_time(phase, usable, echo_times, template, out):  # type: ignore[no-untyped-def]
    """Unwrap every echo to the nearest unwrapped one, scaled by the echo times.

    ``out``, which may be ``phase`` itself, has the template already; what is not known becomes 0.
    """
    n_echoes, n = phase.shape
    for v in range(n):
        for direction in (1, -1):
            slope = np.float64(out[template, v]) / echo_times[template]
            e = template + direction
            while 0 <= e < n_echoes:
                p = np.float64(phase[e, v])
                if usable[v] and np.isfinite(p):
                    p -= TWO_PI * np.rint((p - slope * echo_times[e]) / TWO_PI)
                    out[e, v] = p
                    slope = p / echo_times[e]
                else:
                    out[e, v] = 0.0
                e += direction
