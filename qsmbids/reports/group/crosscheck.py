"""The two-reference cross-check (8.d): what would be found otherwise with another reference."""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from qsmbids.reports.group.runs import GroupRun
from qsmbids.reports.group.values import OWN_REGIONS, Series

__all__ = [
    "Agreement",
    "CrossCheck",
    "Difference",
    "OrderChange",
    "cross_check",
    "grouping_column",
    "reference_pairs",
]

#: Columns of participants.tsv that may name the groups of a study, the likeliest first.
_GROUPING = ("group", "diagnosis", "cohort", "dx", "patient_group", "condition")
_MOST_GROUPS = 4
#: Fewer participants than these make no group to compare.
_FEWEST = 3


@dataclass(frozen=True)
class Agreement:
    """One region under two references.

    Attributes
    ----------
    segmentation, name, stratum : str
    n : int
        Runs with a value under both.
    correlation : float
        Pearson's, of the runs' means; NaN for fewer than 3 runs or without spread.
    reordered : float
        Share of pairs of runs whose order is another under the other reference.
    both, only_first, only_second : tuple of str
        Runs that are flagged.
    """

    segmentation: str
    name: str
    stratum: str
    n: int
    correlation: float
    reordered: float
    both: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


@dataclass(frozen=True)
class OrderChange:
    """Two regions of which another has the larger median under the other reference."""

    segmentation: str
    stratum: str
    regions: tuple[str, str]
    first: float
    second: float


@dataclass(frozen=True)
class Difference:
    """Two groups of participants compared in one region, under both references.

    Attributes
    ----------
    segmentation, name, stratum : str
    groups : (str, str)
    n : (int, int)
        Participants of each.
    first, second : (float, float, float)
        Difference of the means and its 95 % confidence interval (Welch) [ppm].
    """

    segmentation: str
    name: str
    stratum: str
    groups: tuple[str, str]
    n: tuple[int, int]
    first: tuple[float, float, float]
    second: tuple[float, float, float]

    @property
    def changes(self) -> bool:
        """Whether one reference finds a difference that the other does not, or reverses."""
        return _finding(self.first) != _finding(self.second)

    @property
    def found(self) -> bool:
        """Whether any of the two finds a difference."""
        return _finding(self.first) != 0 or _finding(self.second) != 0


def _finding(interval: tuple[float, float, float]) -> int:
    """Return the sign of a difference whose interval leaves out zero, else 0."""
    _, low, high = interval
    return int(low > 0) - int(high < 0)


@dataclass(frozen=True)
class CrossCheck:
    """All that two references say of the same data."""

    references: tuple[str, str]
    shift: tuple[float, float]
    agreements: tuple[Agreement, ...]
    order_changes: tuple[OrderChange, ...]
    differences: tuple[Difference, ...]


def reference_pairs(series: Sequence[Series]) -> list[tuple[str, str]]:
    """Return the pairs of references in use, the whole brain first."""
    used = {s.reference for s in series if s.kind == "chi"}
    ordered = sorted(used, key=lambda name: (name != "wholebrain", name))
    return list(itertools.combinations(ordered, 2))


def cross_check(
    series: Sequence[Series],
    runs: Sequence[GroupRun],
    references: tuple[str, str],
    groups: Mapping[str, str] | None = None,
) -> CrossCheck:
    """Compare what two references say.

    Parameters
    ----------
    series : sequence of Series
    runs : sequence of GroupRun
        To which the series refer.
    references : (str, str)
    groups : mapping, optional
        Group of each participant, by ``participant_id``.
    """
    by_key = {(s.reference, s.segmentation, s.name, s.stratum): s for s in series}
    agreements, differences = [], []
    medians: dict[tuple[str, str], list[tuple[str, float, float]]] = defaultdict(list)
    shifts: dict[int, float] = {}
    for (reference, segmentation, name, stratum), first in by_key.items():
        second = by_key.get((references[1], segmentation, name, stratum))
        if reference != references[0] or second is None:
            continue
        places, a, b = np.intersect1d(first.runs, second.runs, return_indices=True)
        if not len(places):
            continue
        x, y = first.values[a], second.values[b]
        agreements.append(_agreement(first, second, runs, x, y))
        shifts |= dict(zip(places.tolist(), (y - x).tolist(), strict=True))
        if segmentation != OWN_REGIONS:
            pair = (name, float(np.median(x)), float(np.median(y)))
            medians[segmentation, stratum].append(pair)
        key = (segmentation, name, stratum)
        differences += _differences(key, [runs[p].label for p in places], x, y, groups or {})
    spread = list(shifts.values())
    return CrossCheck(
        references,
        (
            float(np.mean(spread)) if spread else math.nan,
            float(np.std(spread, ddof=1)) if len(spread) > 1 else math.nan,
        ),
        tuple(agreements),
        tuple(change for key, found in medians.items() for change in _reordered(key, found)),
        tuple(differences),
    )


