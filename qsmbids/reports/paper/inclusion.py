"""Inclusion and exclusion of runs (Table 5), as the group level's table has them after editing."""

from collections import Counter
from pathlib import Path

from qsmbids.io.tables import read_cells

__all__ = ["TABLE", "inclusion_text"]

#: The table of the group level, whose columns ``include`` and ``reason`` are the author's.
TABLE = "group_exclusions.tsv"
_NAMED = 5


def inclusion_text(out_dir: Path, label: str) -> str:
    """Return what was included and excluded in one line, "" where there is no table of it.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    label : str
        Of the run that the line is for.
    """
    try:
        head, *rows = read_cells(out_dir / TABLE) or [[]]
    except (OSError, ValueError):
        return ""
    if not {"run_label", "include", "reason"} <= set(head):
        return ""
    padded = [dict(zip(head, [*row, *[""] * len(head)], strict=False)) for row in rows]
    if not padded:
        return ""
    decided = Counter(row["include"] for row in padded)
    parts = [f"{decided['yes']} of {len(padded)} runs included"]
    excluded = [row for row in padded if row["include"] == "no"]
    if excluded:
        named = "; ".join(f"{r['run_label']} ({r['reason']})" for r in excluded[:_NAMED])
        more = f" and {len(excluded) - _NAMED} more" if len(excluded) > _NAMED else ""
        parts.append(f"excluded: {named}{more}")
    if open_rows := len(padded) - decided["yes"] - decided["no"]:
        parts.append(f"{open_rows} still to be decided")
    own = next((row for row in padded if row["run_label"] == label), None)
    if own is not None:
        parts.append(f"this run: {own['include']}")
    return f"{'; '.join(parts)} ({TABLE})"
