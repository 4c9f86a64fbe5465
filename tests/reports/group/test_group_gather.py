"""What is gathered, from complete, partial, mixed and damaged outputs."""

import json

import pytest

from qsmbids.io.expected_runs import expected_runs, read_participants
from qsmbids.reports.group.gather import gather
from qsmbids.reports.paper.paper_tables import centre_frequency_table


def _status(study, **options):
    return {r.label: r.status for r in gather(study.out, study.bids, **options).runs}


def test_names_alone_tell_the_runs(study):
    study.raw("sub-2_ses-a_acq-hi_run-1")
    anat = study.bids / "sub-3" / "anat"
    anat.mkdir(parents=True)
    for name in (
        "sub-3_T1w.nii.gz",
        "sub-3_echo-1_part-mag_MEGRE.nii.gz",  # without phase there is no run
        "sub-3_acq-swi_part-mag_T2starw.nii.gz",
        "sub-3_acq-one_part-phase_T2starw.nii",
        "sub-3_acq-ri_echo-2_part-imag_MEGRE.nii.gz",
        "notes_part-phase_MEGRE.nii.gz",
    ):
        (anat / name).touch()
    assert expected_runs(study.bids) == [
        "sub-2_ses-a_acq-hi_run-1",
        "sub-3_acq-one",
        "sub-3_acq-ri",
    ]
    assert expected_runs(study.bids / "nowhere") == []


@pytest.mark.slow
def test_the_names_agree_with_the_full_index(small_dataset):
    from qsmbids.io.layout import collect_runs

    runs, _ = collect_runs(small_dataset)
    assert expected_runs(small_dataset) == [run.label for run in runs]


def test_ok_failed_and_missing(typical):
    found = _status(typical)
    assert found.pop("sub-13") == "failed"
    assert found.pop("sub-14") == "missing"
    assert set(found.values()) == {"ok"}
    run = gather(typical.out, typical.bids, ["13"]).runs[0]
    assert (run.step, run.message) == ("brain extraction", "no brain <b>here</b>")


def test_files_decide_where_the_status_says_something_else(study):
    for label in ("sub-1", "sub-2", "sub-3"):
        study.run(label)
    (study.out / "logs/status/sub-1.json").unlink()  # only files: done elsewhere
    next(study.out.glob("sub-2/anat/*.nii.gz")).unlink()  # only a status: somebody tidied up
    for path in (study.out / "logs/status/sub-3.json", *study.out.glob("sub-3/anat/*Chimap*")):
        path.unlink()  # under way: some outputs, no end yet
    assert _status(study) == {"sub-1": "ok", "sub-2": "missing", "sub-3": "missing"}
    messages = {r.label: r.message for r in gather(study.out, study.bids).runs}
    assert "finished once" in messages["sub-2"]
    assert "may still be running" in messages["sub-3"]


def test_an_interrupted_run_failed_also_with_old_files(study):
    study.run("sub-1")
    study.status("sub-1", status="interrupted", message="stopped before its end")
    assert _status(study) == {"sub-1": "failed"}
    run = gather(study.out, study.bids).runs[0]
    # nobody knows of which attempt they would be
    assert (run.rois, run.references, run.measures) == ([], [], {})


def test_the_summary_serves_where_the_status_files_are_gone(study):
    folder = study.out / "logs"
    folder.mkdir()
    (folder / "summary.json").write_text(
        '{"runs": [{"run": "sub-1", "status": "failed", "message": "x"}, 3, {"run": 4}]}'
    )
    assert _status(study) == {"sub-1": "failed"}


def test_people_without_images_and_people_not_in_the_dataset(study):
    study.run("sub-9")  # its raw data are gone
    (study.bids / "participants.tsv").write_text("participant_id\tage\nsub-1\t3\n7\t4\nn/a\t1\n")
    (study.bids / "sourcedata" / "sub-8").mkdir(parents=True)
    study.status("sub-7", status="failed", message="no DICOM")
    assert _status(study) == {
        "sub-1": "missing", "sub-7": "failed", "sub-8": "missing", "sub-9": "ok",
    }  # fmt: skip
    assert set(read_participants(study.bids)) == {"sub-1", "sub-7"}


def test_a_participant_that_failed_as_a_whole_is_not_also_missing(study):
    study.raw("sub-1_ses-a_run-1")
    study.status("sub-1_ses-a", status="failed", message="the conversion failed")
    assert _status(study) == {"sub-1_ses-a": "failed"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*iqms_stats.json", '{"Measures": {"streaking": 0.0'),
        ("*seg-cit168_desc-csf_stats.tsv", "index\tname\n1\n"),
        ("*references_stats.tsv", "\0\xff"),
        ("*wholebrain_Chimap.json", "[1"),
        ("*acquisition_stats.json", ""),
    ],
)
def test_a_damaged_file_is_left_out_and_named(study, pattern, text):
    study.run("sub-1")
    path = next(study.out.glob(f"sub-1/anat/{pattern}"))
    path.write_bytes(text.encode("latin-1"))
    group = gather(study.out, study.bids)
    assert [r.status for r in group.runs] == ["ok"]
    assert len(group.unreadable) == 1
    assert path.name in group.unreadable[0]


def test_values_that_are_no_numbers_are_no_measures(study):
    study.run("sub-1")
    path = next(study.out.glob("sub-1/anat/*iqms_stats.json"))
    path.write_text('{"Measures": {"a": null, "b": "x", "c": true, "d": 2, "e": NaN}}')
    assert set(gather(study.out, study.bids).runs[0].measures) == {"d"}


def test_labels_select_and_numbers_sort(study):
    for label in ("sub-10_ses-b", "sub-9_ses-a", "sub-9_ses-b"):
        study.run(label, atlas=None)
    assert list(_status(study)) == ["sub-9_ses-a", "sub-9_ses-b", "sub-10_ses-b"]
    assert list(_status(study, participants=["9"])) == ["sub-9_ses-a", "sub-9_ses-b"]
    assert list(_status(study, sessions=["b"])) == ["sub-9_ses-b", "sub-10_ses-b"]


def test_scanners_are_told_apart_by_what_a_run_keeps_of_its_raw_sidecars(study):
    """The file as a run writes it: sidecars of all echoes below one key."""
    for number in range(1, 5):
        label = f"sub-{number:02d}"
        study.run(label)
        path = study.out / label / "anat" / f"{label}_desc-acquisition_stats.json"
        assert path.is_file()
        sidecar = {
            "Manufacturer": "Siemens",
            "ManufacturersModelName": "Prisma",
            "ScannerKey": "aaaa0000" if number < 3 else "bbbb1111",
            "RepetitionTimeExcitation": 0.033,
        }
        echoes = [{**sidecar, "EchoTime": te} for te in (0.005, 0.01)]
        kept = {"Acquisition": {"voxel_size": [1.0, 1.0, 1.0]}, "Sidecars": echoes}
        path.write_text(json.dumps(kept))
    runs = gather(study.out, study.bids).runs
    assert [run.stratum for run in runs] == ["scanner-A"] * 2 + ["scanner-B"] * 2
    assert runs[0].acquisition["EchoTime"] == [0.005, 0.01]  # of the map, not of the last echo
    table = centre_frequency_table(run.acquisition for run in runs)
    assert [row[0] for row in table.rows] == ["Siemens Prisma aaaa0000", "Siemens Prisma bbbb1111"]
