r"""Edge weights of ROMEO phase unwrapping and the voxel quality map built from them.

An edge joins a voxel to its +1 neighbour along one axis. Its weight is the product, over the
active terms n, of :math:`0.1 + 0.9\,w_n` with every :math:`w_n` in 0 to 1 (1 = surely no wrap).

References
----------
.. [1] Dymerska B, Eckstein K, Bachrata B, et al. Phase unwrapping with a rapid opensource minimum
   spanning tree algorithm (ROMEO). Magn Reson Med 2021;85:2294-2308. doi:10.1002/mrm.28563
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.parallel import planes
from qsmbids.units import TWO_PI

__all__ = ["WEIGHT_PRESETS", "edge_weights", "quality_map"]

WORST_COST = 255
#: Share of the costs that edges within slices have, where those between slices come last.
WITHIN_SLICE = 0.75

#: Active terms of each preset; romeo3 is what the ROMEO command line takes with a magnitude.
WEIGHT_PRESETS: dict[str, tuple[int, ...]] = {
    "romeo": (1, 2, 3, 4),
    "romeo2": (1, 4),
    "romeo3": (1, 2, 4),
    "romeo4": (1, 2, 3, 4),
    "romeo6": (1, 2, 3, 4, 5, 6),
}


def edge_weights(
    phase: FloatArray,
    *,
    magnitude: FloatArray | None = None,
    mask: Mask | None = None,
    phase2: FloatArray | None = None,
    te_ratio: float | None = None,
    weights: str = "romeo3",
    magnitude_max: float | None = None,
    n_threads: int = 1,
) -> Float32Array:
    """Return how unlikely a wrap is between every voxel and its +x, +y and +z neighbour.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Phase [rad]; wrapped or not.
    magnitude : (X, Y, Z) ndarray, optional
        Magnitude of the same echo; without it the terms 4 to 6 are left out.
    mask : (X, Y, Z) ndarray of bool, optional
        Both ends of an edge must lie inside; default is everywhere.
    phase2 : (X, Y, Z) ndarray, optional
        Phase [rad] of a second echo; without it term 2 is left out.
    te_ratio : float, optional
        TE of ``phase`` over TE of ``phase2``; given together with ``phase2``.
    weights : str
        A name in `WEIGHT_PRESETS`: 1 phase coherence, 2 phase gradient coherence over the echoes,
        3 phase linearity, 4 magnitude coherence, 5 and 6 magnitude weights.
    magnitude_max : float, optional
        Scale of terms 5 and 6; default is the 0.95 quantile of the magnitude, zero outside the
        mask. To be given when the arrays are a cut-out.
    n_threads : int
        Threads of the loop.

    Returns
    -------
    (3, X, Y, Z) ndarray of float32
        0 to 1; exactly 0 for edges that leave the array or the mask, or touch a non-finite phase
        or magnitude.

    Raises
    ------
    ValueError
        Unequal shapes, an unknown preset, or only one of ``phase2`` and ``te_ratio``.

    Notes
    -----
    Ref. [1] of this module, section "weights". The published program tests only the lower end of
    an edge against the mask, so that it leaks one voxel beyond; both ends are tested here.
    """
    if weights not in WEIGHT_PRESETS:
        raise ValueError(f"unknown weights {weights!r}; choose from {sorted(WEIGHT_PRESETS)}")
    if (phase2 is None) != (te_ratio is None):
        raise ValueError("the gradient coherence needs both a second echo and the echo times")
    phase = as_volume(phase, "phase")
    active = set(WEIGHT_PRESETS[weights])
    usable = np.isfinite(phase)
    if mask is not None:
        usable &= as_volume(mask, "mask", phase.shape, np.bool_)
    if magnitude is None:
        active -= {4, 5, 6}
        magnitude = phase
    else:
        magnitude = as_volume(magnitude, "magnitude", phase.shape)
        usable &= np.isfinite(magnitude)
    if phase2 is None or te_ratio is None:
        active -= {2}
        phase2, te_ratio = phase, 1.0
    else:
        phase2 = as_volume(phase2, "phase2", phase.shape)
    if magnitude_max is None:
        magnitude_max = masked_quantile(magnitude, usable) if active & {5, 6} else 1.0

    out = np.zeros((3, *phase.shape), dtype=np.float32)
    terms = tuple(n in active for n in range(1, 7))
    scales = float(te_ratio), 0.5 * float(magnitude_max)
    with planes(len(phase), n_threads) as run:
        run(_weigh_edges, phase, magnitude, phase2, usable, *scales, terms, out)
    return out


def quality_map(
    phase: FloatArray,
    *,
    magnitude: FloatArray | None = None,
    phase2: FloatArray | None = None,
    echo_times: npt.ArrayLike | None = None,
    weights: str = "romeo3",
    n_threads: int = 1,
) -> Float32Array:
    """Return the mean weight of the six edges at every voxel, a measure of phase quality.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Phase [rad] of one echo over the whole field of view: no mask is applied, so that voxels
        at the border of a mask are judged like the others. Give the measured phase, or a phase
        that was not set to zero outside a mask.
    magnitude, phase2, weights, n_threads
        As in :func:`edge_weights`.
    echo_times : (2,) array_like, optional
        Echo times of ``phase`` and ``phase2`` [s].

    Returns
    -------
    (X, Y, Z) ndarray of float32
        0 to 1: about 0.6 to 0.95 in tissue and 0.2 in noise with romeo3. Edges that leave the
        array or touch a non-finite voxel count 0.

    Raises
    ------
    ValueError
        As in :func:`edge_weights`.
    """
    edges = edge_weights(
        phase,
        magnitude=magnitude,
        phase2=phase2,
        te_ratio=ratio_of(echo_times),
        weights=weights,
        n_threads=n_threads,
    )
    quality = edges[0] + edges[1]
    quality += edges[2]
    quality[1:] += edges[0, :-1]
    quality[:, 1:] += edges[1, :, :-1]
    quality[:, :, 1:] += edges[2, :, :, :-1]
    quality /= np.float32(6)
    return quality


def edge_costs(edges: Float32Array, slice_axis: int | None = None) -> npt.NDArray[np.uint8]:
    """Quantise weights to costs 1 (best) to 255, 0 = no edge, with a border of 0 all around.

    The three edges of a voxel lie side by side, as the growth reads them together. Where a slice
    axis is given, every edge along it costs more than any within a slice.
    """
    _, x, y, z = edges.shape
    cost = np.zeros((x + 2, y + 2, z + 2, 3), dtype=np.uint8)
    for axis, weight in enumerate(edges):
        level = np.rint((1 - weight) * np.float32(WORST_COST))
        np.maximum(level, 1, out=level)
        if slice_axis is not None:
            level *= np.float32(WITHIN_SLICE if axis != slice_axis else 1 - WITHIN_SLICE)
            level += np.float32(0 if axis != slice_axis else WITHIN_SLICE * WORST_COST + 1)
            np.ceil(level, out=level)
            np.minimum(level, WORST_COST, out=level)
        level[weight == 0] = 0
        cost[1:-1, 1:-1, 1:-1, axis] = level
    return cost


def padded_box(mask: Mask) -> tuple[slice, ...]:
    """Return the bounding box of a mask and the voxel that the linearity term sees beyond it.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    return tuple(slice(max(0, b.start - 1), b.stop + 1) for b in bounding_box(mask))


