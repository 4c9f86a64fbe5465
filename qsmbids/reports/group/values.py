"""Numbers of all runs side by side, and which of them lie far from the others (8.a)."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.reports.group.runs import GroupRun

__all__ = ["LIMIT", "OWN_REGIONS", "Series", "collect_series", "number", "robust_z", "roi_name"]

#: Robust standard deviations from the median beyond which a value is flagged.
LIMIT = 3.0
#: Fewer values than these have no spread to speak of.
_FEWEST = 5
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
#: Name under which the reference regions stand beside the segmentations.
OWN_REGIONS = "reference regions"


@dataclass(frozen=True)
class Series:
    """One quantity in all comparable runs.

    Attributes
    ----------
    kind : str
        "chi" or "measure".
    segmentation, reference : str
        Of a susceptibility; "" for a measure.
    name : str
        Region or measure.
    stratum : str
        Acquisition and reconstruction label that the runs share.
    runs : (N,) ndarray of int
        Their places in the group.
    values : (N,) ndarray of float
    z : (N,) ndarray of float
        Robust standard score; NaN where there is none.
    """

    kind: str
    segmentation: str
    reference: str
    name: str
    stratum: str
    runs: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    z: npt.NDArray[np.float64]

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Which values are far from the others."""
        return np.abs(np.nan_to_num(self.z)) > LIMIT


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
    spread = 1.4826 * float(np.median(np.abs(away)))
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


def roi_name(cells: dict[str, str]) -> str:
    """Return what a region is called, with its side where the name does not say it."""
    name = cells.get("name") or cells.get("index") or "unnamed"
    side = _SIDES.get(cells.get("hemisphere", "").lower())
    if side is None or re.search(rf"(?:^|[-_. ])(?:{side}|{side[0]}h?)(?:[-_. ]|$)", name, re.I):
        return name
    return f"{name} ({side})"


def collect_series(runs: Sequence[GroupRun]) -> list[Series]:
    """Return every quantity that is a number in at least one run, in the order met."""
    found: dict[tuple[str, ...], list[tuple[int, float]]] = defaultdict(list)
    for place, run in enumerate(runs):
        for key, value in _quantities(run):
            if math.isfinite(value):
                found[key].append((place, value))
    series = []
    for (kind, segmentation, reference, name, stratum), pairs in found.items():
        places = np.array([p for p, _ in pairs], dtype=np.int64)
        values = np.array([v for _, v in pairs])
        z = robust_z(values)
        series.append(Series(kind, segmentation, reference, name, stratum, places, values, z))
    return series


def _quantities(run: GroupRun) -> Iterator[tuple[tuple[str, str, str, str, str], float]]:
    for row in run.rois:
        key = ("chi", row.segmentation, row.reference, roi_name(row.cells), run.stratum)
        yield key, number(row.cells.get("mean"))
    for cells in run.references:
        reference, region = cells.get("reference", ""), cells.get("region", "")
        if reference != region:  # that is zero because it was made so
            key = ("chi", OWN_REGIONS, reference, region, run.stratum)
            yield key, number(cells.get("mean"))
    for name, value in run.measures.items():
        yield ("measure", "", "", name, run.stratum), value
