"""The table of inclusions and exclusions that Table 5 asks for, ready for the author to edit."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from qsmbids.io.tables import read_cells
from qsmbids.reports.group.runs import GroupRun
from qsmbids.reports.group.values import OWN_REGIONS, number

__all__ = ["COLUMNS", "edited", "exclusions", "keep_edits"]

#: ``suggested`` is "yes" (include), "check" (look at the flags) or "no" (there is no map),
#: ``flags`` says why; ``include`` and ``reason`` are the same until the author edits them.
COLUMNS = ("suggested", "flags", "include", "reason")
#: Share of a region outside Mask 4 above which its mean says little of the region (8.b).
_MOST_EXCLUDED = 0.5
_LONGEST = 160


def exclusions(
    runs: Sequence[GroupRun], regions: pd.DataFrame, values: pd.DataFrame
) -> pd.DataFrame:
    """Return what speaks against every run.

    Parameters
    ----------
    runs : sequence of GroupRun
    regions, values : DataFrame
        From :mod:`qsmbids.reports.group.values`.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`, a row for every run, with its label as the index.
    """
    far = values[values["outlier"]].sort_values("series", kind="stable")
    outliers = far.apply(_outlier, axis=1, result_type="reduce").groupby(far["run"]).agg(list)
    outside = _outside(regions)
    rows = []
    for place, run in enumerate(runs):
        if run.status != "ok":
            where = f" in step {run.step}" if run.step else ""
            rows.append(("no", _line(f"no map: {run.status}{where}; {run.message}")))
            continue
        flags = [
            *outliers.get(place, ()),
            *outside.get(place, ()),
            *_unusual(run),
            *(f"warning: {w}" for w in run.warnings),
        ]
        rows.append(("check" if flags else "yes", "; ".join(dict.fromkeys(map(_line, flags)))))
    labels = pd.Index([run.label for run in runs], dtype=object)
    table = pd.DataFrame(rows, labels, COLUMNS[:2], dtype=object)
    return table.assign(include=table["suggested"], reason=table["flags"])


def edited(table: pd.DataFrame) -> pd.Series:
    """Return where the author decided otherwise than suggested."""
    return (table["include"] != table["suggested"]) | (table["reason"] != table["flags"])


def _outlier(row: pd.Series) -> str:
    if row["kind"] == "measure":
        return f"outlier: {row['name']} {row['value']:.4g} (z {row['z']:+.1f})"
    segmentation = "" if row["segmentation"] == OWN_REGIONS else f"{row['segmentation']} "
    what = f"{segmentation}{row['name']}, {row['reference']} reference"
    return f"outlier: {what} {row['value']:+.4f} ppm (z {row['z']:+.1f})"


def _outside(regions: pd.DataFrame) -> dict[int, list[str]]:
    """Return by the place of a run which of its regions lie mostly outside Mask 4."""
    if "fraction_excluded" not in regions:
        return {}
    lost = regions[regions["fraction_excluded"].map(number) > _MOST_EXCLUDED]
    names = (lost["segmentation"] + " " + lost["name"]).groupby(lost["run"]).unique()
    return {place: [_mostly_outside(list(some))] for place, some in names.items()}


def _mostly_outside(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"more than half outside Mask 4: {', '.join(names[:3])}{more}"


def _unusual(run: GroupRun) -> list[str]:
    return [
        f"unusual: {name} {run.measures[name]:.4g} {run.units.get(name, '')}".rstrip()
        for name in run.unusual
        if name in run.measures
    ]


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def keep_edits(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what the author wrote into the present file.

    A decision that still is what was suggested then follows the new suggestion; one that was
    edited stays, also that on a run that is not among these.
    """
    try:
        head, *lines = read_cells(path) or [[]]
    except (OSError, ValueError):
        return table
    if not {"run_label", *COLUMNS} <= set(head):
        return table
    # an editor of tables may quote cells, and drop empty ones at the end
    lines = [(line + [""] * len(head))[: len(head)] for line in lines]
    old = pd.DataFrame(lines, columns=head, dtype=object)
    old = old.map(lambda c: c.strip().removeprefix('"').removesuffix('"')).replace("n/a", "")
    mine = old.drop_duplicates("run_label", keep="last").set_index("run_label")[list(COLUMNS)]
    mine = mine[edited(mine)]
    kept = table.copy()
    kept.update(mine[["include", "reason"]])
    return pd.concat([kept, mine[~mine.index.isin(kept.index)]])
