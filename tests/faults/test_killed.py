"""Processes that are killed: the message is right, nothing is lost, and a rerun completes."""

import os
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed")]

STEPS = (
    "prepare_magnitude", "prepare_phase", "fit_r2star", "mask1", "guide_mask1", "map_r2star",
    "check_phase", "correct_readout", "remove_phase_offset", "unwrap_phase", "combine_echoes",
    "weight_data", "mask2", "mask3", "find_unsure_rim", "remove_background_field",
    "invert_dipole_field", "check_sign", "reference_chi", "find_csf", "reference_chi_csf",
    "describe_references", "measure_images", "measure_quality",
)  # fmt: skip
SAVES = ("save_chi", "save_magnitude", "save_mask4", "save_local_field")


@pytest.fixture
def done(finished_source, truth):
    """Return a finished job, restored after the test where a fault left it unfinished."""
    job = finished_source[0]
    yield job
    if job.maps() != truth:
        job.run()


def test_every_step_is_tried(done):
    assert set(STEPS) | set(SAVES) <= set(done.steps())
    assert {s for s in done.steps() if not s.startswith("save_")} == set(STEPS)


@pytest.mark.parametrize("node", (STEPS + SAVES)[::2])
def test_a_worker_killed_at_a_step_fails_that_step(finished_source, node):
    """Each call finishes first what the call before had to leave."""
    job = finished_source[0]
    job.forget(node)
    said = job.run("--nprocs", "2", fault=f"{node}:kill").check(1)
    assert "0 ok, 1 failed" in said.last
    entry = job.status()["sub-demo"]
    assert (entry["status"], entry["step"]) == ("failed", node)
    assert "killed, most probably for want of memory" in entry["message"]
    assert "--mem" in entry["message"]
    assert entry["message"] in said.text
    job.maps()  # what is there is whole


@pytest.mark.parametrize("number", range(1, len(STEPS + SAVES), 2))
def test_the_main_process_killed_at_a_step_leaves_no_half_files(finished_source, number):
    """At every second step: before it, or between its end and the record of it."""
    job, node = finished_source[0], (STEPS + SAVES)[number]
    job.forget(node)
    said = job.run(fault=f"{node}:{('kill', 'kill-after')[number // 2 % 2]}")
    assert said.code == -signal.SIGKILL
    job.maps()


def test_after_all_that_a_rerun_completes_with_the_same_maps(done, truth):
    assert "1 ok, 0 failed" in done.run().check(0).last
    assert done.maps() == truth


def test_a_worker_killed_once_costs_nothing(done, truth, tmp_path):
    done.forget("unwrap_phase")
    said = done.run("--nprocs", "2", fault="unwrap_phase:kill", once=tmp_path / "once").check(0)
    assert "1 ok, 0 failed" in said.last
    assert (tmp_path / "once").exists()
    assert done.maps() == truth


@pytest.mark.parametrize("nprocs", ["1", "2"])
def test_want_of_memory_in_a_step_is_told_plainly(done, truth, nprocs):
    done.forget("invert_dipole_field")
    done.run("--nprocs", nprocs, fault="invert_dipole_field:memory").check(1)
    entry = done.status()["sub-demo"]
    assert entry["step"] == "invert_dipole_field"
    assert entry["message"].startswith("not enough memory")
    done.run().check(0)
    assert done.maps() == truth


def _children(pid):
    """Return the processes below one."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = dict(map(int, line.split()) for line in table.stdout.splitlines())
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _at_work(job, node):
    """Tell whether a step has begun and is not done."""
    return list(job.work.glob(f"qsmbids_*_wf/*/{node}/_0x*_unfinished.json"))


@pytest.mark.parametrize("nprocs", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by a signal")],
)
def test_a_signal_ends_in_one_line_and_leaves_no_process(done, truth, nprocs, number, code, word):
    """SIGINT to the whole group, as a terminal sends it; SIGTERM to the one that was called."""
    done.forget("unwrap_phase")
    process = done.start("--nprocs", nprocs, fault="unwrap_phase:sleep", start_new_session=True)
    _wait_for(lambda: _at_work(done, "unwrap_phase"))
    time.sleep(0.5)
    below = _children(process.pid)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == code, text
    assert f"(exit code {code})" in text.strip().splitlines()[-1]
    assert word in text.strip().splitlines()[-1]
    assert "Traceback" not in text
    assert "Process " not in text  # what one of them says of itself
    _wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below), 20)
    assert done.status()["sub-demo"]["status"] in ("interrupted", "ok")
    done.run().check(0)
    assert done.maps() == truth


@pytest.mark.parametrize("nprocs", ["1", "2"])
def test_a_scheduler_that_kills_after_its_grace_leaves_a_job_that_goes_on(done, truth, nprocs):
    """SIGTERM to the whole group, two seconds, SIGKILL: as Slurm ends a job at its time limit."""
    done.forget("unwrap_phase")
    process = done.start("--nprocs", nprocs, fault="unwrap_phase:sleep", start_new_session=True)
    _wait_for(lambda: _at_work(done, "unwrap_phase"))
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode in (143, -signal.SIGTERM, -signal.SIGKILL)
    done.run().check(0)
    assert done.maps() == truth
