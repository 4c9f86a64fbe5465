"""Disks that are full or read-only, caches that are damaged, inputs and clocks that change."""

import gzip
import os
import subprocess
import time

import nibabel as nib
import numpy as np
import pytest

from qsmbids.workflows.cache import discard_damaged

# what is damaged here, the tests of killed processes share
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed")]


@pytest.fixture
def mount(tmp_path):
    """Mount a small memory disk, where this process may."""
    folders = []

    def call(size):
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a small disk to fill can only be mounted by root")
        folders.append(folder)
        return folder

    def remount(folder, options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    call.again = remount
    yield call
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("nprocs", ["1", "2"])
def test_a_full_work_disk_is_named_and_the_rerun_completes(job, mount, truth, nprocs):
    disk = mount("6m")
    job.work = disk / "work"
    said = job.run("--nprocs", nprocs).check(1)
    assert "0 ok, 1 failed" in said.last
    message = job.status()["sub-demo"]["message"]
    assert "full" in message
    assert "work" in message
    job.maps()
    mount.again(disk, "size=200m")
    job.run("--nprocs", nprocs).check(0)
    assert job.maps() == truth


def test_a_full_output_disk_is_named_and_the_rerun_completes(job, mount, truth):
    disk = mount("200k")
    job.out = disk / "out"
    said = job.run()
    assert said.code == 1
    assert "full" in said.last or "0 ok, 1 failed" in said.last
    assert "full" in said.text
    assert "Traceback" not in said.text
    job.maps()
    mount.again(disk, "size=50m")
    job.run().check(0)
    assert job.maps() == truth


def test_no_space_at_all_in_the_output(job, mount):
    disk = mount("4k")
    job.out = disk / "out"
    said = job.run().check(1)
    assert "full" in said.last
    assert str(job.out) in said.last


def test_a_read_only_output_is_named(job, mount):
    disk = mount("1m")
    mount.again(disk, "ro")
    job.out = disk / "out"
    said = job.run().check(1)
    assert "read-only" in said.last.lower()
    assert str(disk) in said.last


def test_a_read_only_work_directory_is_named(job, mount):
    disk = mount("1m")
    mount.again(disk, "ro")
    job.work = disk / "work"
    said = job.run().check(2)
    assert "--work-dir" in said.last


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _garbage(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def _empty(path):
    path.write_bytes(b"")


def _foreign(path):
    path.write_bytes(gzip.compress(b"cos\nsystem_that_is_not\n(S'x'\ntR."))


def _deleted(path):
    path.unlink()


DAMAGE = {"truncate": _truncate, "garbage": _garbage, "empty": _empty, "deleted": _deleted}


def test_a_damaged_cache_is_computed_again(finished_source, truth):
    job = finished_source[0]
    victims = {
        "prepare_phase": ("phase_echo-2.nii", _truncate),
        "mask1": ("result_mask1.pklz", _garbage),
        "unwrap_phase": ("phase_echo-3.nii", _deleted),
        "mask3": ("result_mask3.pklz", _empty),
        "remove_background_field": ("result_remove_background_field.pklz", _truncate),
        "reference_chi": ("result_reference_chi.pklz", _foreign),
        "invert_dipole_field": ("chi.nii", _garbage),
        "measure_quality": ("quality.tsv", _garbage),
    }
    for node, (name, damage) in victims.items():
        damage(job.steps()[node] / name)
    said = job.run().check(0)
    for node in victims:
        assert f"{node} is damaged" in said.text
    assert job.maps() == truth


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("seed", range(2))
def test_any_damaged_file_of_the_cache_is_survived(finished_source, truth, damage, seed):
    job = finished_source[0]
    files = [p for f in job.steps().values() for p in f.rglob("*") if p.is_file()]
    chosen = np.random.default_rng(seed).permutation(len(files))[: len(files) // 6]
    for index in chosen:
        DAMAGE[damage](sorted(files)[index])
    job.run().check(0)
    assert job.maps() == truth


def test_clock_skew_neither_stops_nor_repeats(finished_source, truth):
    """Files of a server whose clock is ahead (or far behind) are taken as they are."""
    job = finished_source[0]
    path = job.bids / "sub-demo/anat/sub-demo_echo-1_part-mag_MEGRE.nii.gz"
    before = path.stat()
    try:
        for when in (time.time() + 86400 * 400, 0):
            os.utime(path, (when, when))
            job.run().check(0)
            assert job.maps() == truth
            results = {p: p.stat().st_mtime_ns for p in job.work.rglob("result_*.pklz")}
            job.run().check(0)
            assert {p: p.stat().st_mtime_ns for p in job.work.rglob("result_*.pklz")} == results
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        job.run()


def test_an_input_that_changed_after_a_kill_is_read_again(job, truth):
    job.run(fault="unwrap_phase:kill")
    path = job.bids / "sub-demo/anat/sub-demo_echo-1_part-mag_MEGRE.nii.gz"
    whole = path.read_bytes()
    image = nib.load(path)
    nib.Nifti1Image(np.asarray(image.dataobj) // 2, image.affine).to_filename(path)
    job.run().check(0)
    changed = job.maps()
    assert set(changed) == set(truth)
    assert changed != truth
    path.write_bytes(whole)
    job.run().check(0)
    assert job.maps() == truth


def test_nothing_is_discarded_of_a_whole_cache(finished_source):
    class Graph:
        name = next(finished_source[0].work.glob("qsmbids_*_wf")).name

        def list_node_names(self):
            return [f"sub_demo_wf.{step}" for step in finished_source[0].steps()]

    assert discard_damaged(Graph(), finished_source[0].work) == []
