"""Distributions on the group page: a table for everyone, and the numbers for the plots in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from qsmbids.core.maths.robust import robust_std
from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.reports.group.runs import GroupRun
from qsmbids.reports.group.values import OWN_REGIONS

__all__ = ["Panel", "make_panels", "panel_html", "panels_payload", "reference_words"]

#: What the references are called where people read them.
_REFERENCES = {
    **{desc: kind.name for desc, kind in REFERENCES.items()},
    "wholebrain": "whole brain",
}


@dataclass(frozen=True)
class Panel:
    """Series that are drawn together.

    Attributes
    ----------
    id : str
        Anchor.
    title : str
    kind : str
        "chi" or "measure".
    series : tuple of DataFrame
        The values of each region or measure.
    """

    id: str
    title: str
    kind: str
    series: tuple[pd.DataFrame, ...]


def reference_words(name: str) -> str:
    """Return what a reference is called."""
    return _REFERENCES.get(name, name)


def make_panels(values: pd.DataFrame) -> list[Panel]:
    """Return segmentations before reference regions before measures, the whole brain first."""

    def order(key: tuple[str, str, str, str]) -> tuple[bool, bool, str, str, bool, str]:
        kind, segmentation, reference, stratum = key
        own = segmentation == OWN_REGIONS
        return kind != "chi", own, segmentation, stratum, reference != "wholebrain", reference

    columns = ["kind", "segmentation", "reference", "stratum"]
    parts = dict(iter(values.groupby(columns, sort=False)))
    panels = []
    for number, key in enumerate(sorted(parts, key=order)):
        kind, segmentation, reference, stratum = key
        words = [segmentation, reference and f"{reference_words(reference)} as reference", stratum]
        by = "name" if kind == "measure" else "series"
        members = tuple(rows for _, rows in parts[key].groupby(by))
        title = " · ".join(w for w in words if w) or "all runs"
        panels.append(Panel(f"panel-{number}", title, kind, members))
    return panels


def panels_payload(panels: Sequence[Panel], runs: Sequence[GroupRun]) -> dict[str, Any]:
    """Return what the script of the page draws: runs, and values rounded as they are shown."""
    return {
        "runs": [[run.label, run.report] for run in runs],
        "panels": {
            panel.id: {
                "shared": panel.kind == "chi",
                "rows": [
                    {
                        "name": _name(rows),
                        "unit": "ppm" if panel.kind == "chi" else _unit(rows, runs),
                        "runs": rows["run"].tolist(),
                        "values": [float(f"{v:.5g}") for v in rows["value"].tolist()],
                        "z": [None if np.isnan(z) else round(z, 1) for z in rows["z"].tolist()],
                    }
                    for rows in panel.series
                ],
            }
            for panel in panels
        },
    }


def _name(rows: pd.DataFrame) -> str:
    return str(rows["name"].iat[0])


def _unit(rows: pd.DataFrame, runs: Sequence[GroupRun]) -> str:
    """Return the unit of a measure, "" for a pure number."""
    name = _name(rows)
    stated = (runs[place].units.get(name, "") for place in rows["run"].tolist())
    return next((unit for unit in stated if unit), "")


def panel_html(panel: Panel, runs: Sequence[GroupRun]) -> Markup:
    """Return the table of a panel; the script draws into its empty cells."""
    chi = panel.kind == "chi"
    head = (
        "Region" if chi else "Measure",
        "",
        "Median [ppm]" if chi else "Median",
        "Robust SD",
        "Lowest",
        "Highest",
        "Runs",
        "Flagged",
    )
    cells = Markup("").join(
        Markup('<th scope="col" class="{}">{}</th>').format(_kind(place), text)
        for place, text in enumerate(head)
    )
    body = Markup("").join(
        _row(rows, chi, "" if chi else _unit(rows, runs)) for rows in panel.series
    )
    return Markup(
        '<div class="panel" id="{}" role="group" aria-label="{}">\n<h3>{}</h3>\n'
        '<div class="scroll"><table class="strips">\n<thead><tr>{}</tr></thead>\n'
        "<tbody>\n{}</tbody></table></div></div>\n"
    ).format(panel.id, panel.title, panel.title, cells, body)


def _kind(place: int) -> str:
    return "strip" if place == 1 else "number" if place > 1 else "name"


def _row(rows: pd.DataFrame, chi: bool, unit: str) -> Markup:
    values, median = rows["value"].to_numpy(), float(rows["median"].iat[0])
    spread = robust_std(values - median)

    def shown(value: float, signed: bool = True) -> str:
        if not chi:
            return f"{value:.4g}"
        text = f"{value:+.4f}" if signed else f"{value:.4f}"
        return text.replace("-", "\N{MINUS SIGN}")

    flagged = int(np.count_nonzero(rows["outlier"]))
    texts = (
        shown(median),
        shown(spread, signed=False),
        shown(float(values.min())),
        shown(float(values.max())),
        str(len(values)),
        Markup('<b class="flag">{}</b>').format(flagged) if flagged else "0",
    )
    cells = Markup("").join(Markup('<td class="number">{}</td>').format(t) for t in texts)
    name = _name(rows)
    return Markup(
        '<tr><th scope="row" class="name">{}</th><td class="strip"></td>{}</tr>\n'
    ).format(f"{name} [{unit}]" if unit else name, cells)