def as_volume(
    array: npt.NDArray[Any],
    name: str,
    shape: tuple[int, ...] | None = None,
    dtype: npt.DTypeLike = np.float32,
    ndim: int = 3,
) -> npt.NDArray[Any]:
    """Return an array as C-contiguous ``dtype``, without a copy where it is already.

    Raises
    ------
    ValueError
        It has another number of axes than ``ndim``, or another shape than ``shape``.
    """
    if np.ndim(array) != ndim or (shape is not None and np.shape(array) != shape):
        wanted = f"shape {shape}" if shape is not None else f"{ndim} axes"
        raise ValueError(f"{name} must have {wanted}, not shape {np.shape(array)}")
    # writeable although only read: numba would compile everything again for read-only arrays
    return np.require(array, dtype=dtype, requirements=["C", "W"])


def ratio_of(echo_times: npt.ArrayLike | None) -> float | None:
    """Return TE1 / TE2 of a pair of echo times [s].

    Raises
    ------
    ValueError
        They are not two positive, different times.
    """
    if echo_times is None:
        return None
    times = np.asarray(echo_times, dtype=float)
    if times.shape != (2,) or not np.all(times > 0) or times[0] == times[1]:
        raise ValueError(f"two positive, different echo times are needed, not {echo_times}")
    return float(times[0] / times[1])


