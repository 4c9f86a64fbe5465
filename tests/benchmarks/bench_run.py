"""Wall time, processor time and peak memory, over all its processes, of one participant run.

python tests/benchmarks/bench_run.py BIDS_DIR OUTPUT_DIR participant [qsmbids options]
"""

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def _tree(root):
    """Return the processes that descend from ``root``."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                )
            except (OSError, IndexError):
                continue
    found, size = {root}, 0
    while size != len(found):
        size = len(found)
        found |= {p for p, parent in parents.items() if parent in found}
    return found


def _memory(pids, key):
    """Sum a size [GB] over processes; Pss counts shared pages once."""
    total = 0
    for pid in pids:
        try:
            for line in (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith(key + ":"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1e6


def _adopt_orphans():
    """Let processes whose parent ends before them become children of this one (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for_all():
    """Wait for every child, those adopted too."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _slowest(out_dir, number=12):
    """Print what the steps of the first run have cost, the slowest first."""
    with contextlib.suppress(OSError, LookupError, ValueError):
        steps = json.loads((Path(out_dir) / "logs/summary.json").read_text())["runs"][0]["steps"]
        for step in sorted(steps, key=lambda s: -s["seconds"])[:number]:
            print(
                f"  {step['title']:40s} {step['seconds']:7.2f} s, processor"
                f" {step['cpu_seconds']:7.2f} s, {step['memory_gb']:.2f} GB"
            )


def main():
    _adopt_orphans()
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "qsmbids", *sys.argv[1:]])
    peak, when = {"Pss": 0.0, "Rss": 0.0}, 0.0
    while process.poll() is None:
        pids = _tree(process.pid)
        for key in peak:
            now = _memory(pids, key)
            if now > peak[key]:
                peak[key] = now
                when = time.monotonic() - began if key == "Pss" else when
        time.sleep(0.5)
    wall = time.monotonic() - began
    _wait_for_all()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"wall {wall:.1f} s, processor {spent.ru_utime + spent.ru_stime:.1f} s with all children,"
        f" peak {peak['Pss']:.2f} GB (pages counted once, after {when:.1f} s),"
        f" {peak['Rss']:.2f} GB (summed);"
        f" load {os.getloadavg()[0]:.1f}"
    )
    _slowest(sys.argv[2])
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main())
