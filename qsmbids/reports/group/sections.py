"""Parts of the group page that are words and tables."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from qsmbids.reports.group.acquisition import (
    cell,
    common_parameters,
    varying_parameters,
    varying_settings,
)
from qsmbids.reports.group.exclusions import edited
from qsmbids.reports.group.panels import reference_words
from qsmbids.reports.group.runs import Group, GroupRun
from qsmbids.reports.group.values import LIMIT, OWN_REGIONS, number
from qsmbids.reports.paper.paper_tables import centre_frequency_table
from qsmbids.reports.run.section import Section, bullets, paragraph, table

__all__ = [
    "acquisition_section",
    "exclusions_section",
    "files_section",
    "flags_section",
    "references_section",
    "run_link",
    "runs_section",
    "settings_section",
    "shortened",
]

#: Rows that are shown at once; the others are folded.
_SHOWN = 40
_MOST_VALUES = 6


def run_link(run: GroupRun) -> Markup:
    """Return the label of a run, as a link to its page where it has one."""
    if not run.report:
        return Markup("{}").format(run.label)
    return Markup('<a href="{}">{}</a>').format(run.report, run.label)


def shortened(
    head: Sequence[object], rows: Sequence[Sequence[object]], numeric: Sequence[int] = ()
) -> Markup:
    """Return a table whose many rows are folded after the first ones."""
    shown = table(head, rows[:_SHOWN], numeric=numeric)
    if len(rows) <= _SHOWN:
        return shown
    rest = table(head, rows[_SHOWN:], numeric=numeric)
    return shown + Markup("<details><summary>{} more</summary>\n{}</details>").format(
        len(rows) - _SHOWN, rest
    )


def runs_section(group: Group) -> Section:
    """Return what became of the runs; those without a map by name."""
    counts = Counter(run.status for run in group.runs)
    statuses = ", ".join(f"{counts[s]} {s}" for s in ("ok", "failed", "missing"))
    html = paragraph(
        f"{group.n_participants} participants with {len(group.runs)} runs: {statuses}."
    )
    rows = [
        (run_link(run), Markup('<span class="status {0}">{0}</span>').format(run.status),
         run.step, run.message)
        for run in group.runs
        if run.status != "ok"
    ]  # fmt: skip
    if rows:
        html += shortened(("Run", "Status", "Step", "What happened"), rows)
    if group.unreadable:
        html += Markup("<h3>Files that could not be read</h3>\n") + bullets(group.unreadable)
    return Section("runs", "Runs", html)


def references_section(regions: pd.DataFrame) -> Section | None:
    """Return mean and SD of every reference region under every reference (8.f)."""
    own = regions[(regions["segmentation"] == OWN_REGIONS) & regions["value"].notna()]
    if own.empty:
        return None
    parts = dict(iter(own.groupby(["reference", "name"])))
    rows = []
    for reference, region in sorted(parts, key=lambda key: (key[0] != "wholebrain", *key)):
        part = parts[reference, region]
        means, inside = part["value"].to_numpy(), part["std"].map(number).dropna().to_numpy()
        zero = reference == region
        spread = f"{np.std(means, ddof=1):.4f}" if len(means) > 1 else "n/a"
        within = f"{np.mean(inside):.4f}" if len(inside) else "n/a"
        typical = "0 by definition" if zero else f"{np.mean(means):+.4f}"
        rows.append(
            (reference_words(reference), reference_words(region), typical, "" if zero else spread,
             within, str(len(means)))
        )  # fmt: skip
    head = ("Reference", "Region", "Mean [ppm]", "SD of the runs", "Mean SD inside", "Runs")
    note = paragraph(
        "Where the reference is not the whole brain, report its mean and standard deviation under"
        " the whole-brain reference, so that others can re-reference (Table 5). The values of"
        " every run are in group_references.tsv.",
        "note",
    )
    html = table(head, rows, numeric=(2, 3, 4, 5)) + note
    return Section("references", "Reference regions", html)


def flags_section(values: pd.DataFrame, runs: Sequence[GroupRun]) -> Section:
    """Return every value that lies far from those of the other runs (8.a)."""
    rule = paragraph(
        f"Flagged: more than {LIMIT:g} robust standard deviations (1.4826 times the median"
        " absolute deviation) from the median of the runs with the same acquisition label, where"
        " there are at least five. A flag is a reason to look, not to exclude.",
        "note",
    )
    far = values[values["outlier"]]
    if far.empty:
        return Section("flags", "Flagged values", paragraph("No value is flagged.") + rule)
    far = far.assign(rank=-far["z"].abs(), label=[runs[place].label for place in far["run"]])
    far = far.sort_values(["rank", "label", "segmentation", "name", "reference"])
    rows = []
    for one in far.itertuples():
        own = one.segmentation in ("", OWN_REGIONS)
        what = one.name if own else f"{one.segmentation} {one.name}"
        digits = "+.4f" if one.kind == "chi" else ".4g"
        rows.append(
            (run_link(runs[one.run]), what, reference_words(one.reference),
             format(one.value, digits), format(one.median, digits), f"{one.z:+.1f}")
        )  # fmt: skip
    count = paragraph(f"{len(far)} values of {far['run'].nunique()} runs.")
    html = count + shortened(
        ("Run", "Region or measure", "Reference", "Value", "Median", "Robust z"), rows, (3, 4, 5)
    )
    return Section("flags", "Flagged values", html + rule)


def acquisition_section(runs: Sequence[GroupRun]) -> Section | None:
    """Return the parameters that vary, and the centre frequency of every scanner (Table 4)."""
    known = [run for run in runs if run.acquisition]
    if not known:
        return None
    rows = []
    for name in varying_parameters(known):
        counts = Counter(cell(r.acquisition[name]) for r in known if name in r.acquisition)
        if name != "ImagingFrequency":
            rows.append((name, _distinct(counts), str(sum(counts.values()))))
    html = (
        table(("Parameter", "Values (runs)", "Stated by"), rows, numeric=(2,))
        if rows
        else paragraph("Every acquisition parameter that is stated is the same in all runs.")
    )
    common = common_parameters(known)
    if common:
        html += Markup("<details><summary>{}</summary>\n{}</details>").format(
            f"{len(common)} parameters are the same in all runs",
            table(("Parameter", "Value"), list(common.items())),
        )
    frequency = centre_frequency_table(run.acquisition for run in known)
    if frequency.rows:
        html += Markup("<h3>Centre frequency of each scanner</h3>\n")
        html += table(frequency.columns, frequency.rows, numeric=(1, 2, 3, 4))
    for note in frequency.notes:
        html += paragraph(note, "note")
    return Section("acquisition", "Acquisition", html)


def _distinct(counts: Counter[str]) -> Markup:
    """Return values with how often each is; a range where there are many."""
    if len(counts) > _MOST_VALUES:
        numbers = [number(v) for v in counts]
        if all(map(math.isfinite, numbers)):
            return Markup("{:g} to {:g}, {} values").format(
                min(numbers), max(numbers), len(counts)
            )
    common = counts.most_common(_MOST_VALUES)
    texts = [f"{value} ({n})" for value, n in common]
    more = len(counts) - len(common)
    return Markup("{}").format("; ".join(texts) + (f"; and {more} more" if more else ""))


def settings_section(runs: Sequence[GroupRun]) -> Section:
    """Return versions and settings that are not the same in all runs."""
    varying = varying_settings(runs)
    if not varying:
        text = (
            "All runs whose settings are known were processed with the same version and settings."
        )
        return Section("settings", "Processing", paragraph(text))
    rows = [(name, _distinct(counts)) for name, counts in varying.items()]
    html = paragraph(
        "The runs were not all processed alike. Their susceptibility is only comparable where"
        " these differences do not matter; process them again with one version and one preset.",
        "look",
    )
    return Section("settings", "Processing", html + table(("Setting", "Values (runs)"), rows))


def exclusions_section(group: Group, decisions: pd.DataFrame) -> Section:
    """Return the table of inclusions and exclusions (Table 5)."""
    runs = {run.label: run for run in group.runs}
    counts = decisions["include"].value_counts().sort_index()
    listing = ", ".join(f"{n} {name or 'n/a'}" for name, n in counts.items())
    html = paragraph(f"Include: {listing}.")
    by_author = edited(decisions)
    shown = decisions.assign(by=by_author.map({True: "author", False: "suggested"}))
    shown = shown[(shown["include"] != "yes") | by_author]
    listed = [
        (run_link(runs[label]) if label in runs else label, include, by, reason)
        for label, include, by, reason in shown[["include", "by", "reason"]].itertuples()
    ]
    if listed:
        html += shortened(("Run", "Include", "By", "Reason"), listed)
    html += paragraph(
        "Edit the columns include and reason of group_exclusions.tsv: what was edited stays when"
        " this page is made again. State in the publication which artefacts were looked for and"
        " how severe they had to be (Table 5).",
        "note",
    )
    return Section("exclusions", "Inclusion", html)


def files_section(with_lesions: bool = False) -> Section:
    """Return the tables beside the page."""
    lesions = (("lesions", "every lesion that was given, its rim and its core"),)
    files = (
        ("chi", "every region of every run under every reference, with its robust z"),
        ("references", "reference regions of every run"),
        *(lesions if with_lesions else ()),
        ("iqms", "image quality measures, one line per run"),
        ("acquisition", "acquisition parameters that vary, one line per run"),
        ("runs", "what became of every run, version and settings"),
        ("exclusions", "inclusion and exclusion, to be edited"),
    )
    rows = [(f"group_{name}.tsv", text) for name, text in files]
    note = paragraph("Each has a JSON file that explains its columns.", "note")
    return Section("files", "Tables", Markup('<div class="files">{}</div>').format(
        table(("File", "Holds"), rows)) + note)  # fmt: skip
