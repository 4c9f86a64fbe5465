"""Images of single coils in a dataset: found, combined, and refused by name."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.io.coils import combine_to_raw, find_coils
from qsmbids.io.layout import collect_runs
from qsmbids.io.validate import validate_dataset

SHAPE, N_COILS, TIMES = (16, 18, 14), 3, (0.00942, 0.020)


@pytest.fixture
def signals(rng):
    """Return what the coils see of a smooth field [Hz], (coil, echo, X, Y, Z)."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    ball = np.where(x**2 + y**2 + z**2 < 0.8, 1000.0, 2.0)
    echoes = np.stack([ball * np.exp(2j * np.pi * 8 * x * y * t) for t in TIMES])
    offsets = [rng.uniform(-3, 3) + k * z for k in (1, -1, 2)]
    slopes = (0, 1, -1)
    turned = [np.exp(1j * offset) for offset in offsets]
    return np.stack([echoes * (1.5 + s * x) * t for s, t in zip(slopes, turned, strict=True)])


@pytest.fixture
def write(tmp_path, signals):
    """Write the coils, one file each or as the last dimension of one file."""

    def call(stacked=False):
        anat = tmp_path / "bids/sub-01/anat"
        anat.mkdir(parents=True)
        description = {"Name": "x", "BIDSVersion": "1.10.0"}
        (tmp_path / "bids/dataset_description.json").write_text(json.dumps(description))
        for e, time in enumerate(TIMES):
            for part in ("mag", "phase"):
                numbers = np.abs(signals[:, e])
                if part == "phase":
                    numbers = np.rint(np.angle(signals[:, e]) / np.pi * 4095)
                numbers = numbers.astype(np.int16)
                files = {"coils": np.moveaxis(numbers, 0, 3)} if stacked else {}
                files = files or {f"coil{c + 1:02d}": numbers[c] for c in range(N_COILS)}
                for label, values in files.items():
                    stem = anat / f"sub-01_rec-{label}_echo-{e + 1}_part-{part}_MEGRE"
                    image = nib.Nifti1Image(values, np.diag([2, 2, 2, 1.0]))
                    nib.save(image, stem.with_name(stem.name + ".nii.gz"))
                    sidecar = {"EchoTime": time, "MagneticFieldStrength": 3}
                    sidecar |= {"Units": "arbitrary"} if part == "phase" else {}
                    stem.with_name(stem.name + ".json").write_text(json.dumps(sidecar))
        return tmp_path / "bids"

    return call


@pytest.mark.parametrize("stacked", [False, True])
def test_coils_become_a_valid_run(write, tmp_path, signals, stacked):
    root = write(stacked)
    assert validate_dataset(root).errors == []
    (coils,), problems = find_coils(root)
    assert (coils.label, problems) == ("sub-01_rec-mcpc3ds", [])
    images, (note,) = combine_to_raw(coils, tmp_path / "raw")
    assert "3 coils combined by MCPC-3D-S" in note
    assert validate_dataset(tmp_path / "raw").errors == []
    (run,), _ = collect_runs(tmp_path / "raw")
    assert (run.label, run.sidecars[1]["EchoTime"]) == (coils.label, TIMES[1])
    assert run.sidecars[0]["CoilCombinationMethod"] == "MCPC-3D-S"
    assert run.sidecars[0]["CoilsCombined"] == N_COILS
    phase = [nib.load(path).get_fdata() for path in run.phase]
    inside = np.abs(signals[0, 0]) > 100
    true = np.angle((signals[:, 1] * signals[:, 0].conj()).sum(axis=0))
    wrong = np.angle(np.exp(1j * (phase[1] - phase[0] - true)))[inside]
    assert np.abs(wrong).max() < 0.05
    assert combine_to_raw(coils, tmp_path / "raw")[0] == images  # again


def test_single_coils_are_no_runs_of_their_own(write):
    runs, (problem,) = collect_runs(write())
    assert runs == []
    assert "single coils" in problem.message


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("*rec-coil02_echo-2_part-phase*", "no coil02 of echo 2, phase"),
        ("*_echo-2_*", "one echo alone"),
        ("*rec-coil01_echo-1_part-phase*.json", "EchoTime"),
    ],
)
def test_what_cannot_be_combined_is_said_and_nothing_else_is_lost(write, gone, words):
    root = write()
    for path in root.rglob(gone):
        path.unlink()
    coils, (problem,) = find_coils(root)
    assert (coils, problem.where) == ([], "sub-01_rec-mcpc3ds")
    assert words in problem.message


def test_coils_on_other_grids_are_refused(write, tmp_path):
    root = write()
    path = root / "sub-01/anat/sub-01_rec-coil02_echo-1_part-mag_MEGRE.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((16, 18, 13), np.int16), np.eye(4)), path)
    (coils,), _ = find_coils(root)
    with pytest.raises(InputError, match="another grid"):
        combine_to_raw(coils, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
