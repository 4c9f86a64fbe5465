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


def _resident(pids):
    """Sum what processes hold in memory [GB], pages that they share counted for each."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int((Path("/proc") / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def _proportional(pids):
    """Sum what processes hold in memory [GB], pages that they share counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total * 1024 / 1e9


class _Peak:
    """The most memory seen.

    Counting shared pages once takes 20 ms a GB, during which the process can map none: every half
    second it slowed a run of 0.6 mm by a tenth. It is done only where a new peak can be: what is
    counted once is no more than what is counted for each.
    """

    def __init__(self):
        self.resident = self.proportional = self.when = 0.0
        self._looked = 0.0  # at what was resident then

    def look(self, pids, seconds):
        resident = _resident(pids)
        self.resident = max(self.resident, resident)
        if resident > self.proportional and abs(resident - self._looked) > 0.01 * resident:
            self._looked, now = resident, _proportional(pids)
            if now > self.proportional:
                self.proportional, self.when = now, seconds


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
    peak = _Peak()
    while process.poll() is None:
        peak.look(_tree(process.pid), time.monotonic() - began)
        time.sleep(0.25)
    wall = time.monotonic() - began
    _wait_for_all()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"wall {wall:.1f} s, processor {spent.ru_utime + spent.ru_stime:.1f} s with all children,"
        f" peak {peak.proportional:.2f} GB (pages counted once, after {peak.when:.1f} s),"
        f" {peak.resident:.2f} GB (summed);"
        f" load {os.getloadavg()[0]:.1f}"
    )
    _slowest(sys.argv[2])
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main())
