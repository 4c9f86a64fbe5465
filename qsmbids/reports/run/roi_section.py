"""Susceptibility of the reference regions and of the regions of interest, as tables."""

import re
from pathlib import Path

from markupsafe import Markup

from qsmbids.core.reference.kinds import REFERENCES, UNREFERENCED
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.tables import read_rows
from qsmbids.reports.run.lesion_table import lesion_table
from qsmbids.reports.run.nuclei_plot import nuclei_plot
from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.section import Section, paragraph, table

__all__ = ["roi_section"]

#: ``desc`` of a table to what a person reads, the main one first.
_REFERENCES = {
    **{desc: kind.name for desc, kind in REFERENCES.items()},
    UNREFERENCED: "no reference",
}
_REGIONS = {desc: kind.region for desc, kind in REFERENCES.items()}
#: A region of which more is lost is marked.
_LARGEST_EXCLUDED = 0.5

Row = dict[str, str]


def roi_section(record: RunRecord) -> Section | None:
    """Return the tables of the regions, None where the run left none.

    Every number is the one of the table in the output dataset; only its last digits are rounded.
    """
    every = (_references(record), *_segmentations(record), lesion_table(record))
    parts = [part for part in every if part]
    if not parts:
        return None
    return Section("regions", "Regions and references", Markup("\n").join(parts))


def _references(record: RunRecord) -> Markup | None:
    """Return every reference region under every reference (recommendations 8.d and 8.f)."""
    path = derivative_path(
        record.out_dir,
        record.entities,
        datatype="anat",
        suffix="stats",
        extension=".tsv",
        desc="references",
    )
    listing = _rows(path)
    references = list(dict.fromkeys(row["reference"] for row in listing if "reference" in row))
    if not references:
        return None
    regions = list(dict.fromkeys(row["region"] for row in listing))
    cells = {(row["region"], row["reference"]): row for row in listing}
    rows = []
    for region in regions:
        first = cells[region, references[0]]
        values = [_mean_std(cells.get((region, r), {})) for r in references]
        rows.append((_REGIONS.get(region, region), _number(first.get("volume_ml"), 1), *values))
    head = ["Region", "Volume [ml]"]
    head += [f"relative to {_REFERENCES.get(r, r)} [ppm]" for r in references]
    numeric = range(1, len(head))
    caption = "Susceptibility of the reference regions, mean ± standard deviation"
    note = paragraph(
        "A finding that holds under one reference alone is a finding about that reference.", "note"
    )
    return table(head, rows, numeric=numeric, caption=caption) + note


def _segmentations(record: RunRecord) -> list[Markup]:
    """Return the table of every segmentation."""
    one = derivative_path(
        record.out_dir,
        record.entities,
        datatype="anat",
        suffix="stats",
        extension=".tsv",
        segmentation="x",
        desc="x",
    )
    stem = one.name.partition("_seg-x_")[0]
    tables: dict[str, dict[str, list[Row]]] = {}
    for path in sorted(one.parent.glob(f"{stem}_seg-*_desc-*_stats.tsv")):
        match = re.fullmatch(r"_seg-([^_]+)_desc-([^_]+)_stats\.tsv", path.name[len(stem) :])
        rows = _rows(path) if _is_of_this_run(record, path) else []
        if match and rows and {"index", "name", "n_mask4", "mean"} <= set(rows[0]):
            tables.setdefault(match[1], {})[match[2]] = rows
    return [_segmentation(label, by_reference) for label, by_reference in tables.items()]


#: What an interval means.
_INTERVAL = (
    " The 95 % interval does: on simulated heads it held the true mean of 98 % of the regions, and"
    " of 89 % where the field had an error that no susceptibility explains. It lies about the mean"
    " less the bias, which is what the map loses (or adds) there"
    " however often the head is scanned; so the mean that the map shows can lie outside of it."
)


def _is_of_this_run(record: RunRecord, path: Path) -> bool:
    """Return whether a table was made with the map: one of an earlier call may lie there still."""
    outputs = record.result.get("outputs")
    return not outputs or path.relative_to(record.out_dir).as_posix() in outputs


