"""Wall time and peak memory, over all its processes, of one whole participant run.

python tests/benchmarks/bench_run.py BIDS_DIR OUTPUT_DIR participant [qsmbids options]
"""

import os
import subprocess
import sys
import time
from pathlib import Path


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


def _processor(pid):
    """Return the processor time [s] that a process has had."""
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "qsmbids", *sys.argv[1:]])
    peak = {"Pss": 0.0, "Rss": 0.0}
    spent = {}  # of each process; workers end before the run does
    while process.poll() is None:
        pids = _tree(process.pid)
        for key in peak:
            peak[key] = max(peak[key], _memory(pids, key))
        spent |= {pid: max(spent.get(pid, 0.0), _processor(pid)) for pid in pids}
        time.sleep(0.2)
    print(
        f"wall {time.monotonic() - began:.1f} s, processor {sum(spent.values()):.1f} s,"
        f" peak {peak['Pss']:.2f} GB (pages counted once), {peak['Rss']:.2f} GB (summed)"
    )
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main())
