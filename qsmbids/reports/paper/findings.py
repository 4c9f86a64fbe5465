"""What the checks find and the tables that they fill, for HTML, TSV and Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import get_args

from qsmbids.methods.declaration import Verdict

__all__ = ["VERDICTS", "Finding", "Table", "Verdict", "findings_table", "item_table"]

#: Every verdict: as recommended; something to do; not stated in the data; another choice; not
#: done in this run; a scan that the paper does not speak of.
VERDICTS: tuple[str, ...] = get_args(Verdict)

#: What stands in a cell that the author has to fill in.
TO_FILL_IN = "please fill in"


@dataclass(frozen=True)
class Finding:
    """How one recommendation was followed.

    Attributes
    ----------
    recommendation : str
        Number in the consensus paper ("2.a"), its section ("2.1") or table ("S2.3").
    topic : str
        What it is about, in a few words.
    verdict : str
        One of :data:`VERDICTS`.
    text : str
        What was found; for "advice" also what to do.
    value : str
        The number that was judged, with its unit; "" where there is none.
    """

    recommendation: str
    topic: str
    verdict: Verdict
    text: str
    value: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"unknown verdict {self.verdict!r}")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : tuple of tuple of str
        One cell per column. An empty second cell is one that the author has to fill in.
    notes : tuple of str
        Printed below; not part of the TSV.
    essential : tuple of bool
        Whether the paper wants the row in every publication; empty where that has no meaning.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    essential: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.title}: a row has not {len(self.columns)} cells")
        if self.essential and len(self.essential) != len(self.rows):
            raise ValueError(f"{self.title}: one essential flag per row is needed")

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the rows whose value the author has to fill in."""
        return tuple(row[0] for row in self.rows if len(row) > 1 and not row[1])

    @property
    def missing_essential(self) -> tuple[str, ...]:
        """Those of the missing ones that the paper calls essential."""
        return tuple(
            row[0]
            for row, essential in zip(self.rows, self.essential, strict=False)
            if essential and len(row) > 1 and not row[1]
        )

    def to_html(self) -> str:
        """Return a ``<table>``; everything is escaped, essential rows are marked."""
        lines = ['<table class="paper-table">', f"<caption>{escape(self.title)}</caption>"]
        head = "".join(f'<th scope="col">{escape(c)}</th>' for c in self.columns)
        lines.append(f"<thead><tr>{head}</tr></thead>")
        lines.append("<tbody>")
        for index, row in enumerate(self.rows):
            mark = ' class="essential"' if self._is_essential(index) else ""
            cells = "".join(self._html_cell(index, column) for column in range(len(row)))
            lines.append(f"<tr{mark}>{cells}</tr>")
        lines.append("</tbody>")
        lines.append("</table>")
        lines += [f'<p class="table-note">{escape(note)}</p>' for note in self.notes]
        return "\n".join(lines)

    def to_tsv(self) -> str:
        """Return tab-separated lines, with n/a for what is missing."""
        columns, flags = list(self.columns), bool(self.essential)
        lines = ["\t".join([*columns, "Essential"] if flags else columns)]
        for index, row in enumerate(self.rows):
            cells = [" ".join(cell.split()) or "n/a" for cell in row]
            if flags:
                cells.append("yes" if self.essential[index] else "no")
            lines.append("\t".join(cells))
        return "\n".join(lines) + "\n"

    def to_markdown(self) -> str:
        """Return a heading and a table; essential rows are bold."""
        lines = [f"### {self.title}", "", _markdown_row(self.columns)]
        lines.append(_markdown_row(["---"] * len(self.columns)))
        for index, row in enumerate(self.rows):
            cells = [
                _markdown_cell(text) or (f"*{TO_FILL_IN}*" if column == 1 else "")
                for column, text in enumerate(row)
            ]
            if self._is_essential(index):
                cells[0] = f"**{cells[0]}**"
            lines.append(_markdown_row(cells))
        lines += [text for note in self.notes for text in ("", _markdown_cell(note))]
        return "\n".join(lines) + "\n"

    def _is_essential(self, index: int) -> bool:
        return bool(self.essential) and self.essential[index]

    def _html_cell(self, index: int, column: int) -> str:
        text = escape(self.rows[index][column])
        if column == 0:
            mark = ' <abbr title="essential">*</abbr>' if self._is_essential(index) else ""
            return f'<th scope="row">{text}{mark}</th>'
        if column == 1 and not text:
            return f'<td class="missing">{TO_FILL_IN}</td>'
        return f"<td>{text}</td>"


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Return findings as a table, in their order."""
    return Table(
        title,
        ("Recommendation", "Verdict", "Topic", "Value", "Finding"),
        tuple((f.recommendation, f.verdict, f.topic, f.value, f.text) for f in findings),
    )


def item_table(
    title: str, rows: Sequence[tuple[str, str, bool]], notes: tuple[str, ...] = ()
) -> Table:
    """Return a table of items with the list of what is missing as its last note.

    Parameters
    ----------
    title : str
    rows : sequence of (str, str, bool)
        Item, value ("" where the author has to fill it in), and whether it is essential.
    notes : tuple of str
    """
    missing = [name for name, value, _ in rows if not value]
    if missing:
        notes = (*notes, f"To be filled in by the author: {', '.join(missing)}.")
    return Table(
        title,
        ("Item", "Value"),
        tuple((name, value) for name, value, _ in rows),
        ("Marked: essential in every publication.", *notes),
        tuple(essential for _, _, essential in rows),
    )


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_cell(text: str) -> str:
    """Escape what Markdown would take for a table or emphasis."""
    for mark in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
