"""Phase that the scanner filtered, in a dataset: refused before anything is computed."""

import json

import nibabel as nib
import numpy as np
import pytest
from swi import filtered

COMMON = ("participant", "--dry-run", "--skip-bids-validation")


@pytest.fixture
def said_filtered(small_dataset):
    """Return a dataset whose phase sidecars bear the name of GE's filtered phase."""
    for path in small_dataset.rglob("*part-phase*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "SeriesDescription": "FILT_PHA: Ax SWAN"}))
    return small_dataset


def test_filtered_phase_is_no_scan_for_qsm(said_filtered, tmp_path, qsmbids):
    code, _, said = qsmbids(said_filtered, tmp_path / "out", *COMMON)
    assert code != 0
    assert "filtered by the scanner (the series is called 'FILT_PHA: Ax SWAN')" in said
    assert "--accept-filtered-phase" in said


@pytest.mark.parametrize("way", ["option", "setting", "sidecar"])
def test_it_can_be_accepted(said_filtered, tmp_path, qsmbids, way):
    options = ["--accept-filtered-phase"] if way == "option" else []
    if way == "setting":
        settings = tmp_path / "my.toml"
        settings.write_text("[phase]\naccept_filtered = true\n")
        options = ["--config-file", settings]
    elif way == "sidecar":
        for path in said_filtered.rglob("*part-phase*.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps({**content, "PhaseFilterApplied": False}))
    code, _, said = qsmbids(said_filtered, tmp_path / "out", *COMMON, *options)
    assert code == 0, said


def test_a_filtered_run_beside_another_is_left_out(
    said_filtered, small_dataset_source, tmp_path, qsmbids
):
    for path in small_dataset_source.rglob("*_MEGRE.*"):
        relative = path.relative_to(small_dataset_source)
        name = relative.name.replace("sub-demo_", "sub-demo_acq-raw_")
        copy = (said_filtered / relative).with_name(name)
        copy.write_bytes(path.read_bytes())
        if path.suffix == ".json":  # what it does not say, it would inherit
            content = json.loads(path.read_text())
            copy.write_text(json.dumps({**content, "SeriesDescription": "gre"}))
    code, _, said = qsmbids(said_filtered, tmp_path / "out", *COMMON)
    assert code == 0, said
    assert "left out: " in said
    assert "filtered by the scanner" in said


def test_a_dry_run_measures_what_the_run_would_refuse(small_dataset, tmp_path, qsmbids):
    """Nothing in the sidecars tells."""
    for path in small_dataset.rglob("*part-phase*.nii.gz"):
        image = nib.load(path)
        magnitude = nib.load(str(path).replace("part-phase", "part-mag")).get_fdata()
        signal = magnitude * np.exp(1j * np.pi * (image.get_fdata() / 2048 - 1))
        levels = np.rint(np.angle(filtered(signal[None])[0]) * 2048 / np.pi) + 2048
        nib.Nifti1Image(levels.clip(0, 4095).astype(np.uint16), image.affine).to_filename(path)
    code, _, said = qsmbids(small_dataset, tmp_path / "out", *COMMON)
    assert code != 0
    assert "filtered by the scanner (the phase looks high-pass filtered" in said
    code, _, said = qsmbids(small_dataset, tmp_path / "out", *COMMON, "--accept-filtered-phase")
    assert code == 0, said
