"""Regions against who the participants are: age, sex, and the other side."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from qsmbids.io.segmentation_labels import hemisphere_of, without_side
from qsmbids.reports.group.runs import Group
from qsmbids.reports.group.values import number

__all__ = ["age_and_sex", "ages", "slope", "with_people"]


def with_people(regions: pd.DataFrame, group: Group) -> pd.DataFrame:
    """Return the regions with whose they are, and how they differ from the other side.

    Parameters
    ----------
    regions : DataFrame
        From :func:`qsmbids.reports.group.values.collect_regions`.
    group : Group
        With the rows of ``participants.tsv``.

    Returns
    -------
    DataFrame
        With ``age`` and ``sex`` as they stand there, ``structure`` (the region without its side),
        ``side`` ("L", "R" or "n/a") and ``left_less_right``, NaN where there is one side alone.
    """
    people = age_and_sex(group)
    out = regions.copy()
    for key in ("age", "sex"):
        out[key] = [people[place].get(key, "") for place in out["run"]]
    stated = out["hemisphere"] if "hemisphere" in out else pd.Series("", out.index)
    names = [(_plain(name), str(s or "")) for name, s in zip(out["name"], stated, strict=True)]
    out["side"] = [hemisphere_of(name, s if s != "n/a" else "") for name, s in names]
    out["structure"] = [without_side(name) for name, _ in names]
    series = ["run", "segmentation", "reference", "structure"]
    sides = out[out["side"].isin(("L", "R"))].pivot_table(
        index=series, columns="side", values="value", aggfunc="first"
    )
    difference = pd.Series(dtype=np.float64)
    if {"L", "R"} <= set(sides.columns):
        difference = (sides["L"] - sides["R"]).rename("left_less_right")
    of = pd.MultiIndex.from_frame(out[series])
    one_sided = ~out["side"].isin(("L", "R"))
    out["left_less_right"] = difference.reindex(of).to_numpy() if len(difference) else np.nan
    out.loc[one_sided, "left_less_right"] = np.nan
    return out


def age_and_sex(group: Group) -> list[dict[str, str]]:
    """Return age and sex of whom every run is of, as far as they are stated."""
    return [_stated(group.participants.get(r.label.split("_")[0], {})) for r in group.runs]


def ages(regions: pd.DataFrame) -> pd.Series:
    """Return the ages as numbers [years], NaN where none is stated; "89+" is 89."""
    return regions["age"].map(lambda text: number(str(text).rstrip("+")))


def _stated(row: Mapping[str, str]) -> dict[str, str]:
    """Return age and sex of a participant, however their columns are spelled."""
    known = {key.strip().lower(): value.strip() for key, value in row.items()}
    found = {"age": known.get("age", ""), "sex": known.get("sex", known.get("gender", ""))}
    return {k: v for k, v in found.items() if v and v.lower() not in ("n/a", "nan")}


def _plain(name: str) -> str:
    """Return a name that was given a side in brackets without them."""
    plain = str(name)
    for side in (" (left)", " (right)"):
        plain = plain.removesuffix(side)
    return plain


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return intercept, slope and its standard error; NaN for fewer than 5 or one age."""
    if x.size < 5 or np.ptp(x) == 0:
        return math.nan, math.nan, math.nan
    centred = x - x.mean()
    steep = float((centred * y).sum() / (centred**2).sum())
    start = float(y.mean() - steep * x.mean())
    rest = y - start - steep * x
    error = float(np.sqrt((rest**2).sum() / (x.size - 2) / (centred**2).sum()))
    return start, steep, error
