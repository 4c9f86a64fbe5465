"""The route of a reader of the paper: download, validate, process, compare, for every vendor."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.cli.zenodo import main
from qsmbids.io.validate import validate_dataset

SHAPE = (40, 48, 34)  # 2.4 mm
RUNS = (0, 4, 6)  # GE bipolar, Philips monopolar, Siemens bipolar
DEEP = (4, 5, 6, 7, 8, 9)  # labels of the head


def call(capfd, *args) -> tuple[int, str]:
    code = main([str(a) for a in args])
    return code, "".join(capfd.readouterr())


def volume(path) -> np.ndarray:
    return nib.as_closest_canonical(nib.load(path)).get_fdata()


@pytest.mark.slow
def test_from_the_record_to_the_comparison(record, example, qsmbids, capfd, tmp_path):
    runs = [example.RUNS[i] for i in RUNS]
    members = example.with_mac_files(example.results_archive(runs, SHAPE))
    url = record.offer({example.RESULTS: example.zipped(members), example.DICOM: b"x"})
    dest, out = tmp_path / "data", tmp_path / "out"
    code, said = call(capfd, dest, "--record-url", url)
    assert code == 0, said
    assert validate_dataset(dest).errors == []

    options = ("--preset", "sepia-fansi", "--work-dir", tmp_path / "work", "--nprocs", "2")
    code, last, said = qsmbids(dest, out, "participant", *options)
    assert code == 0, said
    assert "3 ok, 0 failed" in last
    for session, acquisition, *_ in runs:
        label = example.label(session, acquisition)
        anat = out / "sub-001" / f"ses-{session}" / "anat"
        about = json.loads((anat / f"{label}_desc-wholebrain_Chimap.json").read_text())
        decisions = "\n".join(about["Decisions"])
        assert ("readout: bipolar" in decisions) == acquisition.startswith("Bipolar")
        assert ("every second slice along axis [2]" in decisions) == (session == "GE")
        assert ("phase sign: -1" in decisions) == (session == "GE")
        # the head that went in: nuclei of the right sign and size
        phantom, _, _ = example.head(SHAPE)
        chi = volume(anat / f"{label}_desc-wholebrain_Chimap.nii.gz")
        regions = [(phantom.labels == tissue) & (chi != 0) for tissue in DEEP]
        true = [phantom.chi_brain[r].mean() for r in regions]
        found = [chi[r].mean() for r in regions]
        assert np.polyfit(true, found, 1)[0] == pytest.approx(0.95, abs=0.2), label

    # the truth is not what this pipeline makes of such voxels, and that is seen
    code, said = call(capfd, dest, "--compare", out)
    assert code == 1, said
    content = json.loads((out / "logs/comparison/comparison.json").read_text())
    assert (content["Judged"], content["Outside"]) == (3, 3)

    # maps as another program with another zero would have made them, agree
    for session, acquisition, folder, *_ in runs:
        stem = f"sub-001/ses-{session}"
        label = example.label(session, acquisition)
        chi = volume(out / stem / "anat" / f"{label}_desc-wholebrain_Chimap.nii.gz")
        field = volume(out / stem / "fmap" / f"{label}_desc-local_fieldmap.nii.gz")
        noise = np.random.default_rng(1).normal(0, 0.002, chi.shape)
        mask = chi != 0
        new = example.published(
            [(session, acquisition, folder, "", 0)], SHAPE, chi + noise - 0.1, field, mask
        )
        for name, data in new.items():
            (dest / name).parent.mkdir(parents=True, exist_ok=True)
            (dest / name).write_bytes(data)
    code, said = call(capfd, dest, "--compare", out)
    assert code == 0, said
    content = json.loads((out / "logs/comparison/comparison.json").read_text())
    assert (content["Judged"], content["Outside"]) == (3, 0)
    assert validate_dataset(out, all_modalities=True).errors == []


@pytest.mark.slow
def test_dicom_of_all_eight_runs(record, example, dicom, qsmbids, capfd, tmp_path):
    inner = example.write_dicom(dicom, tmp_path / "scanners", example.RUNS, (16, 18, 16))
    url = record.offer({example.DICOM: example.zipped(example.dicom_archive(inner))})
    dest = tmp_path / "data"
    code, said = call(capfd, dest, "--dicom", "--record-url", url)
    assert code == 0, said
    code, last, said = qsmbids(dest, tmp_path / "out", "participant", "--dry-run")
    assert code == 0, said
    assert "8 to process, 0 cannot be" in last
    for session, acquisition, _, _, n in example.RUNS:
        label = example.label(session, acquisition)
        assert f"{label}\n  echoes" in said
        parts = 3 if session == "GE" else 2
        assert len(list(dest.glob(f"sub-001/*/anat/{label}_*.nii.gz"))) == parts * n
