"""What became of every run: one status file each, and a summary of them all."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.io.nifti import write_json

__all__ = ["write_status", "write_summary"]


def write_summary(out_dir: Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``logs/status/<run>.json`` for these runs and ``logs/summary.json`` over all.

    Jobs of an array that share an output dataset each write their own status files. Whoever
    writes the summary looks again afterwards, since it may have replaced a fuller one, and then
    repeats it. When a run ends while the files are read again, that is left to its own job, which
    lists this one too: so the last summary lists all, however fast jobs end.

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
    listed = _listing(folder)
    entries = _entries(folder, listed)
    while True:
        counts = Counter(entry["status"] for entry in entries)
        write_json(summary, {"counts": dict(counts), "runs": entries})
        written, listed = listed, _listing(folder)
        if listed == written:
            return summary
        entries = _entries(folder, listed)
        if _listing(folder) != listed:
            return summary


def write_status(out_dir: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the status files of these runs alone: in a large study, reading all takes time."""
    for result in results:
        write_json(out_dir / "logs" / "status" / f"{result['run']}.json", dict(result))


def _entries(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    entries = []
    for name in sorted(names):
        try:
            entries.append(json.loads((folder / name).read_text("utf-8")))
        except (OSError, ValueError):  # it is being replaced; that job lists it
            continue
    return entries


def _listing(folder: Path) -> dict[str, int]:
    """Return names and inodes, which change when a file is replaced, without a look at each."""
    try:
        with os.scandir(folder) as entries:
            return {e.name: e.inode() for e in entries if e.name.endswith(".json")}
    except FileNotFoundError:
        return {}
