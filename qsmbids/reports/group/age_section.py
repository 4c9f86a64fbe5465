"""Plots of every region against age."""

import math

import numpy as np
import pandas as pd
from markupsafe import Markup

from qsmbids.reports.group.people import ages, slope
from qsmbids.reports.group.values import OWN_REGIONS
from qsmbids.reports.run.section import Section, paragraph

__all__ = ["age_section"]

#: Fewest participants of different age for a plot to say something.
_FEWEST = 3
#: Plots that a page can have.
_MOST = 60
_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = (250, 170), 46, 8, 20, 30
_COLOURS = {"L": "#1f5f8b", "R": "#b3541e", "n/a": "#5b6875"}


def age_section(regions: pd.DataFrame) -> Section | None:
    """Return a plot per region, both sides together; None where no ages are known.

    Parameters
    ----------
    regions : DataFrame
        From :func:`qsmbids.reports.group.people.with_people`.
    """
    known = regions[regions["segmentation"] != OWN_REGIONS].copy()
    if known.empty:
        return None
    known["years"] = ages(known)
    known = known[np.isfinite(known["years"]) & np.isfinite(known["value"])]
    if known.empty or known["years"].nunique() < _FEWEST:
        return None
    first = "wholebrain" if (known["reference"] == "wholebrain").any() else None
    reference = first or str(known["reference"].iat[0])
    known = known[known["reference"] == reference]
    series = list(known.groupby(["segmentation", "structure"], sort=False))
    plots = [_plot(f"{s}: {name}", rows) for (s, name), rows in series[:_MOST]]
    note = (
        f"Mean susceptibility [ppm] relative to {reference} against age [years]: left blue, right"
        " orange, other regions grey, with the least-squares line of both sides and its slope per"
        " year ± its standard error. Runs of one participant count as if they were several."
    )
    if len(series) > _MOST:
        note += f" The first {_MOST} of {len(series)} regions; all are in group_chi.tsv."
    html = Markup('<div class="ages">{}</div>').format(Markup("").join(plots))
    return Section("age", "Regions against age", html + paragraph(note, "note"))


def _plot(title: str, rows: pd.DataFrame) -> Markup:
    x, y = rows["years"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
    width, height = _SIZE
    (x0, x1), (y0, y1) = _limits(x, 1.0), _limits(y, 0.005)

    def right(value: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * (value - x0) / (x1 - x0)

    def down(value: float) -> float:
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * (value - y0) / (y1 - y0)

    parts = [
        Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="none" stroke="#b9c4cd"/>').format(
            _LEFT, _TOP, width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
        ),
        _text(width / 2, 13, "middle", title),
        _text(_LEFT, height - 14, "start", f"{x0:.0f}"),
        _text(width - _RIGHT, height - 14, "end", f"{x1:.0f}"),
        _text(_LEFT - 4, height - _BOTTOM, "end", f"{y0:+.3f}"),
        _text(_LEFT - 4, _TOP + 8, "end", f"{y1:+.3f}"),
    ]
    start, steep, error = slope(x, y)
    if math.isfinite(steep):
        ends = [(right(v), down(min(max(start + steep * v, y0), y1))) for v in (x0, x1)]
        parts.append(
            Markup(
                '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="#5b6875"'
                ' stroke-dasharray="4 3"/>'
            ).format(*ends[0], *ends[1])
        )
        said = f"{1000 * steep:+.2f} ± {1000 * error:.2f} ppb a year"
        parts.append(_text(width / 2, height - 3, "middle", said))
    for age, value, side in zip(x, y, rows["side"], strict=True):
        parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.6" fill="{}" fill-opacity=".8"/>').format(
                right(age), down(value), _COLOURS.get(side, _COLOURS["n/a"])
            )
        )
    return Markup(
        '<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" font-size="10"'
        ' fill="#1c2733" aria-label="{2} against age">{3}</svg>\n'
    ).format(width, height, title, Markup("").join(parts))


def _limits(values: np.ndarray, least: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(0.06 * (high - low), least)
    return low - margin, high + margin


def _text(x: float, y: float, anchor: str, words: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, words
    )
