"""Many participants in one call: the memory of every process is flat."""

import shutil
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def _resident(root):
    """Return the resident memory [MB] of a process and of those below it, by process."""
    parents, memory = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        parents[int(folder.name)] = int(facts["PPid"])
        memory[int(folder.name)] = int(facts.get("VmRSS", "0 kB").split()[0]) / 1024
    family = {root}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: memory[pid] for pid in family if pid in memory}


# 4 MB in each participant, five volumes of one echo, are a leak that is seen: half of the
# participants lie between what is compared. Two workers share them, and which step falls to which
# of them adds some 20 MB
@pytest.mark.parametrize(("nprocs", "n", "limit"), [("1", 12, 24), ("2", 12, 30)])
def test_memory_does_not_grow_with_the_participants(job, truth, nprocs, n, limit):
    for number in range(1, n):
        shutil.copytree(job.bids / "sub-demo", job.bids / f"sub-{number:02d}")
        for path in (job.bids / f"sub-{number:02d}").rglob("sub-demo_*"):
            path.rename(path.with_name(path.name.replace("sub-demo_", f"sub-{number:02d}_")))
    log = job.out.parent / "said.txt"
    samples = defaultdict(list)  # of one process: steps finished by then, and MB
    with log.open("w") as file:
        process = job.start("--nprocs", nprocs, to=file)
        while process.poll() is None:
            done = log.read_text().count(": done in ")
            for pid, megabytes in _resident(process.pid).items():
                samples[pid].append((done, megabytes))
            time.sleep(0.3)
    assert process.returncode == 0, log.read_text()[-2000:]
    assert len(job.maps()) == n * len(truth)
    total = log.read_text().count(": done in ")
    most_early, most_late = 0.0, 0.0  # of any process: which step falls to which worker is chance
    for series in samples.values():
        done, megabytes = np.array(series).T
        early = megabytes[(done > 0.25 * total) & (done < 0.5 * total)]
        # not the pages at the end, for which the main process loads what draws
        late = megabytes[(done > 0.75 * total) & (done < total)]
        if not early.size or not late.size or early.max() < 100:
            continue  # a process that came and went, or one that does not compute
        print(f"{nprocs} processors: {early.max():.0f} MB early, {late.max():.0f} MB late")
        most_early, most_late = max(most_early, early.max()), max(most_late, late.max())
    assert 100 < most_late < most_early + limit
