"""``qsmbids-convert``: the table, the exit codes, and a dataset that the validator accepts."""

import json
import re

import pytest


@pytest.fixture(scope="module")
def scan(dicom, tmp_path_factory):
    """Two scans, a localiser without phase and a text file; nobody writes to it."""
    folder = tmp_path_factory.mktemp("scan") / "dicom"
    dicom.write_series(folder, "siemens", ["mag"], number=1, description="localizer")
    for number, name in ((3, "qsm_mono"), (5, "qsm_bipolar")):
        dicom.write_series(folder, "siemens", ["mag"], number=number, description=name)
        dicom.write_series(folder, "siemens", ["phase"], number=number + 1, description=name)
    (folder / "notes.txt").write_text("no DICOM")
    return folder


def listing(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_dry_run_prints_the_table_and_writes_nothing(convert, scan, tmp_path):
    bids = tmp_path / "bids"
    code, last, text = convert(scan, bids, "--participant-label", "sub-01", "--dry-run")
    assert code == 0
    assert last == (
        "qsmbids-convert: dry run: 2 run(s) to convert, nothing was written (exit code 0)"
    )
    assert not bids.exists()
    rows = [line.split(maxsplit=3) for line in text.splitlines() if re.match(r"\s*\d+ ", line)]
    assert [row[:3] for row in rows] == [
        ["1", "36", "localizer"],
        ["3", "36", "qsm_mono"],
        ["4", "36", "qsm_mono"],
        ["5", "36", "qsm_bipolar"],
        ["6", "36", "qsm_bipolar"],
    ]
    assert rows[0][3] == "skipped: a localiser"
    assert rows[2][3] == "sub-01_acq-qsmmono MEGRE, phase, 3 echo(es)"


@pytest.mark.slow
def test_the_dataset_is_valid_and_a_second_call_changes_nothing(convert, scan, tmp_path):
    from qsmbids.io.layout import collect_runs
    from qsmbids.io.validate import validate_dataset

    bids = tmp_path / "bids"
    call = (scan, bids, "--participant_label", "01", "--session-label", "ses-b")
    code, last, _ = convert(*call)
    assert code == 0
    assert "2 run(s) converted, 0 left out" in last
    result = validate_dataset(bids)
    assert result.errors == []
    runs, problems = collect_runs(bids)
    assert [r.label for r in runs] == [
        "sub-01_ses-b_acq-qsmbipolar",
        "sub-01_ses-b_acq-qsmmono",
    ]
    assert problems == []
    assert [s["EchoTime"] for s in runs[0].sidecars] == [0.005, 0.01, 0.015]
    before = listing(bids)
    description = json.loads(before["dataset_description.json"])
    assert description["DatasetType"] == "raw"
    assert before["participants.tsv"] == b"participant_id\nsub-01\n"
    code, last, text = convert(*call)
    assert code == 3
    assert "0 run(s) converted, 2 left out" in last
    assert "already" in text
    assert listing(bids) == before


def test_a_scanner_key_is_kept_and_can_be_left_out(convert, scan, tmp_path, monkeypatch):
    monkeypatch.setenv("QSMBIDS_STATE_DIR", str(tmp_path / "state"))

    def keys(folder):
        said = [json.loads(p.read_text()) for p in folder.rglob("*_MEGRE.json")]
        assert said
        assert not [s for s in said if "777123" in json.dumps(s) or "MRX9" in json.dumps(s)]
        return {s.get("ScannerKey") for s in said}

    call = (scan, tmp_path / "bids", "--participant-label", "01")
    assert convert(*call)[0] == 0
    (key,) = keys(tmp_path / "bids")
    assert len(key) == 8
    assert (
        convert(scan, tmp_path / "none", "--participant-label", "01", "--no-scanner-key")[0] == 0
    )
    assert keys(tmp_path / "none") == {None}
    # the same run again, where the salt is not at hand, is still the same run
    monkeypatch.setenv("QSMBIDS_STATE_DIR", str(tmp_path / "another"))
    _, _, text = convert(*call)
    assert "it is there already" in text
    assert "another image" not in text


def test_an_acq_label_and_an_archive(convert, scan, tmp_path):
    import shutil

    archive = shutil.make_archive(str(tmp_path / "scan"), "zip", scan)
    code, _, _ = convert(
        archive, tmp_path / "bids", "--participant-label", "x", "--acq-label", "hires"
    )
    assert code == 0
    names = {p.name for p in (tmp_path / "bids/sub-x/anat").glob("*echo-1_part-mag*.json")}
    assert names == {f"sub-x_acq-hires_run-{n}_echo-1_part-mag_MEGRE.json" for n in (1, 2)}


def test_nothing_suitable_is_exit_code_3(convert, dicom, tmp_path):
    folder = dicom.write_series(tmp_path / "d", "siemens", ["mag"])
    code, last, text = convert(folder, tmp_path / "bids", "--participant-label", "01")
    assert code == 3
    assert "skipped: magnitude only" in text
    assert last.endswith("nothing was written (exit code 3)")
    assert not (tmp_path / "bids").exists()
    code, last, _ = convert(
        tmp_path, tmp_path.parent / "b", "--participant-label", "1", "--dry-run"
    )
    assert code == 3


def test_a_source_without_dicom_is_exit_code_3(convert, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "absent"):
        code, last, _ = convert(tmp_path / source, tmp_path / "b", "--participant-label", "01")
        assert code == 3
        assert last.startswith("qsmbids-convert: error: ")
        assert source in last


@pytest.mark.parametrize("label", ["0_1", "a-b", "", "é", "../x"])
def test_a_bad_label_is_wrong_usage(convert, tmp_path, label):
    code, _, text = convert(tmp_path, tmp_path / "b", "--participant-label", label)
    assert code == 2
    assert "letters and digits only" in text


def test_a_dataset_among_the_dicom_files_is_wrong_usage(convert, tmp_path):
    code, last, _ = convert(tmp_path, tmp_path / "bids", "--participant-label", "01")
    assert code == 2
    assert "must not lie among the DICOM files" in last


def test_a_folder_that_cannot_be_written_is_exit_code_1(convert, scan, tmp_path, monkeypatch):
    import os

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    code, last, _ = convert(scan, tmp_path / "bids", "--participant-label", "01")
    assert code == 1
    assert "error" in last
    assert not list((tmp_path / "bids").rglob("*.nii.gz"))
