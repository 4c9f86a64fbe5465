"""What became of every run: one status file each, and a summary of them all."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.io.nifti import write_json

__all__ = ["write_status", "write_summary"]

#: When jobs end faster than a summary is made, one of the last will make it.
_ATTEMPTS = 5


def write_summary(out_dir: Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``logs/status/<run>.json`` for these runs and ``logs/summary.json`` over all.

    Jobs of an array that share an output dataset each write their own status files. Whoever
    writes the summary looks again afterwards and repeats it if a run has ended meanwhile, so that
    the last summary lists all.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    results : sequence of mapping
        ``run``, ``status`` and what is known: ``step``, ``message``, ``crash_file``, ``outputs``.

    Returns
    -------
    Path
        The summary.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_status(out_dir, results)
    folder = out_dir / "logs" / "status"
    summary = out_dir / "logs" / "summary.json"
    for _ in range(_ATTEMPTS):
        listed = _listing(folder)
        entries = []
        for name in sorted(listed):
            try:
                entries.append(json.loads((folder / name).read_text("utf-8")))
            except (OSError, ValueError):  # it is being replaced; that job lists it
                continue
        counts: dict[str, int] = {}
        for entry in entries:
            counts[entry["status"]] = counts.get(entry["status"], 0) + 1
        write_json(summary, {"counts": counts, "runs": entries})
        # a job that ended meanwhile may have written a fuller summary before this one did
        if _listing(folder) == listed:
            break
    return summary


def write_status(out_dir: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the status files of these runs alone: in a large study, reading all takes time."""
    for result in results:
        write_json(out_dir / "logs" / "status" / f"{result['run']}.json", dict(result))


def _listing(folder: Path) -> dict[str, int]:
    """Return names and inodes, which change when a file is replaced, without a look at each."""
    try:
        with os.scandir(folder) as entries:
            return {e.name: e.inode() for e in entries if e.name.endswith(".json")}
    except FileNotFoundError:
        return {}
