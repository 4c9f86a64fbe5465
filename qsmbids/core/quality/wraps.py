"""Whole turns that unwrapping left between neighbours."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["echo_differences", "wrap_jumps"]


def echo_differences(
    unwrapped: Iterable[FloatArray], echo_times: Sequence[float]
) -> Iterator[FloatArray]:
    """Yield the first echo, and of every later one what the echo before does not predict.

    Near air the phase of a late echo may truly change by a turn from voxel to voxel; but then
    that of the echo before it does in proportion to its time.

    Parameters
    ----------
    unwrapped : iterable of (X, Y, Z) ndarray
        Without the phase at TE = 0 [rad].
    echo_times : sequence of float
        [s].

    Yields
    ------
    (X, Y, Z) ndarray
        [rad]
    """
    before = None
    for echo, phase in enumerate(unwrapped):
        if before is None:
            yield phase
        else:
            ratio = np.float32(echo_times[echo] / echo_times[echo - 1])
            yield phase - ratio * before
        before = phase


def wrap_jumps(
    volumes: Iterable[FloatArray], mask: Mask, period: float, *, closeness: float = 0.15
) -> float:
    r"""Return how many neighbours differ by a whole turn, per million pairs of neighbours.

    A pair counts if its difference is within ``closeness`` of a multiple of the period other than
    zero, and three of the eight pairs beside it do so, too: wrap errors have surfaces, noise has
    not.

    Parameters
    ----------
    volumes : iterable of (X, Y, Z) ndarray
        From :func:`echo_differences` [rad], or a field [Hz].
    mask : (X, Y, Z) ndarray of bool
        Reliable voxels.
    period : float
        2 pi, or 1 / dTE for a field.
    closeness : float
        In periods.

    Returns
    -------
    float
        Of the volume with the most; NaN if no two voxels are neighbours.

    Raises
    ------
    ValueError
        The period is not positive or shapes differ.
    """
    if not period > 0:
        raise ValueError(f"the period must be positive, not {period}")
    if not mask.any():
        return float("nan")
    box = bounding_box(mask)
    inside = mask[box]
    most = float("nan")
    for volume in volumes:
        if volume.shape != mask.shape:
            raise ValueError(f"the mask has shape {mask.shape}, not {volume.shape}")
        turns = volume[box].astype(np.float32, copy=False) * np.float32(1.0 / period)
        jumps, pairs = 0, 0
        for axis in range(3):
            both = np.moveaxis(inside, axis, 0)
            both = both[1:] & both[:-1]
            step = np.abs(np.diff(np.moveaxis(turns, axis, 0), axis=0))
            whole = both & (step > 1.0 - closeness)  # few are left
            whole[whole] = np.abs(step[whole] - np.rint(step[whole])) < closeness
            jumps += _in_sheets(whole)
            pairs += int(np.count_nonzero(both))
        if pairs:
            most = np.fmax(most, 1e6 * jumps / pairs)
    return float(most)


def _in_sheets(jumps: Mask) -> int:
    """Count the jumps with at least three others beside them, across the first axis."""
    place = np.argwhere(jumps)
    if place.size == 0:
        return 0
    around = np.pad(jumps, ((0, 0), (1, 1), (1, 1)))
    x, y, z = place.T
    beside = -np.ones(len(place), dtype=int)  # itself
    for dy in range(3):
        for dz in range(3):
            beside += around[x, y + dy, z + dz]
    return int(np.count_nonzero(beside >= 3))
