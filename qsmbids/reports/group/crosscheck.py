"""The two-reference cross-check (8.d): what would be found otherwise with another reference."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kendalltau, ttest_ind

from qsmbids.reports.group.runs import GroupRun
from qsmbids.reports.group.values import OWN_REGIONS

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
#: What tells one region of one set of comparable runs from another.
_REGION = ("segmentation", "name", "stratum")
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
    def exists(self) -> bool:
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


def reference_pairs(values: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of references in use, the whole brain first."""
    used = values.loc[values["kind"] == "chi", "reference"].unique()
    ordered = sorted(used, key=lambda name: (name != "wholebrain", name))
    return list(itertools.combinations(ordered, 2))


def cross_check(
    values: pd.DataFrame,
    runs: Sequence[GroupRun],
    references: tuple[str, str],
    groups: Mapping[str, str] | None = None,
) -> CrossCheck:
    """Compare what two references say.

    Parameters
    ----------
    values : DataFrame
        From :func:`qsmbids.reports.group.values.collect_values`.
    runs : sequence of GroupRun
        To which the values refer.
    references : (str, str)
    groups : mapping, optional
        Group of each participant, by ``participant_id``.
    """
    both = _under_both(values, references).sort_values(["series_1", "run"], kind="stable")
    both["label"] = [runs[place].label for place in both["run"]]
    both["group"] = both["label"].astype(str).str.split("_").str[0].map(groups or {})
    regions = both.groupby([*_REGION, "series_1"], sort=False)
    by_region = [(key[:3], rows) for key, rows in regions]
    last = both.assign(shift=both["value_2"] - both["value_1"]).groupby("run", sort=False)["shift"]
    shifts = last.last().to_numpy(np.float64)
    return CrossCheck(
        references,
        (
            float(np.mean(shifts)) if len(shifts) else math.nan,
            float(np.std(shifts, ddof=1)) if len(shifts) > 1 else math.nan,
        ),
        tuple(_agreement(key, rows) for key, rows in by_region),
        tuple(_reordered(regions[["value_1", "value_2"]].median())),
        tuple(difference for key, rows in by_region for difference in _differences(key, rows)),
    )


def _under_both(values: pd.DataFrame, references: tuple[str, str]) -> pd.DataFrame:
    """Return the values of each region and run under both references side by side."""
    values = values[values["kind"] == "chi"].drop_duplicates([*_REGION, "run", "reference"])
    first, second = (values[values["reference"] == name] for name in references)
    return first.merge(second, on=[*_REGION, "run"], suffixes=("_1", "_2"))


def _agreement(key: tuple[str, str, str], rows: pd.DataFrame) -> Agreement:
    x, y = (rows[name].to_numpy() for name in ("value_1", "value_2"))
    flags = [set(rows.loc[rows[name], "label"]) for name in ("outlier_1", "outlier_2")]
    spread = len(x) > 2 and min(np.ptp(x), np.ptp(y)) > 0
    return Agreement(
        *key,
        len(x),
        float(np.corrcoef(x, y)[0, 1]) if spread else math.nan,
        _share_reordered(x, y),
        tuple(sorted(flags[0] & flags[1])),
        tuple(sorted(flags[0] - flags[1])),
        tuple(sorted(flags[1] - flags[0])),
    )


def _share_reordered(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Return the share of pairs that are discordant, ties apart: n log n, unlike the pairs."""

    def tied(values: npt.NDArray[np.float64]) -> int:
        counts = np.unique(values, axis=0, return_counts=True)[1].astype(np.int64)
        return int(np.sum(counts * (counts - 1) // 2))

    pairs = len(x) * (len(x) - 1) // 2
    if pairs == 0:
        return math.nan
    apart = [pairs - tied(v) for v in (x, y)]
    if 0 in apart:
        return 0.0
    # the numerator of tau-b is concordant less discordant pairs
    difference = kendalltau(x, y).statistic * math.sqrt(apart[0]) * math.sqrt(apart[1])
    untied = sum(apart) - pairs + tied(np.column_stack([x, y]))
    return round((untied - difference) / 2) / pairs


def _reordered(medians: pd.DataFrame) -> Iterator[OrderChange]:
    """Yield the pairs of regions of one segmentation and stratum that swap places."""
    medians = medians.reset_index()
    medians = medians[medians["segmentation"] != OWN_REGIONS]
    parts = medians.groupby(["segmentation", "stratum"], sort=False)
    for (segmentation, stratum), regions in parts:
        rows = regions[["name", "value_1", "value_2"]].itertuples(index=False)
        for (one, *a), (other, *b) in itertools.combinations(rows, 2):
            first, second = a[0] - b[0], a[1] - b[1]
            if first * second < 0:
                yield OrderChange(segmentation, stratum, (one, other), first, second)


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


def _differences(key: tuple[str, str, str], rows: pd.DataFrame) -> Iterator[Difference]:
    """Compare the groups two by two; sessions and runs of a participant are averaged."""
    people = rows["label"].astype(str).str.split("_").str[0]
    means = rows.groupby(["group", people], sort=False)[["value_1", "value_2"]].mean()
    levels = {name: part.to_numpy() for name, part in means.groupby("group")}
    large = [name for name, part in levels.items() if len(part) >= _FEWEST]
    for names in itertools.combinations(large, 2):
        a, b = (levels[name] for name in names)
        intervals = [_welch(a[:, i], b[:, i]) for i in (0, 1)]
        yield Difference(*key, names, (len(a), len(b)), *intervals)


def _welch(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the difference of two means and its 95 % confidence interval."""
    difference = float(a.mean() - b.mean())
    if a.var() + b.var() <= 0:
        return difference, difference, difference
    interval = ttest_ind(a, b, equal_var=False).confidence_interval()
    return difference, float(interval.low), float(interval.high)
