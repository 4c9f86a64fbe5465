"""The tables of the group: tidy TSV files, each with a JSON file that explains its columns."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.io.write import write_json, write_text
from qsmbids.reports.group.acquisition import (
    cell,
    common_parameters,
    varying_parameters,
    varying_settings,
)
from qsmbids.reports.group.exclusions import COLUMNS as EXCLUSION_COLUMNS
from qsmbids.reports.group.exclusions import Exclusion, to_tsv
from qsmbids.reports.group.runs import IDENTITY, Group, GroupRun, identity
from qsmbids.reports.group.values import LIMIT, OWN_REGIONS, Series, roi_name

__all__ = ["write_tables"]

_SPREAD = ("mean", "std", "median", "iqr", "mad", "p05", "p95")
_CHI = ("segmentation", "reference", "roi", "index", "hemisphere", "n_voxels", "n_mask4",
        "fraction_excluded", *_SPREAD, "robust_z", "outlier")  # fmt: skip
_REFERENCES = ("reference", "region", "n_voxels", "volume_ml", "mean", "std", "median", "p05",
               "p95", "reference_value")  # fmt: skip
_RUNS = ("status", "step", "message", "report", "version", "preset", "main_reference", "warnings")

_WORDS: dict[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "acquisition": "Acquisition label of the file names",
    "run": "Run label of the file names",
    "run_label": "The run as its file names begin",
    "segmentation": "Label of the segmentation; 'reference regions' for those",
    "reference": "Region whose mean susceptibility is zero",
    "roi": "Region, with its side where the name does not say it",
    "region": "Reference region that is described",
    "index": "Number of the region in the segmentation",
    "hemisphere": "Side of the region",
    "n_voxels": "Voxels of the region",
    "n_mask4": "Voxels of the region inside Mask 4 without holes: those that count",
    "fraction_excluded": "Share of the region that does not count",
    "volume_ml": "Volume of the region",
    "mean": "Mean susceptibility",
    "std": "Standard deviation over the voxels",
    "median": "Median susceptibility",
    "iqr": "Interquartile range over the voxels",
    "mad": "Median absolute deviation over the voxels",
    "p05": "5th percentile over the voxels",
    "p95": "95th percentile over the voxels",
    "reference_value": "Mean of the reference region before referencing, which was subtracted",
    "robust_z": "(mean - median of the runs) / (1.4826 MAD of the runs), over the runs with the"
    " same acquisition and reconstruction label; n/a for fewer than 5",
    "outlier": f"Whether robust_z is beyond {LIMIT:g} in either direction",
    "status": "What became of the run",
    "step": "Step that failed",
    "message": "Why it failed or is missing",
    "report": "Page of the run",
    "version": "Version of qsmbids that made it",
    "preset": "Preset of its settings",
    "main_reference": "Reference that its settings ask for",
    "warnings": "Number of warnings in its sidecars",
    "suggested": "What the numbers suggest: include or not",
    "flags": "What speaks against the run",
    "include": "Decision of the author; begins as suggested and stays when it is edited",
    "reason": "Its reason, to be edited; begins as the flags and stays when it is edited",
}
_UNITS = {"volume_ml": "ml", **dict.fromkeys((*_SPREAD, "reference_value"), "ppm")}
_LEVELS: dict[str, dict[str, str]] = {
    "status": {
        "ok": "There is a map",
        "failed": "A step failed or was interrupted",
        "missing": "There are raw data but no map",
    },
    "suggested": {"yes": "Nothing speaks against it", "check": "See the flags", "no": "No map"},
}


def write_tables(
    out_dir: Path,
    group: Group,
    series: Sequence[Series],
    rows: Sequence[Exclusion],
) -> list[Path]:
    """Write all tables of the group, and return their paths.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    group : Group
    series : sequence of Series
        From :func:`qsmbids.reports.group.values.collect_series`, for the outliers.
    rows : sequence of Exclusion

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    runs = group.runs
    measures = list(dict.fromkeys(sorted(name for run in runs for name in run.measures)))
    parameters = varying_parameters(runs)
    settings = [k for k in varying_settings(runs) if k not in _RUNS]
    tables: list[tuple[str, Sequence[str], Iterable[Sequence[str]], dict[str, Any]]] = [
        (
            "chi",
            _CHI,
            _chi_rows(runs, series),
            {"Description": "Susceptibility of every region under every reference (8.b, 8.f)"},
        ),
        (
            "references",
            _REFERENCES,
            (
                [*identity(run.label).values(), *(cells.get(c, "") for c in _REFERENCES)]
                for run in runs
                for cells in run.references
            ),
            {"Description": "Reference regions under every reference (8.d, 8.f)"},
        ),
        (
            "iqms",
            measures,
            (
                [*identity(r.label).values(), *(cell(r.measures.get(m, "")) for m in measures)]
                for r in runs
                if r.measures
            ),
            {"Description": "Image quality measures of every run (8.a)", **_measure_units(runs)},
        ),
        (
            "acquisition",
            parameters,
            (
                [
                    *identity(r.label).values(),
                    *(cell(r.acquisition.get(k, "")) for k in parameters),
                ]
                for r in runs
                if r.acquisition
            ),
            {
                "Description": "Acquisition parameters that are not the same in all runs, and the"
                " centre frequency",
                "CommonToAllRuns": common_parameters(runs),
            },
        ),
        (
            "runs",
            (*_RUNS, *settings),
            (_run_row(run, settings) for run in runs),
            {"Description": "What became of every run, and the settings in which they differ"},
        ),
    ]
    paths = []
    for name, columns, lines, about in tables:
        path = out_dir / f"group_{name}.tsv"
        paths += [
            write_text(path, _tsv((*IDENTITY, *columns), lines)),
            _explain(path, columns, about),
        ]
    path = out_dir / "group_exclusions.tsv"
    about = {"Description": "Inclusion and exclusion of runs (Table 5), for the author to edit"}
    return [*paths, write_text(path, to_tsv(rows)), _explain(path, EXCLUSION_COLUMNS, about)]


