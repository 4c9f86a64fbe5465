"""The table of images: written for a person to complete, read back cell by cell."""

import codecs
import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from qsmbids.errors import InputError
from qsmbids.io.centre_frequency import B0_RANGE
from qsmbids.io.metadata import ECHO_TIME_RANGE
from qsmbids.io.recognition import PARTS
from qsmbids.io.stated import as_number
from qsmbids.io.write import write_text

__all__ = ["ALL_COILS", "COLUMNS", "SKIP", "Entry", "Row", "checked", "read_table", "write_table"]

#: Word in the column of the part for images that are left out.
SKIP = "skip"
#: Word in the column of the coil for files whose last dimension is coils.
ALL_COILS = "all"
_EMPTY = {"", "n/a", "na", "-", "?"}


@dataclass(frozen=True)
class Row:
    """A row of the table, as text; the fields are the columns.

    Attributes
    ----------
    file : str
        Path from the folder with the images.
    participant, session, acquisition, reconstruction, run : str
        Labels of BIDS; all but the first may be empty.
    coil : str
        Name of the receive coil, "all" for a file with the coils as its last dimension; empty for
        images of combined coils.
    part : str
        "mag", "phase", "real", "imag", or "skip" for an image that is left out.
    echo_time_s : str
        Of a file with all echoes, one per volume, with commas.
    field_strength_t : str
    comment : str
        For the reader.
    """

    file: str
    participant: str = ""
    session: str = ""
    acquisition: str = ""
    reconstruction: str = ""
    run: str = ""
    coil: str = ""
    part: str = ""
    echo_time_s: str = ""
    field_strength_t: str = ""
    comment: str = ""


COLUMNS = tuple(field.name for field in fields(Row))
_LABELS = ("participant", "session", "acquisition", "reconstruction", "run")
#: Keys that people write before a label.
_KEYS = dict(zip(_LABELS, ("sub-", "ses-", "acq-", "rec-", "run-"), strict=True))


@dataclass(frozen=True)
class Entry:
    """A row that is complete: labels by their columns, numbers in house units."""

    coil: str
    number: int
    file: str
    labels: dict[str, str]
    part: str
    echo_times: tuple[float, ...]
    b0_tesla: float

    @property
    def run(self) -> tuple[str, ...]:
        """What is the same for all images of a run."""
        return tuple(self.labels[name] for name in _LABELS)


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write a table, the columns in the order of :class:`Row`."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(getattr(row, name) for name in COLUMNS) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_table(path: Path) -> list[tuple[int, Row]]:
    """Return the rows of a table and the numbers of their lines.

    Columns may be in any order and others are left alone; spreadsheets add quotes, blank cells
    and, some, a tab in place of nothing.

    Raises
    ------
    InputError
        It cannot be read, or lacks a column.
    """
    try:
        lines = _cells(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the table cannot be read ({error})", str(path), "Save it as text with tabs, UTF-8."
        ) from error
    head = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    needed = ("file", "participant", "part", "echo_time_s", "field_strength_t")
    missing = [name for name in needed if name not in head]
    if missing:
        raise InputError(
            f"the table has no column {', '.join(missing)}",
            str(path),
            "Save it as text with tabs between the cells (TSV), or remove it to have it written"
            " again.",
        )
    rows = []
    for number, cells in lines[1:]:
        known = {
            name: cell.strip() for name, cell in zip(head, cells, strict=False) if name in COLUMNS
        }
        if any(known.values()):
            rows.append((number, Row(**{"file": "", **known})))
    return rows


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of every line that is not blank, with its number."""
    content = path.read_bytes()
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # of "Unicode text" from a spreadsheet
    text = content.decode("utf-16" if content.startswith(marks) else "utf-8-sig")
    lines = csv.reader(text.splitlines(), delimiter="\t")
    return [(number, cells) for number, cells in enumerate(lines, 1) if any(cells)]


def checked(rows: Sequence[tuple[int, Row]]) -> tuple[list[Entry], list[str]]:
    """Return the rows that are used, and a line on every cell that must be completed or mended."""
    entries, lines = [], []
    for number, row in rows:
        if row.part.strip().lower() == SKIP:
            continue
        wrong: list[str] = []
        labels = {name: _label(name, getattr(row, name), wrong) for name in _LABELS}
        part = row.part.strip().lower()
        if part in _EMPTY:
            wrong.append(f"part is empty; write {', '.join(PARTS)} or {SKIP}")
        elif part not in PARTS:
            wrong.append(f"part '{row.part}' is none of {', '.join(PARTS)}, {SKIP}")
        times = _echo_times(row.echo_time_s, wrong)
        b0 = _field_strength(row.field_strength_t, wrong)
        if not row.file:
            wrong.append("file is empty")
        lines += [f"line {number}, {row.file or 'no file'}: {text}" for text in wrong]
        if not wrong:
            coil = "" if row.coil.strip().lower() in _EMPTY else row.coil.strip()
            entries.append(Entry(coil, number, row.file, labels, part, times, b0))
    return entries, lines


def _label(name: str, text: str, wrong: list[str]) -> str:
    label = text.strip().removeprefix(_KEYS[name])
    if label.lower() in _EMPTY:
        if name == "participant":
            wrong.append("participant is empty; write a label, letters and digits")
        return ""
    if not re.fullmatch("[a-zA-Z0-9]+", label):
        wrong.append(f"{name} '{text}' is no label; write letters and digits only")
    elif name == "run" and not label.isdigit():
        wrong.append(f"run '{text}' is no number")
    return label


def _echo_times(text: str, wrong: list[str]) -> tuple[float, ...]:
    """Return the echo times [s] of a cell."""
    if text.strip().lower() in _EMPTY:
        wrong.append("echo_time_s is empty; write the echo time in seconds (of a 4-D file, all)")
        return ()
    words = [word for word in re.split(r"[,;\s\[\]]+", text) if word]
    numbers = [as_number(word) for word in words]
    times = tuple(number for number in numbers if number is not None)
    low, high = ECHO_TIME_RANGE
    if None in numbers or not times:
        wrong.append(f"echo_time_s '{text}' is no number (0.0041; several: 0.0041, 0.0082)")
    elif min(times) > 0.5 and low <= max(times) / 1000 <= high:
        wrong.append(f"echo_time_s {text} can only be milliseconds; write {times[0] / 1000:g}")
    elif not all(low <= time <= high for time in times):
        wrong.append(f"echo_time_s {text} is no echo time in seconds (0.0041, with a point)")
    elif len(set(times)) < len(times):
        wrong.append(f"echo_time_s {text} has a time twice")
    return times


def _field_strength(text: str, wrong: list[str]) -> float:
    """Return the field strength [T] of a cell."""
    if text.strip().lower() in _EMPTY:
        wrong.append("field_strength_t is empty; write the field strength in tesla")
        return 0.0
    number = as_number(re.sub(r"\s*[tT]$", "", text.strip()))
    if number is None or not B0_RANGE[0] <= number <= B0_RANGE[1]:
        wrong.append(f"field_strength_t '{text}' is no field strength in tesla")
        return 0.0
    return number
