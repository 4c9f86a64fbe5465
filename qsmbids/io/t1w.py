"""Find the T1w image of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError
from qsmbids.io.filters import accepts, query_of
from qsmbids.io.runs import Run

__all__ = ["find_t1w"]

_NAMES = {
    "ses": "session", "acq": "acquisition", "ce": "ceagent", "rec": "reconstruction", "run": "run",
}  # fmt: skip


def find_t1w(bids_dir: Path, run: Run, filters: Mapping[str, Any] | None = None) -> Path:
    """Return the T1w image of the participant of a run, of the same session where there is one.

    Parameters
    ----------
    bids_dir : Path
        Root of the raw dataset.
    run : Run
    filters : mapping, optional
        Content of a filter file; the key "t1w" selects among several.

    Raises
    ------
    InputError
        There is none, or there are several.
    """
    query = query_of(filters, "t1w")
    folder = bids_dir / f"sub-{run.subject}"
    images: dict[Path, dict[str, str]] = {}
    for path in sorted(folder.rglob("anat/sub-*_T1w.nii*")):
        parts = [w.partition("-") for w in path.name.split("_")[:-1]]
        entities = {_NAMES.get(k, k): v for k, _, v in parts}
        if entities.get("part", "mag") == "mag" and accepts(query, entities):
            images[path] = entities
    same = [p for p, e in images.items() if e.get("session") == run.session]
    chosen = same or list(images)
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise InputError(
            f"no T1w image for {run.label}", str(folder), "Give the image itself with --t1w."
        )
    names = ", ".join(p.name for p in chosen[:4])
    raise InputError(
        f"several T1w images for {run.label}: {names}",
        str(folder),
        'Select one with --bids-filter-file, {"t1w": {"run": "1"}}, or give the image itself.',
    )
