r"""Which echoes were read in which direction, and what their phases have in common.

A bipolar readout alternates from echo to echo, so that the polarity follows the number of the
echo. Where echoes were left out it does not alternate between those that are left: of echoes 1, 2,
4 and 5 it is + - - +.
"""

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import Float64Array

__all__ = ["EchoCombination", "alternating", "echo_combinations", "polarity_candidates"]

#: Largest distance from a whole number of spacings of an echo on a grid.
_ON_GRID = 0.01

Polarity = tuple[int, ...]


class EchoCombination(NamedTuple):
    """A sum of the phases of three echoes in which phase offset and field cancel."""

    echoes: tuple[int, int, int]
    """Indices of the echoes."""
    factors: tuple[float, float, float]
    """Of their phases."""
    sign: int
    """Sign by which the sum is twice the readout phase (even echoes less odd ones)."""


def alternating(n_echoes: int) -> Polarity:
    """Return the polarity of echoes read in turn: + - + -."""
    return tuple(1 - 2 * (e % 2) for e in range(n_echoes))


def polarity_candidates(
    echo_numbers: Sequence[int], echo_times: Sequence[float]
) -> list[Polarity]:
    """Return the polarities that a bipolar readout of some echoes may have.

    Parameters
    ----------
    echo_numbers : sequence of int
        Of the file names, in the order of the echo times.
    echo_times : sequence of float
        [s], increasing.

    Returns
    -------
    list of tuple
        1 or -1 per echo, the first 1: by the place of each echo time on a grid of the smallest
        spacing, which holds for names that were numbered anew as well; by the numbers; and in
        turn. Without duplicates, and without those in which all echoes have one direction.

    Examples
    --------
    >>> polarity_candidates((1, 2, 4, 5), (0.004, 0.008, 0.016, 0.020))
    [(1, -1, -1, 1), (1, -1, 1, -1)]
    """
    places = _grid_places(np.asarray(echo_times, dtype=float))
    candidates = [] if places is None else [_parity(places)]
    candidates += [_parity(echo_numbers), alternating(len(echo_times))]
    return [p for p in dict.fromkeys(candidates) if len(set(p)) > 1]


def echo_combinations(
    echo_times: Float64Array, polarity: Polarity
) -> tuple[list[EchoCombination], bool]:
    """Return the sums of three successive echoes that hold twice the readout phase.

    Parameters
    ----------
    echo_times : (E,) ndarray
        [s], increasing.
    polarity : tuple of int
        1 or -1 per echo.

    Returns
    -------
    combinations : list of EchoCombination
    field_cancels : bool
        Whether the field cancels in them: on a grid of whole spacings, with factors that are
        whole numbers, so that wraps drop out. Elsewhere the second difference is taken, and the
        field that is left in it has to be taken out.
    """
    places = _grid_places(echo_times)
    if places is not None:
        combinations = _combinations(places, polarity)
        if combinations:
            return combinations, True
    return _combinations(range(len(polarity)), polarity), False


def _parity(numbers: Sequence[int]) -> Polarity:
    return tuple(1 - 2 * ((int(n) - int(numbers[0])) % 2) for n in numbers)


def _grid_places(times: Float64Array) -> list[int] | None:
    """Return each echo time in whole spacings from the first; None if they are not whole."""
    if times.size < 2 or np.any(np.diff(times) <= 0):
        return None
    places = (times - times[0]) / np.diff(times).min()
    if np.any(np.abs(places - np.rint(places)) > _ON_GRID):
        return None
    return [int(n) for n in np.rint(places)]


def _combinations(places: Sequence[int], polarity: Polarity) -> list[EchoCombination]:
    out = []
    for b in range(1, len(places) - 1):
        a, c = b - 1, b + 1
        factors = [places[b] - places[c], places[c] - places[a], places[a] - places[b]]
        divisor = gcd(*factors)
        factors = [f // divisor for f in factors]
        # odd echoes (+) have less half the readout phase, even ones more
        halves = -sum(f * polarity[e] for f, e in zip(factors, (a, b, c), strict=True))
        if abs(halves) == 2:  # the readout phase itself
            factors = [2 * f for f in factors]
        elif abs(halves) != 4:
            continue
        x, y, z = (float(f) for f in factors)
        out.append(EchoCombination((a, b, c), (x, y, z), 1 if halves > 0 else -1))
    return out
