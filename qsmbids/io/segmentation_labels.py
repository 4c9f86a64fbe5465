"""Names of the regions of a segmentation: from its table, or those of FreeSurfer."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from qsmbids.errors import InputError

__all__ = [
    "TEMPLATE",
    "Region",
    "freesurfer_regions",
    "hemisphere_of",
    "read_regions",
    "with_unnamed",
    "without_side",
]

#: What the regions of the template are called in the names of outputs.
TEMPLATE = "template"


class Region(NamedTuple):
    """One row of a table of labels."""

    label: int
    name: str
    hemisphere: str  #: "L", "R" or "n/a"


#: Labels that FreeSurfer's aseg and aparc+aseg share with SynthSeg and FastSurfer: left, right,
#: structure.
_FREESURFER = (
    (2, 41, "Cerebral-White-Matter"),
    (4, 43, "Lateral-Ventricle"),
    (7, 46, "Cerebellum-White-Matter"),
    (8, 47, "Cerebellum-Cortex"),
    (10, 49, "Thalamus"),
    (11, 50, "Caudate"),
    (12, 51, "Putamen"),
    (13, 52, "Pallidum"),
    (17, 53, "Hippocampus"),
    (18, 54, "Amygdala"),
    (26, 58, "Accumbens-area"),
    (28, 60, "VentralDC"),
)
_MIDDLE = ((14, "3rd-Ventricle"), (16, "Brain-Stem"), (24, "CSF"))

_LEFT = r"(?:^|[-_. ])(?:left|lh|l)(?:[-_. ]|$)"
_RIGHT = r"(?:^|[-_. ])(?:right|rh|r)(?:[-_. ]|$)"


def read_regions(table: Path) -> list[Region]:
    """Read a BIDS table of labels (``*_dseg.tsv``).

    Columns ``index`` and ``name`` are needed. The hemisphere is that of a column ``hemisphere``
    or ``hemi``, or of the name; background (0) is left out.

    Raises
    ------
    InputError
        It cannot be read, a column is missing, or an index is no integer or there twice.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", str(table)) from error
    cure = "Write tab-separated columns 'index' and 'name', one row for each label."
    if rows and not {"index", "name"} <= set(rows[0]):
        raise InputError("has no columns index and name", str(table), cure)
    regions: dict[int, Region] = {}
    for row in rows:
        try:
            index = int(float(row["index"] or ""))
            exact = float(row["index"]) == index
        except (ValueError, OverflowError):
            exact, index = False, 0
        if not exact or index in regions:
            problem = f"index {row['index']!r} is no integer, or there twice"
            raise InputError(problem, str(table), cure)
        name = (row["name"] or "").strip()
        if index:
            side = (row.get("hemisphere") or row.get("hemi") or "").strip()
            regions[index] = Region(index, name or f"label{index}", hemisphere_of(name, side))
    return list(regions.values())


def freesurfer_regions() -> list[Region]:
    """Return the structures that FreeSurfer, SynthSeg and FastSurfer name alike."""
    sides = [
        Region(index, f"{side}-{name}", side[0])
        for left, right, name in _FREESURFER
        for index, side in ((left, "Left"), (right, "Right"))
    ]
    return sorted([*sides, *(Region(index, name, "n/a") for index, name in _MIDDLE)])


def hemisphere_of(name: str, column: str = "") -> str:
    """Return "L", "R" or "n/a": what the column says, else what the name does.

    Examples
    --------
    >>> [hemisphere_of(n) for n in ("Left-Caudate", "caudate_R", "ctx-lh-insula", "nigra")]
    ['L', 'R', 'L', 'n/a']
    """
    if column:
        return {"l": "L", "r": "R"}.get(column[0].lower(), "n/a")
    left, right = (bool(re.search(p, name, re.IGNORECASE)) for p in (_LEFT, _RIGHT))
    return "n/a" if left == right else "L" if left else "R"


def without_side(name: str) -> str:
    """Return what both sides of a region share of their names.

    Examples
    --------
    >>> [without_side(n) for n in ("Left-Caudate", "caudate_R", "ctx-lh-insula", "nigra")]
    ['Caudate', 'caudate', 'ctx-insula', 'nigra']
    """
    if hemisphere_of(name) == "n/a":
        return name
    for pattern in (_LEFT, _RIGHT):
        name = re.sub(pattern, "-", name, flags=re.IGNORECASE)
    return name.strip("-_. ")


def with_unnamed(regions: Iterable[Region], present: Iterable[int]) -> list[Region]:
    """Add a row ``label<index>`` for every label of an image that the table does not name."""
    known = list(regions)
    named = {region.label for region in known}
    return known + [
        Region(index, f"label{index}", "n/a")
        for index in sorted(int(i) for i in present)
        if index not in named and index
    ]
