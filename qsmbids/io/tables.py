"""Reading of tab-separated tables as they are written here: without quotes."""

from pathlib import Path

__all__ = ["read_cells", "read_rows"]


def read_cells(path: Path) -> list[list[str]]:
    """Return the cells of a table, line by line, the head first; blank lines are left out.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no text.
    """
    lines = path.read_text("utf-8-sig").split("\n")
    return [line.split("\t") for line in lines if line.strip()]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by column; those with more or fewer cells are left out.

    Raises
    ------
    OSError, ValueError
        As :func:`read_cells`.
    """
    cells = read_cells(path)
    return [
        dict(zip(cells[0], row, strict=True)) for row in cells[1:] if len(row) == len(cells[0])
    ]
