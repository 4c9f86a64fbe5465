"""Many participants in one call: one after another, and the memory of every process is flat."""

import shutil
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def _resident(root):
    """Return the most memory [MB] of a process and of those below it, by process.

    That since a step began, which forgets what was before: a step may be over before it is seen.
    """
    parents, memory = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        parents[int(folder.name)] = int(facts["PPid"])
        memory[int(folder.name)] = int(facts.get("VmHWM", "0 kB").split()[0]) / 1024
    family = {root}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: memory[pid] for pid in family if pid in memory}


# 4 MB in each participant, five volumes of one echo, are a leak that is seen in one process: eight
# participants lie between what is compared. Two workers share them, and which step falls to which
# of them adds some 20 MB
@pytest.mark.parametrize(("nprocs", "n", "limit"), [("1", 12, 24), ("2", 12, 30)])
def test_participants_end_one_after_another_and_memory_does_not_grow(job, truth, nprocs, n, limit):
    for number in range(1, n):
        shutil.copytree(job.bids / "sub-demo", job.bids / f"sub-{number:02d}")
        for path in (job.bids / f"sub-{number:02d}").rglob("sub-demo_*"):
            path.rename(path.with_name(path.name.replace("sub-demo_", f"sub-{number:02d}_")))
    log = job.out.parent / "said.txt"
    samples = defaultdict(list)  # of one process: steps finished by then, and MB
    kept = 0  # participants with steps in the work directory
    with log.open("w") as file:
        process = job.start("--nprocs", nprocs, "--clean-workdir", to=file)
        while process.poll() is None:
            done = log.read_text().count(": done in ")
            for pid, megabytes in _resident(process.pid).items():
                samples[pid].append((done, megabytes))
            kept = max(kept, len(list(job.work.glob("qsmbids_*_wf/*_wf"))))
            time.sleep(0.3)
    said = log.read_text()
    assert process.returncode == 0, said[-2000:]
    assert len(job.maps()) == n * len(truth)
    total = said.count(": done in ")
    most_early, most_late = 0.0, 0.0  # of any process: which step falls to which worker is chance
    for series in samples.values():
        done, megabytes = np.array(series).T
        # by then a whole run and its page have loaded what is needed
        early = megabytes[(done > 0.15 * total) & (done < 0.34 * total)]
        # the last page is made here, those before it by a process of their own
        late = megabytes[(done > 0.75 * total) & (done < 0.98 * total)]
        if not early.size or not late.size or early.max() < 100:
            continue  # a process that came and went, or one that does not compute
        print(f"{nprocs} processors: {early.max():.0f} MB early, {late.max():.0f} MB late")
        most_early, most_late = max(most_early, early.max()), max(most_late, late.max())
    assert 100 < most_late < most_early + limit
    # no more of them are at work than have a step each, and the first page is there long before
    labels = [*(f"sub-{number:02d}" for number in range(1, n)), "sub-demo"]
    first_steps = [
        said.index(f"{label.ljust(8)}  magnitude of the echoes ...") for label in labels
    ]
    assert first_steps == sorted(first_steps)
    last_files = said.index("sub-01    reference regions: done in")
    assert last_files < first_steps[int(nprocs) + 1]
    assert said.index(f"report: {job.out}/sub-01.html") < first_steps[-1]
    if nprocs == "1":
        assert kept == 1
    assert not job.work.exists()
