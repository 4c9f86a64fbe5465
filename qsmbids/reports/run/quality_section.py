"""The quality measures of Table 1 on the page: what is unusual first, then all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from qsmbids.core.quality.criteria import CRITERIA
from qsmbids.errors import OutputError
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.tables import read_rows
from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.section import Section, bullets, paragraph, table
from qsmbids.reports.run.windows import signed

__all__ = ["MeasureRow", "quality_findings", "quality_section", "read_measures"]

#: Verdict to what the page says.
_WORDS = {"ok": "usual", "look": "look at it", "unknown": "not measured"}


@dataclass(frozen=True)
class MeasureRow:
    """One line of ``desc-iqms_stats.tsv``, all of it text as it stands there."""

    measure: str
    value: str
    unit: str
    verdict: str
    meaning: str
    advice: str


def read_measures(record: RunRecord) -> list[MeasureRow]:
    """Return the quality measures of a run; none if they were not made or cannot be read."""
    try:
        path = derivative_path(
            record.out_dir,
            record.entities,
            datatype="anat",
            suffix="stats",
            extension=".tsv",
            desc="iqms",
        )
        rows = read_rows(path)
    except (OSError, ValueError, OutputError):
        return []
    names = list(MeasureRow.__dataclass_fields__)
    return [MeasureRow(*(row[n] for n in names)) for row in rows if row.keys() >= set(names)]


def quality_findings(measures: Sequence[MeasureRow]) -> list[str]:
    """Return a point for the verdict per measure that should be looked at.

    Those that a step has judged itself are left out, for it has warned already.
    """
    warned = {name for name, criterion in CRITERIA.items() if criterion.recorded}
    return [_point(row) for row in measures if row.verdict == "look" and row.measure not in warned]


def quality_section(measures: Sequence[MeasureRow]) -> Section | None:
    """Return the table of the quality measures, None if there are none."""
    if not measures:
        return None
    look = [row for row in measures if row.verdict == "look"]
    intro = paragraph(
        "Artefacts of Table 1 of the consensus paper, measured. The usual ranges are those of "
        "simulated heads: compare runs of one protocol with each other before you exclude one "
        "(recommendation 8.a).",
        "note",
    )
    points = bullets(map(_point, look), "warnings") if look else Markup("")
    rows = [
        (
            row.measure,
            _rounded(row.value),
            "" if row.unit == "n/a" else row.unit,
            Markup("<strong>{}</strong>").format(_WORDS["look"])
            if row.verdict == "look"
            else _WORDS.get(row.verdict, row.verdict),
            row.meaning,
            row.advice if row.verdict == "look" else "",
        )
        for row in measures
    ]
    head = ("Measure", "Value", "Unit", "Verdict", "Meaning", "What to do")
    return Section("quality", "Quality measures", intro + points + table(head, rows, numeric=(1,)))


def _rounded(value: str) -> str:
    """Return a number with the digits that a reader can use."""
    try:
        return signed(float(value))
    except ValueError:
        return value


def _point(row: MeasureRow) -> str:
    """Return what a measure is, what it means and what to do about it, in two sentences."""
    unit = "" if row.unit == "n/a" else f" {row.unit}"
    meaning = row.meaning[:1].lower() + row.meaning[1:]
    return f"{row.measure} is {_rounded(row.value)}{unit}: {meaning} {row.advice}"
