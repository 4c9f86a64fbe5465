"""Which DICOM has no raw images yet, and where these go."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from qsmbids.io.sourcedata import CONVERTED, Source, find_sources, incomplete_mark, target_dataset


def put(path: Path, content: bytes = bytes(128) + b"DICM") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def labels(sources):
    return [source.label for source in sources]


def test_folders_and_archives_of_participants_and_sessions(tmp_path):
    source = tmp_path / "sourcedata"
    put(source / "sub-01" / "scan" / "IM0001")
    put(source / "sub-02" / "ses-a" / "IM0001")
    put(source / "sub-02" / "ses-b.tgz")
    put(source / "sub-03.zip")
    put(source / "sub-04_ses-x.tar.gz")
    put(source / "sub-05" / "anat" / "one.zip")
    put(source / "sub-06" / "notes.txt", b"no DICOM")
    put(source / "subject7" / "IM0001")
    put(source / "sub-08.nii.gz")
    pending, done = find_sources(tmp_path)
    assert labels(pending) == [
        "sub-01", "sub-02_ses-a", "sub-02_ses-b", "sub-03", "sub-04_ses-x", "sub-05",
    ]  # fmt: skip
    assert done == []
    assert pending[1].paths == (source / "sub-02" / "ses-a",)
    only, _ = find_sources(tmp_path, participants=["02"], sessions=["b"])
    assert labels(only) == ["sub-02_ses-b"]


def test_gzipped_dicom_is_pending_and_gzipped_nifti_is_not(tmp_path):
    dicom = bytes(128) + b"DICM" + bytes(8)
    put(tmp_path / "sourcedata" / "sub-01" / "a" / "IM0001.gz", gzip.compress(dicom))
    put(tmp_path / "sourcedata" / "sub-02" / "a" / "t1.nii.gz", gzip.compress(dicom))
    put(tmp_path / "sourcedata" / "sub-03" / "a" / "log.gz", gzip.compress(b"text"))
    put(tmp_path / "sourcedata" / "sub-04" / "bare", b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")
    pending, _ = find_sources(tmp_path)
    assert labels(pending) == ["sub-01", "sub-04"]


def test_two_sources_of_one_session_are_told(tmp_path):
    put(tmp_path / "sourcedata" / "sub-01" / "ses-a" / "IM0001")
    put(tmp_path / "sourcedata" / "sub-01" / "ses-a.zip")
    pending, _ = find_sources(tmp_path)
    assert [len(source.paths) for source in pending] == [2]


@pytest.mark.parametrize(
    ("raw", "is_done"),
    [
        ("sub-01/ses-a/anat/sub-01_ses-a_echo-1_part-phase_MEGRE.nii.gz", True),
        ("sub-01/ses-a/anat/sub-01_ses-a_acq-x_part-phase_T2starw.nii", True),
        ("sub-01/ses-a/anat/sub-01_ses-a_echo-1_part-imag_MEGRE.nii.gz", True),
        ("sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz", True),
        ("sub-01/ses-b/anat/sub-01_ses-b_echo-1_part-phase_MEGRE.nii.gz", False),
        ("sub-01/ses-a/anat/sub-01_ses-a_echo-1_part-mag_MEGRE.nii.gz", False),
        ("sub-01/ses-a/anat/sub-01_ses-a_echo-1_part-phase_MEGRE.json", False),
        ("sub-01/ses-a/func/sub-01_ses-a_part-phase_bold.nii.gz", False),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_phase_images_of_the_session_are_the_counterpart(tmp_path, raw, is_done, beside):
    bids, other = tmp_path / "bids", tmp_path / "out" / CONVERTED
    put(bids / "sourcedata" / "sub-01" / "ses-a" / "IM0001")
    put((other if beside else bids) / raw)
    pending, done = find_sources(bids, converted=[other])
    assert (len(pending), len(done)) == ((0, 1) if is_done else (1, 0))


def test_a_conversion_that_was_cut_off_is_pending(tmp_path):
    put(tmp_path / "sourcedata" / "sub-01" / "IM0001")
    put(tmp_path / "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz")
    incomplete_mark(tmp_path, "01", None).touch()
    assert labels(find_sources(tmp_path)[0]) == ["sub-01"]


def test_what_cannot_be_written_goes_beside_the_maps(tmp_path, monkeypatch):
    bids, out = tmp_path / "bids", tmp_path / "out"
    locked = bids / "sub-02" / "anat"
    locked.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked)
    assert target_dataset(bids, out, Source("01", None, ())) == bids
    assert target_dataset(bids, out, Source("02", None, ())) == out / "sourcedata" / "raw"
    monkeypatch.setattr(os, "access", lambda path, mode: path != bids)
    assert target_dataset(bids, out, Source("01", "a", ())) == out / "sourcedata" / "raw"


def test_archives_inside_a_folder_are_converted_together(tmp_path, dicom):
    from qsmbids.io.dicom import convert_dicom

    for number, part in enumerate(("mag", "phase"), 1):
        folder = dicom.write_series(tmp_path / part, "siemens", [part], number=number)
        with zipfile.ZipFile(put(tmp_path / "in" / f"{part}.dicom.zip", b""), "w") as archive:
            for path in folder.iterdir():
                archive.write(path, path.name)
    (tmp_path / "work").mkdir()
    converted = convert_dicom(tmp_path / "in", tmp_path / "work", participant="01")
    assert list(converted.naming.runs) == ["sub-01"]
    assert len(converted.naming.runs["sub-01"]) == 6


def test_a_kill_between_two_runs_leaves_a_mark_and_the_next_call_goes_on(
    tmp_path, dicom, monkeypatch
):
    from qsmbids.io import raw_dataset
    from qsmbids.io.dicom import convert_dicom

    for number, (name, part) in enumerate((n, p) for n in "ab" for p in ("mag", "phase")):
        dicom.write_series(
            tmp_path / "in", "siemens", [part], number=number, description=f"qsm{name}"
        )
    (tmp_path / "work").mkdir()
    converted = convert_dicom(tmp_path / "in", tmp_path / "work", participant="01")
    assert len(converted.naming.runs) == 2
    move, bids = raw_dataset.move_run, tmp_path / "bids"
    calls = []

    def killed(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        return move(*args)

    monkeypatch.setattr(raw_dataset, "move_run", killed)
    with pytest.raises(KeyboardInterrupt):
        raw_dataset.place(converted, bids, participant="01")
    assert len(list(bids.rglob("*.nii.gz"))) == 6
    assert incomplete_mark(bids, "01", None).exists()
    monkeypatch.setattr(raw_dataset, "move_run", move)
    images, kept = raw_dataset.place(converted, bids, participant="01")
    assert len(images) == 6
    assert list(kept.values()) == [raw_dataset.ALREADY_THERE]
    assert not incomplete_mark(bids, "01", None).exists()
    assert (bids / "participants.tsv").read_text() == "participant_id\nsub-01\n"


def test_what_lies_in_sourcedata_is_no_run(make_run):
    from qsmbids.io.layout import collect_runs

    root = make_run("sub-01")
    make_run("sub-01_run-2", root=root / "sourcedata" / "raw")
    make_run("sub-02", root=root / "sourcedata")
    runs, problems = collect_runs(root)
    assert [run.label for run in runs] == ["sub-01"]
    assert problems == []
