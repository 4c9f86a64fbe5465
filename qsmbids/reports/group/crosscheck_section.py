"""The cross-check of two references (8.d) in words and tables."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from markupsafe import Markup

from qsmbids.reports.group.crosscheck import (
    CrossCheck,
    cross_check,
    grouping_column,
    reference_pairs,
)
from qsmbids.reports.group.panels import reference_words
from qsmbids.reports.group.runs import Group, GroupRun
from qsmbids.reports.group.sections import run_link, shortened
from qsmbids.reports.group.values import OWN_REGIONS
from qsmbids.reports.run.section import Section, paragraph

__all__ = ["crosscheck_section"]


def crosscheck_section(group: Group, values: pd.DataFrame) -> Section | None:
    """Return what depends on the reference; None where no run has two."""
    column, groups = grouping_column(group.participants)
    runs = {run.label: run for run in group.runs}
    html = Markup("")
    for pair in reference_pairs(values):
        check = cross_check(values, group.runs, pair, groups)
        if check.agreements:
            html += _one(check, runs, column)
    if not html:
        return None
    note = paragraph(
        "For widespread pathology, what holds under two reference regions can be considered free"
        " of bias by the reference (8.d). A reference shifts all regions of a run alike: what"
        " changes with it is the comparison between runs.",
        "note",
    )
    return Section("crosscheck", "Cross-check", html + note)


def _one(check: CrossCheck, runs: Mapping[str, GroupRun], column: str) -> Markup:
    names = [reference_words(name) for name in check.references]
    html = Markup("<h3>{} against {}</h3>\n").format(names[0].capitalize(), names[1])
    mean, spread = check.shift
    if math.isfinite(spread):
        html += paragraph(
            f"From {names[0]} to {names[1]}, the values of a run shift by {mean:+.4f} ±"
            f" {spread:.4f} ppm (mean ± SD of the runs); the SD is what the choice adds between"
            " runs."
        )
    html += _summary(check, names)
    html += _differences(check, names, column)
    html += Markup("<h3>Runs under both references</h3>\n")
    rows = []
    for one in check.agreements:
        what = one.name if one.segmentation == OWN_REGIONS else f"{one.segmentation} {one.name}"
        what = f"{what} · {one.stratum}" if one.stratum else what
        correlation = f"{one.correlation:.3f}" if math.isfinite(one.correlation) else "n/a"
        moved = f"{100 * one.reordered:.0f} %" if math.isfinite(one.reordered) else "n/a"
        flags = (_names(f, runs) for f in (one.both, one.only_first, one.only_second))
        rows.append((what, str(one.n), correlation, moved, *flags))
    head = ("Region", "Runs", "Correlation", "Pairs reordered", "Flagged under both",
            f"Only {names[0]}", f"Only {names[1]}")  # fmt: skip
    return html + shortened(head, rows, (1, 2, 3))


def _names(labels: Sequence[str], runs: Mapping[str, GroupRun]) -> Markup:
    shown = Markup(", ").join(run_link(runs[label]) for label in labels[:4])
    more = len(labels) - 4
    return shown + (f" and {more} more" if more > 0 else "")


def _summary(check: CrossCheck, names: Sequence[str]) -> Markup:
    """Say in one sentence which flags and which order of regions depend on the reference."""
    both = sum(len(a.both) for a in check.agreements)
    one = sum(len(a.only_first) for a in check.agreements)
    other = sum(len(a.only_second) for a in check.agreements)
    html = paragraph(
        f"Flagged values: {both} under both, {one} only under {names[0]}, {other} only under"
        f" {names[1]}."
    )
    # the clearest first: neighbours swap places by rounding alone
    changes = sorted(check.order_changes, key=lambda c: -min(abs(c.first), abs(c.second)))
    if not changes:
        return html + paragraph("The order of the regions' medians is the same under both.")
    listed = [
        f"{c.segmentation} {c.regions[0]} and {c.regions[1]}"
        f" ({c.first:+.4f} and {c.second:+.4f} ppm)"
        for c in changes[:6]
    ]
    more = f"; and {len(changes) - 6} more" if len(changes) > 6 else ""
    return html + paragraph(
        f"Pairs of regions whose medians swap places (difference under either): "
        f"{'; '.join(listed)}{more}."
    )


def _differences(check: CrossCheck, names: Sequence[str], column: str) -> Markup:
    """Return the differences between the groups of the study that either reference finds."""
    if not check.differences:
        return Markup("")
    differences = [d for d in check.differences if d.exists]
    differences.sort(key=lambda d: not d.changes)
    changed = sum(d.changes for d in differences)
    html = Markup("<h3>Groups after “{}” in participants.tsv</h3>\n").format(column)
    html += paragraph(
        f"Of {len(check.differences)} comparisons, {len(differences)} show a difference under at"
        " least one reference (95 % confidence interval without zero, not corrected for their"
        f" number); {changed} of them depend on the reference."
    )
    if not differences:
        return html
    rows = [
        (
            d.name if d.segmentation == OWN_REGIONS else f"{d.segmentation} {d.name}",
            f"{d.groups[0]} ({d.n[0]}) against {d.groups[1]} ({d.n[1]})",
            _interval(d.first),
            _interval(d.second),
            Markup('<b class="flag">changes</b>') if d.changes else "holds",
        )
        for d in differences
    ]
    head = ("Region", "Groups (participants)", f"Difference, {names[0]} [ppm]",
            f"Difference, {names[1]} [ppm]", "Finding")  # fmt: skip
    return html + shortened(head, rows, (2, 3))


def _interval(interval: tuple[float, float, float]) -> str:
    difference, low, high = interval
    return f"{difference:+.4f} ({low:+.4f} to {high:+.4f})"
