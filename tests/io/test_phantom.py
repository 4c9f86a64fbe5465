"""The demo dataset: valid BIDS, readable, and consistent with its truth."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.inversion.b0_direction import b0_direction_from_affine
from qsmbids.core.phase.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.io.phantom import ENCODINGS, write_phantom_dataset

QUICK = {"shape": (48, 56, 40), "voxel_size": (2.0, 2.0, 2.0), "echo_times": (0.004, 0.01, 0.016)}


def _load(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_phantom_dataset(tmp_path_factory.mktemp("demo"), **QUICK)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Every encoding as one run, in two sessions, beside a second subject."""
    root = tmp_path_factory.mktemp("many")
    for run, encoding in enumerate(ENCODINGS, start=1):
        write_phantom_dataset(
            root, subject="a1", session="pre", run=run, encoding=encoding, **QUICK
        )
    slab = {**QUICK, "shape": (48, 56, 20), "voxel_size": (2.0, 2.0, 4.0)}
    write_phantom_dataset(root, subject="a1", session="post", tilt_degrees=20, **slab)
    write_phantom_dataset(root, subject="b2", readout="bipolar", truth=False, **QUICK)
    return root


def _errors(root):
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = shutil.which("bids-validator-deno", path=beside_python)
    if program is None:
        pytest.skip("bids-validator-deno is not on the path")
    run = subprocess.run(
        [program, str(root), "-r", "--format", "json"], capture_output=True, text=True, check=False
    )
    report = json.loads(run.stdout)
    issues = list(report["issues"]["issues"])
    for nested in report.get("derivativesSummary", {}).values():
        issues += nested["issues"]["issues"]
    assert issues, "the validator found nothing to recommend: did it read the dataset?"
    return [issue for issue in issues if issue["severity"] == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dataset", "many"])
def test_valid_bids(name, request):
    """The raw dataset and the truth in it."""
    assert _errors(request.getfixturevalue(name)) == []


def test_files_and_sidecars(dataset):
    anat = dataset / "sub-demo" / "anat"
    names = sorted(path.name for path in anat.glob("*.nii.gz"))
    assert names == [
        f"sub-demo_echo-{echo}_part-{part}_MEGRE.nii.gz"
        for echo in (1, 2, 3)
        for part in ("mag", "phase")
    ]
    sidecar = json.loads((anat / "sub-demo_echo-2_part-phase_MEGRE.json").read_text())
    assert sidecar["EchoTime"] == 0.01
    assert sidecar["Units"] == "arbitrary"
    assert sidecar["MagneticFieldStrength"] == 3.0
    assert sidecar["ImagingFrequency"] == pytest.approx(127.732, abs=1e-3)
    assert sidecar["ManufacturersModelName"] == "simulated"
    image = nib.load(anat / "sub-demo_echo-2_part-phase_MEGRE.nii.gz")
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.uint16
    assert (dataset / "participants.tsv").read_text() == "participant_id\nsub-demo\n"
    assert "No person was scanned" in (dataset / "README.md").read_text()


def test_every_encoding_holds_the_same_phase(many):
    """Back to radians within one level of 12 bit, where there is signal."""
    anat = many / "sub-a1" / "ses-pre" / "anat"
    phases = {}
    for run, encoding in enumerate(ENCODINGS, start=1):
        stem = f"{anat}/sub-a1_ses-pre_run-{run}_echo-"
        if encoding == "ge":
            parts = [
                [_load(f"{stem}{e}_part-{p}_MEGRE.nii.gz").astype(float) for e in (1, 2, 3)]
                for p in ("real", "imag")
            ]
            alternating = (-1.0) ** np.arange(QUICK["shape"][2])
            phases[encoding] = np.angle(
                np.conj(np.array(parts[0]) + 1j * np.array(parts[1])) * alternating
            )
            continue
        stored = [_load(f"{stem}{e}_part-phase_MEGRE.nii.gz") for e in (1, 2, 3)]
        sidecar = json.loads(open(f"{stem}1_part-phase_MEGRE.json").read())
        scale = detect_phase_scale(phase_statistics(stored), units=sidecar["Units"])
        assert scale.warning == ""
        phases[encoding] = np.array([to_radians(volume, scale) for volume in stored])
    magnitude = _load(f"{anat}/sub-a1_ses-pre_run-1_echo-3_part-mag_MEGRE.nii.gz")
    strong = magnitude > 300
    assert strong.mean() > 0.2
    for encoding, phase in phases.items():
        difference = np.angle(np.exp(1j * (phase - phases["float"])))[:, strong]
        assert np.abs(difference).max() < (0.003 if encoding == "ge" else np.pi / 2048), encoding


def test_signed_siemens_lives_in_the_header(many):
    image = nib.load(
        many / "sub-a1/ses-pre/anat/sub-a1_ses-pre_run-2_echo-1_part-phase_MEGRE.nii.gz"
    )
    assert (image.dataobj.slope, image.dataobj.inter) == (2.0, -4096.0)
    assert image.get_data_dtype() == np.int16
    values = np.asarray(image.dataobj)
    assert values.min() == -4096
    assert values.max() == 4094


def test_tilt_turns_the_affine_and_b0(many):
    image = nib.load(next((many / "sub-a1/ses-post/anat").glob("*echo-1*phase*.nii.gz")))
    assert image.header.get_zooms() == pytest.approx((2, 2, 4))
    b0 = b0_direction_from_affine(image.affine)
    assert np.degrees(np.arccos(b0[2])) == pytest.approx(20, abs=1e-4)
    middle = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
    np.testing.assert_allclose(middle[:3], 0, atol=1e-4)


def test_a_double_tilt_turns_about_two_axes(tmp_path):
    root = write_phantom_dataset(tmp_path, tilt_degrees=(15, 20), truth=False, **QUICK)
    affine = nib.load(next(root.rglob("*echo-1*phase*.nii.gz"))).affine
    b0 = b0_direction_from_affine(affine)
    sine, cosine = np.sin(np.radians([15, 20])), np.cos(np.radians([15, 20]))
    expected = [-cosine[0] * sine[1], sine[0], cosine[0] * cosine[1]]
    np.testing.assert_allclose(b0, expected, atol=1e-6)
    assert np.linalg.det(affine[:3, :3]) > 0


def test_truth_explains_the_phase(dataset):
    """Echo differences of the phase images are the true field, wrapped."""
    truth = dataset / "derivatives" / "truth" / "sub-demo"
    field = _load(truth / "fmap" / "sub-demo_desc-total_fieldmap.nii.gz")
    mask = _load(truth / "anat" / "sub-demo_label-brain_desc-truth_mask.nii.gz") > 0
    anat = dataset / "sub-demo" / "anat"
    phase = [
        (_load(anat / f"sub-demo_echo-{e}_part-phase_MEGRE.nii.gz") - 2048.0) * np.pi / 2048
        for e in (1, 2)
    ]
    error = np.angle(np.exp(1j * (phase[1] - phase[0] - 2 * np.pi * field * 0.006)))[mask]
    assert np.abs(np.median(error)) < 2e-3
    assert np.median(np.abs(error)) < 0.03  # noise of 2 %
    chi = _load(truth / "anat" / "sub-demo_desc-truth_Chimap.nii.gz")
    labels = _load(truth / "anat" / "sub-demo_desc-truth_dseg.nii.gz")
    table = (truth / "anat" / "sub-demo_desc-truth_dseg.tsv").read_text().splitlines()
    rows = {name: (int(index), float(value)) for index, name, value in map(str.split, table[1:])}
    index, value = rows["whitematter"]
    assert np.median(chi[labels == index]) == pytest.approx(value)
    assert np.all(chi[~mask] == 0)


def test_writing_again_changes_nothing(tmp_path):
    tiny = {"shape": (16, 18, 16), "voxel_size": (6, 6, 5), "echo_times": (0.004, 0.01)}

    def contents():
        write_phantom_dataset(tmp_path, encoding="siemens-signed", **tiny)
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    first = contents()
    assert len(first) > 15
    assert contents() == first
    write_phantom_dataset(tmp_path, subject="alice", truth=False, **tiny)
    people = (tmp_path / "participants.tsv").read_text().split()
    assert people == ["participant_id", "sub-alice", "sub-demo"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"encoding": "vax"},
        {"readout": "spiral"},
        {"subject": "a-b"},
        {"session": "1_2"},
        {"echo_times": ()},
    ],
)
def test_bad_arguments(tmp_path, arguments):
    with pytest.raises(ValueError):
        write_phantom_dataset(tmp_path, **{**QUICK, **arguments})
    assert not list(tmp_path.iterdir())
