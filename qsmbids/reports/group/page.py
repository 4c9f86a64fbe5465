"""The page of the group and the tables beside it."""

from collections import Counter
from pathlib import Path

import pandas as pd

from qsmbids.io.write import write_text
from qsmbids.reports.group.acquisition import varying_settings
from qsmbids.reports.group.age_section import age_section
from qsmbids.reports.group.crosscheck_section import crosscheck_section
from qsmbids.reports.group.exclusions import exclusions, keep_edits
from qsmbids.reports.group.panels import make_panels, panel_html, panels_payload
from qsmbids.reports.group.people import with_people
from qsmbids.reports.group.runs import Group
from qsmbids.reports.group.sections import (
    acquisition_section,
    exclusions_section,
    files_section,
    flags_section,
    references_section,
    runs_section,
    settings_section,
)
from qsmbids.reports.group.tables import write_tables
from qsmbids.reports.group.values import collect_regions, collect_values
from qsmbids.reports.run.section import bullets
from qsmbids.reports.run.template import asset, fill_template
from qsmbids.reports.run.verdict import Verdict

__all__ = ["write_group"]


def write_group(out_dir: Path, group: Group) -> Path:
    """Write all tables of the group and its page; the same outputs give the same bytes.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    group : Group

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    regions = with_people(collect_regions(group.runs), group)
    values = collect_values(group.runs, regions)
    suggested = exclusions(group.runs, regions, values)
    decisions = keep_edits(out_dir / "group_exclusions.tsv", suggested)
    write_tables(out_dir, group, regions, values, decisions)
    return write_text(out_dir / "group_chi.html", _render(group, regions, values, decisions))


def _render(
    group: Group, regions: pd.DataFrame, values: pd.DataFrame, decisions: pd.DataFrame
) -> str:
    panels = make_panels(values)
    sections = [
        age_section(regions),
        flags_section(values, group.runs),
        references_section(regions),
        crosscheck_section(group, values),
        acquisition_section(group.runs),
        settings_section(group.runs),
        exclusions_section(group, decisions),
        files_section(any(run.lesions for run in group.runs)),
    ]
    return fill_template(
        "group.html.j2",
        style=asset("report.css") + asset("group.css"),
        script=asset("group.js"),
        verdict=_verdict(group, values),
        points=bullets,
        runs=runs_section(group),
        sections=[s for s in sections if s is not None],
        chi=[p for p in panels if p.kind == "chi"],
        measures=[p for p in panels if p.kind == "measure"],
        panel=lambda one: panel_html(one, group.runs),
        payload=panels_payload(panels, group.runs),
        labels=[run.label for run in group.runs],
    )


def _verdict(group: Group, values: pd.DataFrame) -> Verdict:
    """Return what to look at, in one line and some points."""
    counts = Counter(run.status for run in group.runs)
    flagged = values.loc[values["outlier"], "run"].nunique()
    points = []
    if counts["failed"]:
        points.append(f"{_runs(counts['failed'])} failed.")
    if counts["missing"]:
        points.append(f"{_runs(counts['missing'])} missing.")
    if flagged:
        points.append(f"{_runs(flagged)} with values far from those of the others.")
    if differing := varying_settings(group.runs):
        names = ", ".join(list(differing)[:4]) + (", …" if len(differing) > 4 else "")
        points.append(f"The runs were not processed alike: {names}.")
    if group.unreadable:
        points.append(f"Could not be read: {len(group.unreadable)} of the files.")
    people = f"{group.n_participants} participants"
    text = f"{counts['ok']} of {len(group.runs)} runs of {people} have a map."
    return Verdict("look" if points else "fine", text, tuple(points))


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