def _agreement(
    first: Series,
    second: Series,
    runs: Sequence[GroupRun],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
) -> Agreement:
    flags = [{runs[p].label for p in s.runs[s.flagged]} for s in (first, second)]
    pairs = np.triu_indices(len(x), 1)
    order = [np.sign(v[pairs[0]] - v[pairs[1]]) for v in (x, y)]
    spread = len(x) > 2 and min(np.ptp(x), np.ptp(y)) > 0
    return Agreement(
        first.segmentation,
        first.name,
        first.stratum,
        len(x),
        float(np.corrcoef(x, y)[0, 1]) if spread else math.nan,
        float(np.mean(order[0] * order[1] < 0)) if len(pairs[0]) else math.nan,
        tuple(sorted(flags[0] & flags[1])),
        tuple(sorted(flags[0] - flags[1])),
        tuple(sorted(flags[1] - flags[0])),
    )


def _reordered(
    key: tuple[str, str], found: Sequence[tuple[str, float, float]]
) -> list[OrderChange]:
    return [
        OrderChange(*key, (one[0], other[0]), one[1] - other[1], one[2] - other[2])
        for one, other in itertools.combinations(found, 2)
        if (one[1] - other[1]) * (one[2] - other[2]) < 0
    ]


def grouping_column(participants: Mapping[str, Mapping[str, str]]) -> tuple[str, dict[str, str]]:
    """Return the column that divides the participants into 2 to 4 groups, and the group of each.

    Returns
    -------
    str
        "" where there is no such column.
    dict
        By ``participant_id``; who has no entry is left out.
    """
    names = {name.lower(): name for row in participants.values() for name in row}
    for wanted in _GROUPING:
        column = names.get(wanted)
        if column is None:
            continue
        group = {p: row.get(column, "").strip() for p, row in participants.items()}
        group = {p: level for p, level in group.items() if level not in ("", "n/a")}
        if 2 <= len(set(group.values())) <= _MOST_GROUPS:
            return column, group
    return "", {}


def _differences(
    key: Sequence[str],
    labels: Sequence[str],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    groups: Mapping[str, str],
) -> list[Difference]:
    """Compare the groups two by two; sessions and runs of a participant are averaged."""
    people: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for label, one, other in zip(labels, x.tolist(), y.tolist(), strict=True):
        people[label.split("_")[0]].append((one, other))
    levels: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for person, values in people.items():
        if person in groups:
            one, other = np.mean(values, axis=0)
            levels[groups[person]].append((float(one), float(other)))
    large = sorted(level for level, values in levels.items() if len(values) >= _FEWEST)
    found = []
    for names in itertools.combinations(large, 2):
        a, b = (np.array(levels[name]) for name in names)
        intervals = [_welch(a[:, i], b[:, i]) for i in (0, 1)]
        found.append(Difference(key[0], key[1], key[2], names, (len(a), len(b)), *intervals))
    return found


def _welch(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the difference of two means and its 95 % confidence interval."""
    difference = float(a.mean() - b.mean())
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb <= 0:
        return difference, difference, difference
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = float(stdtrit(freedom, 0.975) * math.sqrt(va + vb))
    return difference, difference - half, difference + half
