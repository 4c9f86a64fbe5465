"""The table of inclusions and exclusions that Table 5 asks for, ready for the author to edit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qsmbids.io.tables import read_cells
from qsmbids.reports.group.runs import IDENTITY, GroupRun, identity
from qsmbids.reports.group.values import LIMIT, OWN_REGIONS, Series, number, roi_name

__all__ = ["COLUMNS", "Exclusion", "exclusions", "keep_edits", "to_tsv"]

COLUMNS = (*IDENTITY, "suggested", "flags", "include", "reason")
#: Share of a region outside Mask 4 above which its mean says little of the region (8.b).
_MOST_EXCLUDED = 0.5
_LONGEST = 160


@dataclass(frozen=True)
class Exclusion:
    """One run: what is suggested and why, and what the author decided.

    Attributes
    ----------
    label : str
    suggested : str
        "yes" (include), "check" (look at the flags) or "no" (there is no map).
    flags : str
        Why, in words.
    include, reason : str
        The same as ``suggested`` and ``flags`` until the author edits them.
    """

    label: str
    suggested: str
    flags: str
    include: str
    reason: str

    @property
    def edited(self) -> bool:
        """Whether the author decided otherwise than suggested."""
        return (self.include, self.reason) != (self.suggested, self.flags)


def exclusions(runs: Sequence[GroupRun], series: Iterable[Series]) -> list[Exclusion]:
    """Return a row for every run, with what speaks against it."""
    outliers: dict[int, list[str]] = defaultdict(list)
    for found in series:
        for place, value, z in zip(found.runs, found.values, found.z, strict=True):
            if abs(z) > LIMIT:
                outliers[int(place)].append(_in_words(found, float(value), float(z)))
    rows = []
    for place, run in enumerate(runs):
        if run.status != "ok":
            where = f" in step {run.step}" if run.step else ""
            text = _line(f"no map: {run.status}{where}; {run.message}")
            rows.append(Exclusion(run.label, "no", text, "no", text))
            continue
        flags = [
            *outliers[place],
            *_outside(run),
            *_unusual(run),
            *(f"warning: {w}" for w in run.warnings),
        ]
        text = "; ".join(dict.fromkeys(map(_line, flags)))
        suggested = "check" if flags else "yes"
        rows.append(Exclusion(run.label, suggested, text, suggested, text))
    return rows


def _in_words(series: Series, value: float, z: float) -> str:
    if series.kind == "measure":
        return f"outlier: {series.name} {value:.4g} (z {z:+.1f})"
    own = "" if series.segmentation == OWN_REGIONS else f"{series.segmentation} "
    what = f"{own}{series.name}, {series.reference} reference"
    return f"outlier: {what} {value:+.4f} ppm (z {z:+.1f})"


def _outside(run: GroupRun) -> list[str]:
    names = [
        f"{row.segmentation} {roi_name(row.cells)}"
        for row in run.rois
        if number(row.cells.get("fraction_excluded")) > _MOST_EXCLUDED
    ]
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"more than half outside Mask 4: {', '.join(names[:3])}{more}"] if names else []


def _unusual(run: GroupRun) -> list[str]:
    return [
        f"unusual: {name} {run.measures[name]:.4g} {run.units.get(name, '')}".rstrip()
        for name in run.unusual
        if name in run.measures
    ]


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def keep_edits(path: Path, rows: Sequence[Exclusion]) -> list[Exclusion]:
    """Return the rows with what the author wrote into the present file.

    A decision that still is what was suggested then follows the new suggestion; one that was
    """
    try:
        head, *lines = read_cells(path) or [[]]
    except (OSError, ValueError):
        return list(rows)
    if not set(COLUMNS) <= set(head):
        return list(rows)
    edited: dict[str, Exclusion] = {}
    for line in lines:
        # an editor of tables may quote cells, and drop empty ones at the end
        cells = [c.strip().removeprefix('"').removesuffix('"') for c in line]
        old = dict(zip(head, cells + [""] * len(head), strict=False))
        old = {k: "" if v == "n/a" else v for k, v in old.items()}
        row = Exclusion(old["run_label"], *(old[name] for name in COLUMNS[-4:]))
        if row.edited:
            edited[row.label] = row
    kept = []
    for row in rows:
        mine = edited.pop(row.label, row)
        kept.append(replace(row, include=mine.include, reason=mine.reason))
    return [*kept, *edited.values()]


def to_tsv(rows: Iterable[Exclusion]) -> str:
    """Return the table as text."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        cells = [*identity(row.label).values(), row.suggested, row.flags, row.include, row.reason]
        lines.append("\t".join(" ".join(c.split()) or "n/a" for c in cells))
    return "\n".join(lines) + "\n"
