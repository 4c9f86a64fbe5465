"""Nipype's Slurm plugins on a real cluster: the same maps, and no failure that is not told."""

import json
import signal
import subprocess

import numpy as np
import pytest

from qsmbids.workflows.steps import STEP_TITLES

pytestmark = pytest.mark.slurm


def _summary(tmp_path):
    return json.loads((tmp_path / "out" / "logs" / "summary.json").read_text())


def _assert_same(found, reference):
    """Assert that the maps agree as far as they do between processes and threads anywhere."""
    assert found.keys() <= reference.keys()
    for name in found:
        expected = reference[name]
        atol = 2e-5 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found[name], expected, atol=atol, err_msg=name)


@pytest.mark.parametrize("plugin", ["SLURM", "SLURMGraph"])
def test_the_maps_are_those_of_one_machine(
    plugin, start, small_dataset_source, reference, maps, said, tmp_path, slurm
):
    # each output is one more job of the graph plugin
    level = ("--output-level", "minimal" if plugin == "SLURMGraph" else "standard")
    process = start(small_dataset_source, plugin, "", *level)
    assert process.wait(600) == 0, said()
    found = maps(tmp_path / "out")
    assert len(found) == (5 if plugin == "SLURMGraph" else len(reference))
    _assert_same(found, reference)
    assert not slurm()
    assert "dipole inversion: done" in said()

    # nothing is submitted again
    process = start(small_dataset_source, plugin, "", *level)
    assert process.wait(120) == 0, said()
    scripts = list((tmp_path / "work").glob("qsmbids_*_wf/batch/pyscript_*invert_dipole_field.py"))
    assert len(scripts) == 1


def test_jobs_ask_for_what_the_step_needs(start, small_dataset_source, slurm, until):
    start(small_dataset_source, "SLURM")
    ((number, name),) = until(slurm)
    shown = subprocess.run(
        ["scontrol", "show", "job", number], capture_output=True, text=True, check=True
    ).stdout
    assert name.startswith("prepare_magnitude.")
    assert "demo" in name
    assert "NumCPUs=2" in shown
    # 0.35 GB and 19 volumes of 0.21 MB, a fifth more, and the interpreter
    assert "MinMemoryNode=845M" in shown


@pytest.mark.parametrize("plugin", ["SLURM", "SLURMGraph"])
def test_a_job_over_its_memory_is_told_in_plain_words(
    plugin, start, small_dataset_source, said, tmp_path, slurm
):
    process = start(small_dataset_source, plugin, "sbatch_args: '--mem=90'")
    assert process.wait(120) == 1, said()
    (run,) = _summary(tmp_path)["runs"]
    # Slurm looks now and then only: a quick step may end before it does, and the next is caught
    assert run["step"] in STEP_TITLES
    assert "more memory than it may have" in run["message"]
    assert "--mem" in run["message"]
    assert not slurm()


@pytest.mark.parametrize("plugin", ["SLURM", "SLURMGraph"])
def test_a_job_cancelled_by_hand_ends_the_run(
    plugin, start, small_dataset_source, slurm, until, said, tmp_path
):
    process = start(small_dataset_source, plugin)
    jobs = until(slurm)
    subprocess.run(["scancel", min(jobs, key=lambda job: int(job[0]))[0]], check=True)
    assert process.wait(90) == 1, said()
    (run,) = _summary(tmp_path)["runs"]
    assert "cancelled" in run["message"]
    until(lambda: not slurm())


@pytest.mark.parametrize(
    ("plugin", "number", "code"),
    [("SLURM", signal.SIGTERM, 143), ("SLURMGraph", signal.SIGINT, 130)],
)
def test_jobs_are_cancelled_when_the_app_is_stopped(
    plugin, number, code, start, small_dataset_source, slurm, until, said, tmp_path
):
    process = start(small_dataset_source, plugin)
    until(slurm)
    process.send_signal(number)
    assert process.wait(90) == code, said()
    until(lambda: not slurm(), 60)
    assert _summary(tmp_path)["runs"][0]["status"] == "interrupted"


def test_what_a_step_says_reaches_the_user(start, small_dataset, said, tmp_path):
    import nibabel as nib

    path = small_dataset / "sub-demo/anat/sub-demo_echo-2_part-phase_MEGRE.nii.gz"
    image = nib.load(path)
    nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine).to_filename(path)
    process = start(small_dataset, "SLURM")
    assert process.wait(120) == 1, said()
    (run,) = _summary(tmp_path)["runs"]
    assert "Slurm" not in run["message"]
    assert "phase" in run["message"]


def test_a_job_that_slurm_refuses_fails_with_its_words(
    start, small_dataset_source, said, tmp_path
):
    process = start(small_dataset_source, "SLURM", "sbatch_args: '--partition=nowhere'")
    assert process.wait(60) == 1, said()
    (run,) = _summary(tmp_path)["runs"]
    assert "invalid partition" in run["message"].lower()
