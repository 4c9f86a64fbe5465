"""Echo planar series with phase to one volume per echo."""

import json
import re

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.epi_series import MOST_VOLUMES, average_to_raw, find_series
from qsmbids.io.layout import collect_runs
from qsmbids.io.validate import validate_dataset

TIMES = {1: 0.013, 2: 0.031}
SHAPE = (10, 12, 8)


@pytest.fixture
def bold(tmp_path, rng):
    """Write a dataset with a series of magnitude and phase of two echoes."""
    func = tmp_path / "bids/sub-01/ses-a/func"
    func.mkdir(parents=True)
    description = {"Name": "x", "BIDSVersion": "1.10.0"}
    (tmp_path / "bids/dataset_description.json").write_text(json.dumps(description))
    (tmp_path / "bids/task-rest_bold.json").write_text('{"RepetitionTime": 2.0, "TaskName": "r"}')
    for echo, time in TIMES.items():
        for part in ("mag", "phase"):
            limits = (500, 600) if part == "mag" else (-4096, 4095)
            volume = rng.integers(*limits, (*SHAPE, 1))
            numbers = np.repeat(volume, MOST_VOLUMES + 2, axis=3).astype(np.int16)
            stem = f"sub-01_ses-a_task-rest_dir-AP_run-1_echo-{echo}_part-{part}_bold"
            nib.save(nib.Nifti1Image(numbers, np.diag([3, 3, 3, 1])), func / f"{stem}.nii.gz")
            sidecar = {"EchoTime": time, "MagneticFieldStrength": 3, "ScanningSequence": "EP"}
            (func / f"{stem}.json").write_text(json.dumps(sidecar))
    return tmp_path / "bids"


def test_a_series_becomes_a_valid_scan(bold, tmp_path):
    ((series,), _) = find_series(bold)
    assert series.label == "sub-01_ses-a_acq-restAPEPI_run-1"
    raw = tmp_path / "raw"
    images, (note,) = average_to_raw(series, raw)
    assert f"{MOST_VOLUMES} of {MOST_VOLUMES} volumes" in note
    assert validate_dataset(raw).errors == []
    (run,), problems = collect_runs(raw)
    assert (problems, run.label, run.suffix) == ([], series.label, "MEGRE")
    assert [s["EchoTime"] for s in run.sidecars] == list(TIMES.values())
    sidecar = run.sidecars[0]
    assert (sidecar["MRAcquisitionType"], sidecar["VolumesAveraged"]) == ("2D", MOST_VOLUMES)
    assert sidecar["RepetitionTimeExcitation"] == 2.0  # inherited
    given = nib.load(series.phase[1]).get_fdata()[..., 0] * np.pi / 4096
    made = nib.load(run.phase[1]).get_fdata()
    assert np.abs(np.angle(np.exp(1j * (made - given)))).max() < 0.01
    assert average_to_raw(series, raw)[0] == images  # again


def test_nothing_is_found_without_phase(bold):
    for path in bold.rglob("*part-phase*"):
        path.unlink()
    assert find_series(bold) == ([], [])


def test_sessions_and_participants_are_heeded(bold):
    assert find_series(bold, participants=["02"])[0] == []
    assert find_series(bold, sessions=["b"])[0] == []
    assert len(find_series(bold, participants=["01"], sessions=["a"])[0]) == 1


@pytest.mark.parametrize("gone", ["*echo-2_part-mag_bold.nii.gz", "*echo-2_part-phase_bold.json"])
def test_what_is_incomplete_is_refused(bold, gone):
    for path in bold.rglob(gone):
        path.unlink()
    none, (problem,) = find_series(bold)
    assert (none, problem.where) == ([], "sub-01_ses-a_task-rest_dir-AP_run-1")
    assert re.search("every echo|EchoTime", problem.message)


def test_without_the_option_the_series_are_named(bold):
    _, (problem,) = collect_runs(bold)
    assert "--include-epi" in problem.message
    assert "rename" not in problem.message