def _explain(path: Path, columns: Sequence[str], about: Mapping[str, Any]) -> Path:
    units = {**_UNITS, **about.get("_units", {})}
    explained: dict[str, Any] = {k: v for k, v in about.items() if k != "_units"}
    for column in dict.fromkeys((*IDENTITY, *columns)):
        entry: dict[str, Any] = {"Description": _WORDS.get(column, _default(path, column))}
        if column in units:
            entry["Units"] = units[column]
        if column in _LEVELS:
            entry["Levels"] = _LEVELS[column]
        explained[column] = entry
    return write_json(path.with_suffix(".json"), explained)


def _measure_units(runs: Sequence[GroupRun]) -> dict[str, dict[str, str]]:
    return {"_units": {name: unit for run in runs for name, unit in run.units.items()}}


def _default(path: Path, column: str) -> str:
    if path.stem == "group_iqms":
        return "Image quality measure; desc-iqms_stats.json of the run tells what it means"
    if path.stem == "group_acquisition":
        return f"{column} of the raw metadata"
    return f"Setting {column}"


def _tsv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["\t".join(columns)]
    lines += ["\t".join(" ".join(c.split()) or "n/a" for c in row) for row in rows]
    return "\n".join(lines) + "\n"


def _chi_rows(runs: Sequence[GroupRun], series: Sequence[Series]) -> Iterator[list[str]]:
    """Yield the regions of every run, the reference regions among them (8.f)."""
    scores = {
        (place, s.segmentation, s.reference, s.name): z
        for s in series
        if s.kind == "chi"
        for place, z in zip(s.runs.tolist(), s.z.tolist(), strict=True)
    }
    for place, run in enumerate(runs):
        found = [(r.segmentation, r.reference, roi_name(r.cells), r.cells) for r in run.rois]
        found += [
            (OWN_REGIONS, cells.get("reference", ""), cells.get("region", ""), cells)
            for cells in run.references
        ]
        for segmentation, reference, name, cells in found:
            z = scores.get((place, segmentation, reference, name), math.nan)
            judged = ["", ""] if math.isnan(z) else [f"{z:.3f}", "yes" if abs(z) > LIMIT else "no"]
            numbers = (cells.get(column, "") for column in _CHI[3:-2])
            yield [*identity(run.label).values(), segmentation, reference, name, *numbers, *judged]


def _run_row(run: GroupRun, settings: Sequence[str]) -> list[str]:
    known = (run.status, run.step, run.message, run.report, run.version, run.preset,
             run.main_reference, str(len(run.warnings)) if run.status == "ok" else "")  # fmt: skip
    return [*identity(run.label).values(), *known, *(run.settings.get(k, "") for k in settings)]