def masked_quantile(magnitude: Float32Array, usable: Mask) -> float:
    """Return the 0.95 quantile of a magnitude set to zero outside a mask."""
    return float(np.quantile(np.where(usable, magnitude, np.float32(0)), 0.95))


@numba.njit(cache=True, inline="always")
def _wrap(x):  # type: ignore[no-untyped-def]
    return x - TWO_PI * np.rint(x * (1 / TWO_PI))


@numba.njit(cache=True, inline="always")
def _linearity(a, b, c):  # type: ignore[no-untyped-def]
    bend = 1 - 0.5 * abs(_wrap(a - 2 * b + c))
    if np.isnan(bend):
        return 0.5
    return max(0.0, bend)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _weigh_edges(  # type: ignore[no-untyped-def]
    start, stop, phase, magnitude, phase2, usable, te_ratio, half_max, terms, out
):
    nx, ny, nz = phase.shape
    p, m, p2, ok = phase.ravel(), magnitude.ravel(), phase2.ravel(), usable.ravel()
    w_out = out.reshape((3, phase.size))
    strides = (ny * nz, nz, 1)
    for x in range(start, stop):
        for y in range(ny):
            for z in range(nz):
                i = (x * ny + y) * nz + z
                if not ok[i]:
                    continue
                for axis in range(3):
                    at = x if axis == 0 else (y if axis == 1 else z)
                    n = nx if axis == 0 else (ny if axis == 1 else nz)
                    step = strides[axis]
                    j = i + step
                    if at + 1 == n or not ok[j]:
                        continue
                    # W{} in double precision: round() must not flip at half a circle
                    jump = _wrap(np.float64(p[i]) - np.float64(p[j]))
                    w = 1.0
                    if terms[0]:
                        w *= 1 - 0.9 * abs(jump) / np.pi
                    if terms[1]:
                        jump2 = _wrap(np.float64(p2[i]) - np.float64(p2[j]))
                        coherence = 1 - abs(jump - te_ratio * jump2)
                        # written so that a NaN in the second echo counts as incoherent
                        w *= 0.1 + 0.9 * (coherence if coherence > 0 else 0.0)
                    if terms[2]:
                        linear = 0.9
                        if at > 0 and at + 2 < n:
                            h, k = np.float64(p[i - step]), np.float64(p[j + step])
                            pi, pj = np.float64(p[i]), np.float64(p[j])
                            linear = _linearity(h, pi, pj) * _linearity(pi, pj, k)
                        w *= 0.1 + 0.9 * linear
                    if terms[3] or terms[4] or terms[5]:
                        lo = np.float64(min(m[i], m[j]))
                        hi = np.float64(max(m[i], m[j]))
                        if terms[3]:
                            w *= 0.1 + 0.9 * ((lo / hi) ** 2 if hi > 0 else 0.0)
                        if terms[4]:
                            w *= 0.55 + 0.45 * (min(1.0, lo / half_max) if half_max > 0 else 1.0)
                        if terms[5]:
                            w *= 0.55 + 0.45 * (min(1.0, half_max / hi) if hi > 0 else 1.0)
                    w_out[axis, i] = w if 0 <= w <= 1 else 0.0
