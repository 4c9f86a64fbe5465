"""Folders and images whose names nearly are right."""

import pytest

from qsmbids.errors import InputError
from qsmbids.io.layout import collect_runs
from qsmbids.io.near_misses import odd_folders


def test_folders_that_are_no_label_are_named(tmp_path):
    odd = ["Sub-02", "sub 03", "sub-01_A", "sub-Anna 2", "sub04", "subject-05"]
    for name in (*odd, "sub-01", "sub-B+2", "subtracted", "sourcedata", "sub-01/ses-pre op"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub-06_notes").write_text("a file")
    assert odd_folders(tmp_path, ["01"]) == [*odd, "sub-01/ses-pre op"]
    assert odd_folders(tmp_path, ["elsewhere"]) == odd


def test_a_participant_by_another_label_is_answered_with_the_rule(make_run, tmp_path):
    root = make_run()
    (root / "sub-01_A").mkdir()
    with pytest.raises(InputError, match=r"sub-01_A, but a label is of letters and digits"):
        collect_runs(root, participants=["01_A"])
    (tmp_path / "other" / "sub_01").mkdir(parents=True)
    with pytest.raises(InputError, match=r"There is sub_01; a label"):
        collect_runs(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("anat/sub-02_echo-1_part-phase_T1w.nii.gz", "echo-1_part-phase_MEGRE"),
        ("anat/sub-02_flip-1_mt-on_echo-2_part-phase_MPM.nii.gz", "echo-2_part-phase_MEGRE"),
        ("swi/sub-02_acq-x_part-real_GRE.nii", "acq-x_echo-1_part-real_MEGRE"),
        ("fmap/sub-02_echo-3_part-phase_MEGRE.nii.gz", "anat/sub-02_echo-3_part-phase_MEGRE"),
        ("ses-1/anat/sub-02_ses-1_gre_phase.nii.gz", "ses-1/anat/sub-02_ses-1_echo-1_part-phase"),
        ("fmap/sub-02_phase2.nii.gz", "part-phase_MEGRE"),
        ("swi/sub-02_part-phase_swi.nii.gz", "part-phase_MEGRE"),
    ],
)
def test_phase_under_another_name_is_named_with_the_right_one(make_run, name, advice):
    root = make_run()
    image = root / "sub-02" / name
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    _, (problem,) = collect_runs(root)
    assert problem.where == "sub-02"
    assert name in problem.message
    assert advice in problem.message
    assert f"qsmbids-convert {root} NEW_DATASET --from-nifti" in problem.message


def test_images_in_no_dataset_are_sent_to_the_converter(tmp_path):
    (tmp_path / "anna").mkdir()
    with pytest.raises(InputError) as empty:
        collect_runs(tmp_path)
    assert "--from-nifti" not in str(empty.value)
    (tmp_path / "anna" / "phase.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=f"qsmbids-convert {tmp_path} NEW_DATASET --from-nifti"):
        collect_runs(tmp_path)


def test_field_maps_are_not_offered(make_run):
    root = make_run()
    image = root / "sub-02/fmap/sub-02_phasediff.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    _, (problem,) = collect_runs(root)
    assert "are field maps" in problem.message
    assert "rename" not in problem.message


def test_files_of_a_mac_are_not_seen(make_run):
    root = make_run()
    for path in list((root / "sub-01/anat").iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7\xb0")
    (root / "._sub-01").write_bytes(b"\0\5\26\7")
    runs, problems = collect_runs(root)
    assert len(runs) == 1
    assert problems == []


def test_magnitude_alone_asks_for_no_qsm_beside_a_pair(make_run):
    make_run("sub-01_rec-a")
    root = make_run("sub-01_rec-b", parts=("mag",))
    runs, (problem,) = collect_runs(root)
    assert [run.label for run in runs] == ["sub-01_rec-a"]
    assert (problem.where, problem.left_out) == ("sub-01_rec-b_MEGRE", True)
    other = make_run("sub-02", parts=("mag",))
    _, (problem,) = collect_runs(other, participants=["02"])
    assert not problem.left_out
