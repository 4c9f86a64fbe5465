"""What became of every run: one status file each, and a summary of them all."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.io.nifti import write_json

__all__ = ["write_summary"]


def write_summary(out_dir: Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``logs/status/<run>.json`` for these runs and ``logs/summary.json`` over all.

    Jobs of an array that share an output dataset each write their own status files; whoever ends
    last has seen them all, so the summary is complete in the end whatever the order.

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
    folder = out_dir / "logs" / "status"
    for result in results:
        write_json(folder / f"{result['run']}.json", dict(result))
    entries = []
    for path in sorted(folder.glob("*.json")):
        try:
            entries.append(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError):  # another job is replacing it; its own summary has it
            continue
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry["status"]] = counts.get(entry["status"], 0) + 1
    summary = out_dir / "logs" / "summary.json"
    write_json(summary, {"counts": counts, "runs": entries})
    return summary
