"""Lesions that were given, on the page."""

from markupsafe import Markup

from qsmbids.io.derivatives import derivative_path
from qsmbids.io.lesions import LESIONS
from qsmbids.io.tables import read_rows
from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.section import paragraph, table

__all__ = ["lesion_table"]

_HEAD = (
    "Lesion",
    "Volume [mm³]",
    "Mean [ppm]",
    "Rim [ppm]",
    "Core [ppm]",
    "Rim less core [ppm]",
    "Around it [ppm]",
    "Paramagnetic",
    "Diamagnetic",
)
_PPM = ("mean", "rim_mean", "core_mean", "rim_minus_core", "surroundings_mean")


def lesion_table(record: RunRecord) -> Markup | None:
    """Return every lesion under the main reference; None where none were given."""
    path = derivative_path(
        record.out_dir,
        record.entities,
        datatype="anat",
        suffix="stats",
        extension=".tsv",
        desc=LESIONS,
    )
    written = record.result.get("outputs")
    if written and path.relative_to(record.out_dir).as_posix() not in written:
        return None
    try:
        rows = read_rows(path)
    except (OSError, ValueError):
        return None
    main = str(record.metadata.get("MainReference") or "")
    references = list(dict.fromkeys(row.get("reference", "") for row in rows))
    if not references:
        return paragraph("Lesions were given, and this head has none.", "note")
    shown = main if main in references else references[0]
    cells = [
        (
            row["name"],
            _number(row, "volume_mm3", "{:.0f}"),
            *(_number(row, key, "{:+.4f}") for key in _PPM),
            _number(row, "paramagnetic_share", "{:.0%}"),
            _number(row, "diamagnetic_share", "{:.0%}"),
        )
        for row in rows
        if row.get("reference") == shown
    ]
    note = paragraph(
        "The rim is one voxel; of a lesion that is all rim there is no core. Para- and diamagnetic"
        " are the shares of voxels above and below the reference. For every reference, see"
        f" anat/*_desc-{LESIONS}_stats.tsv.",
        "note",
    )
    return table(_HEAD, cells, numeric=range(1, len(_HEAD)), caption="Lesions") + note


def _number(row: dict[str, str], key: str, form: str) -> str:
    try:
        return form.format(float(row.get(key, "")))
    except ValueError:
        return "–"  # noqa: RUF001 - the sign for nothing
