"""The tables of the group: tidy TSV files, each with a JSON file that explains its columns."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qsmbids.io.write import write_json, write_text
from qsmbids.reports.group.acquisition import (
    cell,
    common_parameters,
    varying_parameters,
    varying_settings,
)
from qsmbids.reports.group.columns import R2STAR, SPREAD, explained
from qsmbids.reports.group.lesions import collect_lesions
from qsmbids.reports.group.runs import IDENTITY, Group, GroupRun, identity
from qsmbids.reports.group.values import OWN_REGIONS

__all__ = ["to_tsv", "write_tables"]

_CHI = ("age", "sex", "segmentation", "reference", "roi", "structure", "index", "hemisphere",
        "n_voxels", "volume_mm3", "n_mask4", "fraction_excluded", "n_eroded", "eroded", *SPREAD,
        "standard_error", *R2STAR, "left_less_right", "robust_z", "outlier")  # fmt: skip
_REFERENCES = ("reference", "region", "n_voxels", "volume_ml", "mean", "std", "median", "p05",
               "p95", "reference_value")  # fmt: skip
_RUNS = ("status", "step", "message", "report", "version", "preset", "main_reference", "warnings")
_DESCRIPTIONS = {
    "chi": "Susceptibility and R2* of every region under every reference, with age and sex of"
    " participants.tsv (8.b, 8.f)",
    "references": "Reference regions under every reference (8.d, 8.f)",
    "lesions": "Volume and susceptibility of every lesion that was given, its rim and its core,"
    " under every reference, with age and sex of participants.tsv",
    "iqms": "Image quality measures of every run (8.a)",
    "acquisition": "Acquisition parameters that are not the same in all runs, and the centre"
    " frequency",
    "runs": "What became of every run, and the settings in which they differ",
    "exclusions": "Inclusion and exclusion of runs (Table 5), for the author to edit",
}


def write_tables(
    out_dir: Path,
    group: Group,
    regions: pd.DataFrame,
    values: pd.DataFrame,
    exclusions: pd.DataFrame,
) -> list[Path]:
    """Write all tables of the group, and return their paths.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    group : Group
    regions, values : DataFrame
        From :mod:`qsmbids.reports.group.values`.
    exclusions : DataFrame
        From :mod:`qsmbids.reports.group.exclusions`.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    runs = group.runs
    labels = np.array([run.label for run in runs], dtype=object)
    regions = regions.join(values[["z", "outlier"]]).set_index(labels[regions["run"]])
    tables = {
        "chi": _chi(regions),
        "references": regions[regions["segmentation"] == OWN_REGIONS].reindex(columns=_REFERENCES),
        "lesions": collect_lesions(group),
        "iqms": _measures(runs),
        "acquisition": _acquisition(runs),
        "runs": _runs(runs),
        "exclusions": exclusions,
    }
    if tables["lesions"].empty:  # nobody gave any, or nobody does any more
        del tables["lesions"]
        for suffix in (".tsv", ".json"):
            (out_dir / f"group_lesions{suffix}").unlink(missing_ok=True)
    units = {name: unit for run in runs for name, unit in run.units.items() if unit}
    paths = []
    for name, table in tables.items():
        path = out_dir / f"group_{name}.tsv"
        about: dict[str, Any] = {"Description": _DESCRIPTIONS[name]}
        if name == "acquisition":
            about["CommonToAllRuns"] = common_parameters(runs)
        about |= explained(name, table.columns, units if name == "iqms" else {})
        paths += [
            write_text(path, to_tsv(table)),
            write_json(path.with_suffix(".json"), about),
        ]
    return paths


def to_tsv(table: pd.DataFrame) -> str:
    """Return a table as text, with the identity of the run in front.

    White space within a cell becomes one space and an empty cell n/a, so that no cell needs
    quotes.

    Parameters
    ----------
    table : DataFrame
        Cells as text, or NaN; the label of the run as the index.
    """
    who = {label: list(identity(label).values()) for label in table.index.unique()}
    known = pd.DataFrame.from_dict(who, orient="index", columns=list(IDENTITY), dtype=object)
    cells = {name: list(map(_cell, column.fillna(""))) for name, column in table.items()}
    head = known.loc[table.index]
    whole = pd.concat([head, pd.DataFrame(cells, head.index, dtype=object)], axis=1)
    return whole.to_csv(sep="\t", index=False, quoting=csv.QUOTE_NONE, lineterminator="\n")


def _cell(text: str) -> str:
    plain = text if text.isprintable() and " " not in text else " ".join(text.split())
    return plain or "n/a"


def _chi(regions: pd.DataFrame) -> pd.DataFrame:
    """Return the regions of every run, the reference regions among them (8.f)."""
    scored = regions["z"].notna()
    far = regions["outlier"].map({True: "yes", False: "no"})
    return regions.assign(
        roi=regions["name"],
        left_less_right=regions["left_less_right"]
        .map("{:.6f}".format)
        .where(regions["left_less_right"].notna(), ""),
        robust_z=regions["z"].map("{:.3f}".format).where(scored, ""),
        outlier=far.where(scored, ""),
    ).reindex(columns=_CHI)


def _measures(runs: Sequence[GroupRun]) -> pd.DataFrame:
    measures = {
        run.label: {name: cell(value) for name, value in run.measures.items()}
        for run in runs
        if run.measures
    }
    return _by_label(measures, sorted({name for row in measures.values() for name in row}))


def _acquisition(runs: Sequence[GroupRun]) -> pd.DataFrame:
    parameters = varying_parameters(runs)
    stated = {
        run.label: {name: cell(run.acquisition.get(name, "")) for name in parameters}
        for run in runs
        if run.acquisition
    }
    return _by_label(stated, parameters)


def _runs(runs: Sequence[GroupRun]) -> pd.DataFrame:
    rows = {
        run.label: {
            **{name: getattr(run, name) for name in _RUNS if name != "warnings"},
            "warnings": str(len(run.warnings)) if run.status == "ok" else "",
            **{name: value for name, value in run.settings.items() if name not in _RUNS},
        }
        for run in runs
    }
    settings = [name for name in varying_settings(runs) if name not in _RUNS]
    return _by_label(rows, [*_RUNS, *settings])


def _by_label(rows: Mapping[str, Mapping[str, str]], columns: Sequence[str]) -> pd.DataFrame:
    cells = {label: [row.get(name, "") for name in columns] for label, row in rows.items()}
    return pd.DataFrame.from_dict(cells, orient="index", columns=list(columns), dtype=object)
