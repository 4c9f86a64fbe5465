"""What is done is not done again, and what changed is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

QUICK = ("--nprocs", "1", "--sloppy", "--skip-bids-validation")


def _finished_steps(work):
    """Return the time at which each step of the work directory was last computed."""
    return {
        p.parent.name: p.stat().st_mtime_ns
        for p in work.rglob("result_*.pklz")
        if not p.parent.name.startswith("save_")
    }


@pytest.fixture
def run(qsmbids, small_dataset, tmp_path):
    """Run on the small dataset; returns the steps that were computed by this call."""
    out, work = tmp_path / "out", tmp_path / "work"

    def call(*options, code=0):
        before = _finished_steps(work)
        got, _, said = qsmbids(
            small_dataset, out, "participant", "--work-dir", work, *QUICK, *options
        )
        assert got == code, said
        after = _finished_steps(work)
        return {step for step, when in after.items() if before.get(step) != when}

    call.bids, call.out, call.work = small_dataset, out, work
    return call


@pytest.fixture
def rerun(run, small_run):
    """Run again where a first run of the same dataset has ended."""
    shutil.copytree(small_run / "out", run.out)
    shutil.copytree(small_run / "work", run.work)
    return run


@pytest.mark.slow
def test_only_what_depends_on_a_change_is_computed_again(run, tmp_path):
    everything = run()
    assert {"prepare_phase", "mask1", "invert_dipole_field", "reference_chi"} <= everything
    assert run() == set()
    assert run("--output-level", "full") == set()

    config = tmp_path / "c.toml"
    config.write_text("[dipole_inversion.fansi]\ngradient_l1_penalty = 1e-3\n")
    inversion = {
        "invert_dipole_field",
        "find_csf",
        "reference_chi",
        "reference_chi_csf",
        "describe_references",
        "check_sign",
        "measure_images",
        "measure_quality",
    }
    assert run("--config-file", config) == inversion
    chi = run.out / "sub-demo" / "anat" / "sub-demo_desc-wholebrain_Chimap.json"
    parameters = json.loads(chi.read_text())["DipoleInversion"]["Parameters"]
    assert parameters["GradientL1Penalty"] == 1e-3

    config.write_text("[background_field.vsharp]\nmaximum_radius = 5\n")
    assert run("--config-file", config) == {"remove_background_field", *inversion}


@pytest.mark.slow
def test_a_changed_input_image_is_seen(rerun):
    path = rerun.bids / "sub-demo/anat/sub-demo_echo-3_part-mag_MEGRE.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj).copy()
    data[24, 28, 20] += 1
    nib.Nifti1Image(data, image.affine, image.header).to_filename(path)
    assert "prepare_phase" in rerun()


@pytest.mark.slow
def test_a_changed_echo_time_is_seen(rerun):
    for part in ("mag", "phase"):
        path = rerun.bids / f"sub-demo/anat/sub-demo_echo-4_part-{part}_MEGRE.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"EchoTime": 0.0221}))
    steps = rerun()
    assert "combine_echoes" in steps
    assert "prepare_phase" not in steps


def test_a_deleted_output_is_written_again(rerun):
    chi = rerun.out / "sub-demo" / "anat" / "sub-demo_desc-wholebrain_Chimap.nii.gz"
    before = chi.read_bytes()
    chi.unlink()
    assert rerun() == set()
    assert chi.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("nprocs", ["1", "2"])
def test_an_interrupted_run_goes_on_where_it_was(
    qsmbids, small_dataset, tmp_path, number, code, nprocs
):
    out, work = tmp_path / "out", tmp_path / "work"
    arguments = [small_dataset, out, "participant", "--work-dir", work, *QUICK]
    arguments += ["--nprocs", nprocs]
    command = [sys.executable, "-m", "qsmbids", *arguments]
    process = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(work.rglob("unwrap_phase/result_*.pklz")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert f"exit code {code}" in said.strip().splitlines()[-1]
    done = _finished_steps(work)
    assert "unwrap_phase" in done
    code, _, said = qsmbids(*arguments)
    assert code == 0, said
    after = _finished_steps(work)
    again_done = {step for step, when in done.items() if after[step] != when}
    assert len(again_done) <= 1  # the one that the signal hit
    assert "unwrap_phase" not in again_done
    assert "reference_chi" in after