def _segmentation(label: str, by_reference: dict[str, list[Row]]) -> Markup:
    references = [r for r in _REFERENCES if r in by_reference]
    references += [r for r in by_reference if r not in references]
    main, others = references[0], references[1:]
    rows = []
    sure = "error_low" in by_reference[main][0]
    for row in by_reference[main]:
        spread = (_number(row.get(k)) for k in ("median", "iqr", "standard_error"))
        volume = _number(row.get("volume_mm3"), 0)
        inner = f"{row.get('n_eroded', '')}{'' if row.get('eroded') == 'yes' else ' (all used)'}"
        rows.append(
            (
                row["name"],
                "" if row.get("hemisphere") == "n/a" else row.get("hemisphere", ""),
                volume,
                row["n_mask4"],
                inner if "n_eroded" in row else "",
                _excluded(row.get("fraction_excluded", "n/a")),
                _mean_std(row),
                *spread,
                *([_interval(row), _number(row.get("error_bias"), sign=True)] if sure else []),
                _rate(row),
            )
        )
    head = ["Region", "Side", "Volume [mm³]", "Voxels", "Eroded", "Excluded"]
    head += [f"{_title(main)} [ppm]", "Median", "IQR", "Standard error"]
    head += [*(["95 % interval", "Bias"] if sure else []), "R2* [1/s]"]
    caption = f"Segmentation {label}: mean ± standard deviation"
    note = paragraph(
        "Inside Mask 4 without holes; “excluded” is the part of the region outside it, in bold "
        "above one half. Nuclei that keep enough voxels are measured without their outermost ones,"
        " which hold other tissue too (S1.6). The standard error takes into account that "
        "neighbours are alike; it knows nothing of errors of the map."
        f"{_INTERVAL if sure else ''}"
        " All measures, also MAD and "
        f"percentiles, are in anat/*_seg-{label}_desc-*_stats.tsv.",
        "note",
    )
    html = table(head, rows, numeric=range(2, len(head)), caption=caption)
    return html + nuclei_plot(by_reference[main]) + _elsewhere(by_reference, main, others) + note


def _elsewhere(by_reference: dict[str, list[Row]], main: str, others: list[str]) -> Markup:
    """Return the means under the other references, folded away."""
    if not others:
        return Markup("")
    known = {r: {row["index"]: row for row in by_reference[r]} for r in others}
    rows = [
        (row["name"], *(_mean_std(known[r].get(row["index"], {})) for r in others))
        for row in by_reference[main]
    ]
    head = ["Region", *(f"{_title(r)} [ppm]" for r in others)]
    html = table(head, rows, numeric=range(1, len(head)))
    return Markup("<details><summary>Under the other references</summary>{}</details>").format(
        html
    )


def _interval(row: Row) -> str:
    low, high = (_number(row.get(f"error_{end}"), sign=True) for end in ("low", "high"))
    return low if low == high else f"{low} to {high}"


def _rate(row: Row) -> str:
    mean, std = (_number(row.get(f"r2star_{k}"), 1) for k in ("mean", "std"))
    return mean if std == mean else f"{mean} ± {std}"


def _title(reference: str) -> str:
    if reference == UNREFERENCED:
        return "Without reference"
    return f"Relative to {_REFERENCES.get(reference, reference)}"


def _excluded(text: str) -> Markup | str:
    try:
        part = float(text)
    except ValueError:
        return "–"  # noqa: RUF001 - the sign for nothing
    shown = f"{100 * part:.0f} %"
    return Markup("<strong>{}</strong>").format(shown) if part > _LARGEST_EXCLUDED else shown


def _mean_std(row: Row) -> str:
    mean, std = _number(row.get("mean"), sign=True), _number(row.get("std"))
    return mean if std == mean else f"{mean} ± {std}"


def _number(text: str | None, digits: int = 4, *, sign: bool = False) -> str:
    """Return a number of a table with fewer digits, a dash for what is not known."""
    try:
        value = float(text or "")
    except ValueError:
        return "–"  # noqa: RUF001 - the sign for nothing
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _rows(path: Path) -> list[Row]:
    """Return the whole rows of a table, none where it is missing or damaged."""
    try:
        return read_rows(path)
    except (OSError, ValueError):
        return []
