"""Several processes at once: one participant twice, five participants in one output."""

import os
import shutil
import signal
import time

import pytest

pytestmark = pytest.mark.slow


def test_the_second_process_on_a_participant_leaves_the_first_alone(job, truth):
    first = job.start(fault="unwrap_phase:sleep")
    deadline = time.monotonic() + 120
    while not list(job.work.glob("*/*/unwrap_phase/_0x*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = job.run().check(1)
    assert "is being processed by process" in second.text
    assert f"process {first.pid} on" in second.text
    assert "--work-dir" in second.text
    first.send_signal(signal.SIGKILL)
    first.communicate()
    job.run().check(0)  # the lock is gone with its holder
    assert job.maps() == truth


def test_two_work_directories_and_one_output_give_whole_maps(job, truth):
    second = type(job)(job.out.parent, job.bids, *job.options)
    second.work = job.work.with_name("work2")
    processes = [job.start(), second.start()]
    for process in processes:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
    assert job.maps() == truth


def test_five_participants_at_once_into_one_output(job, truth):
    for number in range(1, 5):
        shutil.copytree(job.bids / "sub-demo", job.bids / f"sub-demo{number}")
        for path in (job.bids / f"sub-demo{number}").rglob("sub-demo_*"):
            path.rename(path.with_name(path.name.replace("sub-demo_", f"sub-demo{number}_")))
    labels = ["demo", *(f"demo{n}" for n in range(1, 5))]
    processes = [
        job.start("--participant-label", label, "--clean-workdir", start_new_session=True)
        for label in labels
    ]
    for process in processes:
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
    status = job.status()
    assert {f"sub-{label}" for label in labels} == set(status)
    assert {entry["status"] for entry in status.values()} == {"ok"}
    maps = job.maps()
    assert len(maps) == 5 * len(truth)
    for label in labels:
        assert (job.out / f"sub-{label}.html").exists()
    for name, checksum in truth.items():
        assert {maps[name.replace("sub-demo", f"sub-{label}")] for label in labels} == {checksum}
    assert not job.work.exists()  # each took its own steps away, the last one the folder
    assert not list(job.out.rglob(f".*{os.extsep}tmp"))


def test_one_broken_sidecar_in_four_participants_stops_no_other(job, truth):
    for number in range(1, 4):
        shutil.copytree(job.bids / "sub-demo", job.bids / f"sub-{number:02d}")
        for path in (job.bids / f"sub-{number:02d}").rglob("sub-demo_*"):
            path.rename(path.with_name(path.name.replace("sub-demo_", f"sub-{number:02d}_")))
    broken = job.bids / "sub-02/anat/sub-02_echo-3_part-phase_MEGRE.json"
    broken.write_text('{"EchoTime": 0.0')
    said = job.run("--nprocs", "2", timeout=600).check(1)
    assert "3 ok, 1 failed" in said.last
    entry = job.status()["sub-02"]
    assert entry["step"] == "pre-flight"
    assert str(broken) in entry["message"]
    maps = job.maps()
    assert len(maps) == 3 * len(truth)
    assert {maps[name.replace("sub-demo", "sub-03")] for name in truth} == set(truth.values())
    broken.write_text(
        (job.bids / "sub-demo/anat/sub-demo_echo-3_part-phase_MEGRE.json").read_text()
    )
    again = job.run("--nprocs", "2", timeout=600).check(0)
    assert "4 ok, 0 failed" in again.last
    assert len(job.maps()) == 4 * len(truth)
