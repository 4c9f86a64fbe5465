"""Whom an error of the BIDS validator stops: the dataset, a run, or nobody."""

from qsmbids.io.validate import Issue, ValidationResult

ANAT = "/sub-01/ses-1/anat/sub-01_ses-1"


def _result(*found):
    return ValidationResult(
        [Issue(code, "", "text", tuple(paths)) for code, *paths in found], 0, "1"
    )


def _said(issues):
    return [(issue.code, *issue.locations) for issue in issues]


def test_files_that_nobody_reads_stop_nothing():
    found = [
        ("EMPTY_FILE", "/README.md"),
        ("JSON_INVALID", "/participants.json"),
        ("TSV_COLUMN_MISSING", "/participants.tsv"),
        ("NOT_INCLUDED", "/Thumbs.db", "/sub-01_A/"),
        ("SYMLINK_BROKEN", f"{ANAT}_T1w.nii.gz"),
        ("NIFTI_HEADER_UNREADABLE", f"{ANAT}_T2starw.nii.gz"),
        ("SIDECAR_KEY_REQUIRED", f"{ANAT}_T2starw.nii.gz"),
        ("SCANS_FILENAME_NOT_MATCH_DATASET", "/sub-01/ses-1/sub-01_ses-1_scans.tsv"),
    ]
    result = _result(*found)
    assert result.of_dataset == []
    assert result.against("sub-01_ses-1") == []
    assert _said(result.unread(["sub-01_ses-1"])) == [tuple(f) for f in found]


def test_an_error_of_a_run_stops_that_run_alone():
    bad = f"{ANAT}_acq-x_echo-1_part-phase_MEGRE.nii.gz"
    other = "/sub-02/anat/sub-02_part-phase_T2starw.json"
    result = _result(("SIDECAR_KEY_REQUIRED", bad, other))
    assert _said(result.against("sub-01_ses-1_acq-x")) == [("SIDECAR_KEY_REQUIRED", bad)]
    assert _said(result.against("sub-02")) == [("SIDECAR_KEY_REQUIRED", other)]
    for label in ("sub-01_ses-1", "sub-01_ses-1_acq-y", "sub-1", "sub-01_ses-10_acq-x"):
        assert result.against(label) == []
    assert _said(result.unread(["sub-02"])) == [("SIDECAR_KEY_REQUIRED", bad)]


def test_a_sidecar_of_all_runs_stops_them_all():
    result = _result(("JSON_INVALID", "/MEGRE.json"))
    assert result.against("sub-01_ses-1_acq-x") == result.errors
    assert result.unread(["sub-01"]) == []


def test_images_that_cannot_be_read_are_left_to_the_reader():
    images = [f"{ANAT}_echo-{e}_part-mag_MEGRE.nii.gz" for e in (1, 2)]
    result = _result(("NIFTI_HEADER_UNREADABLE", *images), ("SYMLINK_BROKEN", *images))
    assert result.against("sub-01_ses-1") == []


def test_without_a_description_there_is_no_dataset():
    for found in (
        ("MISSING_DATASET_DESCRIPTION", "/"),
        ("JSON_INVALID", "/dataset_description.json"),
    ):
        assert len(_result(found).of_dataset) == 1
        assert _result(found).unread([]) == []
