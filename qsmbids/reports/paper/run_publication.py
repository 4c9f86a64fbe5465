"""Checks, tables and text of one run from what it left behind."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qsmbids.config import Settings
from qsmbids.errors import ConfigError, QSMError
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.metadata import Acquisition
from qsmbids.io.nifti_header import read_header
from qsmbids.io.write import write_text
from qsmbids.reports.paper.acquisition_record import acquisition_path, load_acquisition
from qsmbids.reports.paper.inclusion import inclusion_text
from qsmbids.reports.paper.publication import (
    Publication,
    acquisition_from_record,
    prepare_publication,
)
from qsmbids.reports.run.record import RunRecord

__all__ = ["acquisition_of", "found_of", "publication_of", "settings_of", "write_tables"]

#: Names of the files of Tables 3 to 5.
TABLE_NAMES = ("hardware", "sequence", "reconstruction")


def settings_of(record: RunRecord) -> Settings | None:
    """Return the settings that were in force, None where they were not kept.

    Those that this version does not know are left out.
    """
    if not record.settings:
        return None
    default = Settings()
    known = {s.name: {f.name for f in dataclasses.fields(getattr(default, s.name))}
             for s in dataclasses.fields(default)}  # fmt: skip
    tables = {
        section: {k: v for k, v in table.items() if k in known[section]}
        for section, table in record.settings.items()
        if section in known and isinstance(table, Mapping)
    }
    try:
        return default.updated(tables, "the log of the run")
    except ConfigError:
        return None


def acquisition_of(record: RunRecord) -> tuple[Acquisition, tuple[dict[str, Any], ...]] | None:
    """Return acquisition and raw sidecars of a run, None where nothing tells them.

    Where they were not kept, they are as far as possible those that the derived sidecars tell.
    """
    kept = load_acquisition(acquisition_path(record.out_dir, record.entities))
    if kept is not None:
        return kept
    for path in record.images.values():
        if record.out_dir not in path.parents:
            continue
        try:
            found = acquisition_from_record(record.metadata, read_header(path))
        except QSMError:
            continue
        return found, ({},) * len(found.echo_times)
    return None


def found_of(record: RunRecord) -> dict[str, Any]:
    """Return what the sidecars say, the table of reference regions, and that of inclusions."""
    found = record.metadata
    if table := record.reference_table:
        found = {**found, "ReferenceTable": table}
    if text := inclusion_text(record.out_dir, record.label):
        found = {**found, "Inclusion": text}
    return found


def publication_of(record: RunRecord) -> Publication | None:
    """Return all that a publication needs of a run.

    Parameters
    ----------
    record : RunRecord

    Returns
    -------
    Publication or None
        None where settings or acquisition are not known.
    """
    settings, acquired = settings_of(record), acquisition_of(record)
    if settings is None or acquired is None:
        return None
    acquisition, sidecars = acquired
    return prepare_publication(settings, acquisition, sidecars, found_of(record))


def write_tables(record: RunRecord, publication: Publication) -> list[Path]:
    """Write Tables 3 to 5 as TSV, one file each, and as Markdown, in one file, to ``figures/``.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    written = [
        write_text(_path(record, name, "table", ".tsv"), table.to_tsv())
        for name, table in zip(TABLE_NAMES, publication.tables, strict=True)
    ]
    text = "\n".join(table.to_markdown() for table in publication.tables)
    return [*written, write_text(_path(record, "paper", "tables", ".md"), text)]


def _path(record: RunRecord, desc: str, suffix: str, extension: str) -> Path:
    page = derivative_path(
        record.out_dir,
        record.entities,
        datatype="figures",
        suffix=suffix,
        desc=desc,
        extension=".html",
    )
    return page.with_suffix(extension)
