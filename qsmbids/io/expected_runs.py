"""Which runs a raw dataset promises, from the names of its files alone.

The group level asks this of hundreds of participants, so nothing is opened and nothing indexed.
"""

import re
from pathlib import Path

from qsmbids.io.matching import entities_of
from qsmbids.io.runs import RUN_ENTITIES, SUFFIXES, run_label
from qsmbids.io.tables import read_cells

__all__ = ["expected_runs", "read_participants"]

_NAME = re.compile(
    rf"(sub-[a-zA-Z0-9+]+(?:_[a-z]+-[a-zA-Z0-9+]+)*)_(?:{'|'.join(SUFFIXES)})\.nii(?:\.gz)?"
)
_WITH_PHASE = ("phase", "real", "imag")


def expected_runs(bids_dir: Path) -> list[str]:
    """Return the labels of all runs that have phase images, sorted.

    Parameters
    ----------
    bids_dir : Path
        Raw dataset; none are expected of a folder that does not exist.

    Returns
    -------
    list of str
        As ``sub-01_ses-1_acq-x_run-1``.
    """
    names = {short: name for name, short in RUN_ENTITIES.items()}
    labels = set()
    for pattern in ("sub-*/anat/*.nii*", "sub-*/ses-*/anat/*.nii*"):
        for path in bids_dir.glob(pattern):
            matched = _NAME.fullmatch(path.name)
            if not matched:
                continue
            pairs = entities_of(matched[1])
            if pairs.get("part") in _WITH_PHASE:
                labels.add(run_label({names[k]: v for k, v in pairs.items() if k in names}))
    return sorted(labels)


def read_participants(bids_dir: Path) -> dict[str, dict[str, str]]:
    """Return the rows of ``participants.tsv`` by ``participant_id``; empty where there is none."""
    try:
        head, *lines = read_cells(bids_dir / "participants.tsv") or [[]]
    except (OSError, ValueError):
        return {}
    if "participant_id" not in head:
        return {}
    participants = {}
    for cells in lines:
        row = dict(zip(head, cells, strict=False))
        label = row.get("participant_id", "").strip()
        if label and label != "n/a":
            participants[f"sub-{label.removeprefix('sub-')}"] = row
    return participants
