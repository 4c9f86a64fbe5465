"""Numbers of all runs side by side, and which of them lie far from the others (8.a)."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from qsmbids.core.maths.robust import robust_std
from qsmbids.reports.group.runs import GroupRun

__all__ = [
    "LIMIT",
    "OWN_REGIONS",
    "SERIES",
    "collect_regions",
    "collect_values",
    "number",
    "robust_z",
]

#: Robust standard deviations from the median beyond which a value is flagged.
LIMIT = 3.0
#: What tells one series of comparable values from another.
SERIES = ("kind", "segmentation", "reference", "name", "stratum")
#: Fewer values than these have no spread to speak of.
_FEWEST = 5
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
#: Name under which the reference regions stand beside the segmentations.
OWN_REGIONS = "reference regions"


def collect_regions(runs: Sequence[GroupRun]) -> pd.DataFrame:
    """Return every region of every run under every reference, the reference regions last.

    Returns
    -------
    DataFrame
        The cells as the tables of the runs have them, with ``run`` (its place in the group),
        ``segmentation``, ``reference``, ``name`` (with the side) and the mean as a number,
        ``value``.
    """
    rows = [
        {**cells, "run": place}
        for place, run in enumerate(runs)
        for cells in (*_segmented(run), *_own_regions(run))
    ]
    columns = ["run", "segmentation", "reference", "name", "mean"]
    regions = pd.DataFrame(rows, columns=None if rows else columns, dtype=object)
    regions["run"] = regions["run"].astype(np.int64)
    regions["value"] = regions["mean"].map(number).astype(np.float64)
    return regions


def _segmented(run: GroupRun) -> Iterator[dict[str, str]]:
    for cells in run.rois:
        name = _with_side(
            cells.get("name") or cells.get("index") or "unnamed", cells.get("hemisphere", "")
        )
        yield {"mean": "", **cells, "name": name}


def _own_regions(run: GroupRun) -> Iterator[dict[str, str]]:
    for cells in run.references:
        plain = {"reference": "", "region": "", "mean": "", **cells}
        yield {**plain, "segmentation": OWN_REGIONS, "name": plain["region"]}


@lru_cache(maxsize=4096)
def _with_side(name: str, hemisphere: str) -> str:
    """Return what a region is called, with its side where the name does not say it."""
    side = _SIDES.get(hemisphere.lower())
    if side is None or re.search(rf"(?:^|[-_. ])(?:{side}|{side[0]}h?)(?:[-_. ]|$)", name, re.I):
        return name
    return f"{name} ({side})"


def collect_values(runs: Sequence[GroupRun], regions: pd.DataFrame) -> pd.DataFrame:
    """Return every number of every run that can be compared, run by run.

    Parameters
    ----------
    runs : sequence of GroupRun
    regions : DataFrame
        From :func:`collect_regions`.

    Returns
    -------
    DataFrame
        What is not a number is left out. The columns :data:`SERIES` tell what it is: ``kind`` is
        "chi" or "measure", ``stratum`` what runs must share to be compared. The others are
        ``run`` (its place in the group), ``value``, ``median`` of the series, ``z`` (the robust
        standard score, NaN where there is none), ``outlier`` and ``series``, which counts the
        series in the order met. The index of a susceptibility is that of its region.
    """
    strata = pd.Series([run.stratum for run in runs], dtype=object)
    # under its own reference a region is zero because it was made so
    own = (regions["segmentation"] == OWN_REGIONS) & (regions["reference"] == regions["name"])
    chi = regions.loc[~own, ["run", "segmentation", "reference", "name", "value"]]
    measures = pd.DataFrame(
        [(n, "", "", name, v) for n, run in enumerate(runs) for name, v in run.measures.items()],
        columns=chi.columns,
    ).set_index(pd.RangeIndex(len(regions), len(regions) + sum(len(r.measures) for r in runs)))
    values = pd.concat([chi.assign(kind="chi"), measures.assign(kind="measure")])
    values = values[np.isfinite(values["value"].astype(np.float64))]
    values = values.sort_values("run", kind="stable")
    values["run"] = values["run"].astype(np.int64)
    values["value"] = values["value"].astype(np.float64)
    values["stratum"] = strata.reindex(values["run"]).to_numpy()
    series = values.groupby(list(SERIES), sort=False)
    values["series"] = series.ngroup()
    values["median"] = series["value"].transform("median")
    values["z"] = series["value"].transform(lambda v: robust_z(v.to_numpy()))
    values["outlier"] = values["z"].abs() > LIMIT
    return values


def robust_z(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (x - median) / (1.4826 MAD), NaN for fewer than 5 values or without any spread.

    Where more than half of the values are equal, the mean absolute deviation times 1.2533 takes
    the place of the MAD, which is then 0 [1]_.

    References
    ----------
    .. [1] Iglewicz B, Hoaglin DC. How to detect and handle outliers. ASQC Quality Press, 1993.

    Examples
    --------
    >>> [round(float(z), 2) for z in robust_z(np.array([1.0, 2.0, 3.0, 4.0, 20.0]))]
    [-1.35, -0.67, 0.0, 0.67, 11.47]
    """
    if len(values) < _FEWEST:
        return np.full(len(values), np.nan)
    away = values - np.median(values)
    spread = robust_std(away)
    # numbers are read with six decimals: what is below is rounding, not spread
    smallest = 1e-9 * max(1.0, float(np.max(np.abs(values))))
    if spread <= smallest:
        spread = 1.2533 * float(np.mean(np.abs(away)))
    return away / spread if spread > smallest else np.full(len(values), np.nan)


def number(cell: str | None) -> float:
    """Return a cell as a number, NaN where it is none."""
    try:
        value = float(cell or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
