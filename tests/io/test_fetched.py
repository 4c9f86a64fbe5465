"""Files of which only a stand-in is here."""

import os
import shutil

import pytest

from qsmbids.errors import NotFetchedError
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.layout import collect_runs
from qsmbids.io.nifti_header import read_header

KEY = "MD5E-s32133--0123456789abcdef0123456789abcdef.nii.gz"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 32133\n"


def _annex_link(path):
    path.unlink(missing_ok=True)
    path.symlink_to(f"../../.git/annex/objects/aB/cD/{KEY}/{KEY}")


STAND_INS = {
    "locked": (_annex_link, "datalad get"),
    "unlocked": (lambda path: path.write_text(f"/annex/objects/{KEY}\n"), "datalad get"),
    "link as text": (
        lambda path: path.write_text(f"../../.git/annex/objects/aB/cD/{KEY}/{KEY}"),
        "datalad get",
    ),
    "lfs": (lambda path: path.write_text(LFS), "git lfs pull"),
}


@pytest.mark.parametrize("kind", STAND_INS)
def test_the_command_that_fetches_is_named(make_run, kind):
    make, command = STAND_INS[kind]
    root = make_run()
    image = root / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"
    raise_if_not_fetched(image)
    make(image)
    with pytest.raises(NotFetchedError, match=command):
        read_header(image)


@pytest.mark.parametrize("kind", STAND_INS)
def test_a_sidecar_that_is_not_here_leaves_its_run_out(make_run, kind):
    make, command = STAND_INS[kind]
    make_run("sub-01")
    root = make_run("sub-02")
    make(root / "sub-02/anat/sub-02_echo-2_part-phase_MEGRE.json")
    make(root / "T1w.json")
    runs, (problem,) = collect_runs(root)
    assert [run.subject for run in runs] == ["01"]
    assert problem.left_out
    assert command in problem.message


def test_a_dataset_that_was_not_installed_leaves_its_participant_out(make_run):
    root = make_run("sub-01")
    (root / "sub-02").mkdir()
    _, (problem,) = collect_runs(root)
    assert problem.left_out
    assert "datalad get" in problem.message
    shutil.copy(root / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.json", root / "sub-02")
    _, (problem,) = collect_runs(root)
    assert not problem.left_out


def test_devices_and_pipes_are_not_read(tmp_path):
    endless = tmp_path / "sub-01_echo-1_part-mag_MEGRE.nii.gz"
    endless.symlink_to("/dev/zero")
    pipe = tmp_path / "sub-01_echo-1_part-mag_MEGRE.json"
    os.mkfifo(pipe)
    raise_if_not_fetched([endless, pipe, tmp_path])
