"""Voxels whose phase was unwrapped a whole turn off its neighbours'."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["find_wrong_turns", "turn_hz"]

#: Least share of a turn by which such a voxel differs from its neighbours: noise and the voxel's
#: own field add to the turn or take from it.
LEAST_SHARE = 0.4
#: Share of the usual weight below which the data of a voxel may be a turn off.
LITTLE_WEIGHT = 0.2
#: Half the width [voxels] of the neighbourhood, and the fewest reliable voxels in it.
REACH = 2
FEWEST = 8


def turn_hz(echo_times: Sequence[float]) -> float:
    """Return by how much the field is off [Hz] where a phase is one turn off.

    The smaller of a turn of the first echo and of one between echoes.
    """
    times = sorted(float(t) for t in echo_times)
    steps = [times[0], *np.diff(times)]
    return 1.0 / max(float(s) for s in steps)


def find_wrong_turns(
    local_field: FloatArray,
    mask: Mask,
    reliable: Mask,
    weights: FloatArray,
    echo_times: Sequence[float],
) -> Mask:
    """Find voxels that are about a turn of the phase off the reliable ones around them.

    Beside air and around calcifications the phase changes by more than half a turn from voxel to
    voxel, and no unwrapping can tell how many turns there were. Only voxels of unreliable phase
    and little weight are asked: the field beside a strong source is as steep, and true.

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        [Hz], after background removal: what is left of the background varies less than a turn.
    mask, reliable : (X, Y, Z) ndarray of bool
        Where the field is known, and where its phase is reliable (Masks 4 without and with holes).
    weights : (X, Y, Z) ndarray
        Of the data, on any scale.
    echo_times : sequence of float
        [s]; without any nothing is found.

    Returns
    -------
    (X, Y, Z) ndarray of bool

    Examples
    --------
    >>> field = np.zeros((9, 9, 9), dtype=np.float32)
    >>> field[4, 4, 4] = 170.0
    >>> mask = np.ones(field.shape, dtype=bool)
    >>> reliable = field == 0
    >>> weights = np.where(reliable, 1.0, 0.05)
    >>> np.argwhere(find_wrong_turns(field, mask, reliable, weights, (0.005, 0.01))).tolist()
    [[4, 4, 4]]
    """
    if not len(echo_times):  # a field that was given; nobody knows the turn
        return np.zeros_like(mask)
    limit = LEAST_SHARE * turn_hz(echo_times)
    known = mask & reliable
    found = np.zeros_like(mask)
    if not known.any():
        return found
    asked = mask & ~reliable & (weights < LITTLE_WEIGHT * float(np.median(weights[known])))
    if not asked.any():
        return found
    # far from the mean is cheaper to see than far from the median, which decides
    near = tuple(slice(max(b.start - REACH, 0), b.stop + REACH) for b in bounding_box(asked))
    mean = _mean_around(local_field[near], known[near])
    asked[near] &= np.abs(local_field[near] - mean) > limit / 2
    for place in np.argwhere(asked):
        box = tuple(slice(max(int(p) - REACH, 0), int(p) + REACH + 1) for p in place)
        around = local_field[box][known[box]]
        if around.size >= FEWEST:
            at = tuple(place)
            found[at] = abs(float(local_field[at]) - float(np.median(around))) > limit
    return found


def _mean_around(field: FloatArray, known: Mask) -> Float32Array:
    """Return the mean of the known voxels around each."""
    width = 2 * REACH + 1
    weight = uniform_filter(known.astype(np.float32), width)
    total = uniform_filter(np.where(known, field, 0).astype(np.float32), width)
    return np.asarray(total / np.maximum(weight, 1e-3), dtype=np.float32)
