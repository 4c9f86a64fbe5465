"""Regions of interest through the real command line."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from qsmbids.core.maths.resample import resample_labels
from qsmbids.interfaces.registration import to_voxel
from qsmbids.io.nifti import Volume, read_volume, write_volume
from qsmbids.io.transforms import read_affine, write_affine
from qsmbids.io.validate import validate_dataset

ANAT = Path("sub-demo/anat")


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _moved(attempt, folder):
    """Write the segmentation on an oblique grid of a head that has moved, and the transform."""
    image = attempt.truth / ANAT / "sub-demo_desc-truth_dseg.nii.gz"
    given = read_volume(image, np.int32)
    true = np.eye(4)
    angle = np.radians(8)
    true[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    true[:3, 3] = 3, -4, 2
    affine = np.diag([1.25, 1.25, 1.25, 1])
    affine[:3, 3] = given.affine[:3, 3] - 12
    place = Volume(np.zeros(1), affine, (1.25,) * 3)
    labels = resample_labels(
        given.array, to_voxel(np.linalg.inv(true), place, given), (96, 108, 84)
    )
    path = write_volume(folder / "sub-demo_space-T1w_seg-moved_dseg.nii.gz", labels, affine)
    table = image.with_name("sub-demo_desc-truth_dseg.tsv")
    shutil.copyfile(table, folder / "sub-demo_space-T1w_seg-moved_dseg.tsv")
    transform = folder / "sub-demo_from-T1w_to-MEGRE_mode-image_xfm.txt"
    return path, write_affine(transform, true)


@pytest.mark.slow
def test_nuclei_equal_those_of_numpy_on_the_map_and_the_page_shows_them(attempt, tmp_path):
    moved, transform = _moved(attempt, tmp_path)
    code, _, said = attempt(
        "--segmentation", attempt.truth, "--segmentation", moved, "--t1w-transform", transform
    )
    assert code == 0, said
    assert "regions of truth: 11 of 13 measured inside Mask 4" in said
    out = attempt.out / ANAT
    labels = read_volume(out / "sub-demo_seg-truth_dseg.nii.gz", np.int32).array
    mask = read_volume(out / "sub-demo_label-brain_desc-mask4noholes_mask.nii.gz", bool).array
    for reference in ("wholebrain", "csf"):
        chi = read_volume(out / f"sub-demo_desc-{reference}_Chimap.nii.gz").array
        rows = _rows(out / f"sub-demo_seg-truth_desc-{reference}_stats.tsv")
        assert len(rows) == 13
        for row in rows:
            region = labels == int(row["index"])
            values = chi[region & mask].astype(np.float64)
            assert (int(row["n_voxels"]), int(row["n_mask4"])) == (region.sum(), values.size)
            if values.size == 0:
                assert row["mean"] == row["p95"] == "n/a"
                assert row["fraction_excluded"] == "1.000000"
                continue
            for name, value in (
                ("mean", values.mean()), ("std", values.std()), ("median", np.median(values)),
                ("p05", np.percentile(values, 5)),
                ("fraction_excluded", 1 - values.size / region.sum()),
            ):  # fmt: skip
                assert float(row[name]) == pytest.approx(value, abs=6e-7), (row["name"], name)
        sidecar = json.loads((out / f"sub-demo_seg-truth_desc-{reference}_stats.json").read_text())
        assert all(sidecar[column]["Description"] for column in rows[0])
        assert sidecar["mean"]["Units"] == "ppm"
        assert "bids::sub-demo/anat/sub-demo_seg-truth_dseg.nii.gz" in sidecar["Sources"]

    # the other segmentation came back from another space
    back = read_volume(out / "sub-demo_seg-moved_dseg.nii.gz", np.int32).array
    assert np.mean(back[mask] == labels[mask]) > 0.93
    straight, returned = (
        {r["name"]: float(r["mean"]) for r in rows if r["mean"] != "n/a"}
        for rows in (
            _rows(out / f"sub-demo_seg-{s}_desc-wholebrain_stats.tsv") for s in ("truth", "moved")
        )
    )
    for name in ("caudate", "putamen", "pallidum"):
        assert returned[name] == pytest.approx(straight[name], abs=0.012)
    assert (out / "sub-demo_seg-moved_dseg.tsv").read_text().startswith("index\tname\n1\t")

    page = (attempt.out / "sub-demo.html").read_text("utf-8")
    mean = next(
        r for r in _rows(out / "sub-demo_seg-truth_desc-csf_stats.tsv") if r["index"] == "6"
    )
    assert f"{float(mean['mean']):+.4f} ± {float(mean['std']):.4f}" in page
    assert "Susceptibility of the reference regions" in page
    strict = tmp_path / "strict.json"  # nothing is ignored here
    strict.write_text('{"ignore": [], "warning": [], "error": []}')
    result = validate_dataset(attempt.out, strict, all_modalities=True)
    assert [str(issue) for issue in result.errors] == []


def test_what_is_wrong_is_said_before_anything_is_computed(attempt, tmp_path, monkeypatch):
    moved, transform = _moved(attempt, tmp_path)
    code, _, said = attempt("--segmentation", moved, "--dry-run")
    assert "is not on the run's grid" in said
    assert "--t1w-transform" in said
    code, _, said = attempt("--segmentation", moved, "--t1w-transform", transform, "--dry-run")
    assert code == 0
    assert f"moved ({moved.name}, by {transform.name}, names: sub-demo_space-T1w" in said
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (attempt.bids / ANAT / "sub-demo_T1w.nii.gz").write_bytes(moved.read_bytes())
    code, _, said = attempt("--segmentation", moved, "--t1w", "auto", "--dry-run")
    assert "pip install qsmbids[registration]" in said
    code, _, said = attempt("--segmentation", moved, "--t1w-transform", moved, "--dry-run")
    assert "is no ITK transform file" in said
    code, _, said = attempt("--t1w", "auto")
    assert code == 2
    assert "--segmentation" in said
    code, _, said = attempt(
        "--segmentation", moved, "--segmentation", moved, "--t1w-transform", "identity"
    )
    assert "several segmentations are called 'moved'" in said
    assert not (attempt.out / ANAT).exists()


@pytest.mark.slow
def test_a_t1w_image_is_registered_and_its_segmentation_brought_along(attempt, tmp_path):
    pytest.importorskip("ants")
    moved, transform = _moved(attempt, tmp_path)
    labels = read_volume(moved, np.int32)
    contrast = np.array([0, 60, 100, 15, 70, 75, 90, 85, 85, 80, 40, 20, 15, 110], np.float32)
    noise = np.random.default_rng(3).normal(0, 1, labels.array.shape)
    image = np.abs(contrast[labels.array] + noise).astype(np.float32)
    write_volume(attempt.bids / ANAT / "sub-demo_T1w.nii.gz", image, labels.affine)
    code, _, said = attempt("--segmentation", moved, "--t1w", "auto")
    assert code == 0, said
    assert "T1w image registered" in said
    out = attempt.out / ANAT
    back = read_volume(out / "sub-demo_seg-moved_dseg.nii.gz", np.int32).array
    true = read_volume(attempt.truth / ANAT / "sub-demo_desc-truth_dseg.nii.gz", np.int32).array
    brain = (true > 0) & (true < 12)
    assert np.mean(back[brain] == true[brain]) > 0.9
    found = read_affine(out / "sub-demo_from-T1w_to-MEGRE_mode-image_xfm.txt")
    np.testing.assert_allclose(found, read_affine(transform), atol=0.5)
    sidecar = json.loads((out / "sub-demo_seg-moved_dseg.json").read_text())
    assert sidecar["Registration"]["BrainDice"] > 0.85
    assert sidecar["Warnings"] == []
