"""Lesions from files to a table under every reference."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmbids.interfaces.lesions import COLUMNS, MeasureLesions
from qsmbids.interfaces.roi import BringSegmentation
from qsmbids.io.nifti import read_volume

SHAPE = (16, 14, 12)
AFFINE = np.diag([2.0, 1.0, 1.5, 1.0])


@pytest.fixture
def measure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def image(name, array):
        nib.save(nib.Nifti1Image(array, AFFINE), f"{name}.nii")
        return str(tmp_path / f"{name}.nii")

    def call(lesions, chi, mask=None, **more):
        every = np.ones(SHAPE, np.uint8)
        brought = BringSegmentation(
            segmentations=[image("given", lesions)], spaces=["MEGRE"], regions=[[]],
            like=image("like", every), may_be_empty=True,
        ).run().outputs  # fmt: skip
        return MeasureLesions(
            labels=brought.labels, mask=image("mask", every if mask is None else mask),
            support=image("support", every), wholebrain=image("wholebrain", chi),
            csf=image("csf", chi - np.float32(0.01)), **more,
        ).run().outputs  # fmt: skip

    return call


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def two_plaques():
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 2:6, 2:6] = 1
    mask[10:13, 8:10, 5:8] = 1
    chi = np.full(SHAPE, -0.03, np.float32)
    chi[2:6, 2:6, 2:6], chi[10:13, 8:10, 5:8] = 0.06, -0.08
    return mask, chi


def test_the_pieces_of_a_mask_under_every_reference(measure):
    mask, chi = two_plaques()
    found = measure(mask, chi)
    table = rows(found.table)
    assert list(table[0]) == list(COLUMNS)
    assert [(r["reference"], r["name"]) for r in table] == [
        (reference, f"lesion{n}") for reference in ("wholebrain", "csf") for n in (1, 2)
    ]
    first, second = table[:2]
    assert (first["n_voxels"], first["volume_mm3"]) == ("64", "192.00")
    assert float(first["mean"]) == pytest.approx(0.06, abs=1e-6)
    assert float(table[2]["mean"]) == pytest.approx(0.05, abs=1e-6)
    assert (second["diamagnetic_share"], second["core_mean"]) == ("1.000000", "n/a")
    np.testing.assert_array_equal(read_volume(found.labels, np.uint8).array > 0, mask > 0)
    assert set(found.record["metadata"]) == set(COLUMNS)
    json.dumps(found.record)


def test_labels_keep_their_numbers_and_names(measure):
    mask, chi = two_plaques()
    found = measure(np.where(chi > 0, 7, mask).astype(np.int16), chi, regions=[(7, "old", "n/a")])
    assert [(r["index"], r["name"]) for r in rows(found.names)] == [("1", "lesion1"), ("7", "old")]


def test_a_head_without_lesions_is_no_mistake(measure):
    found = measure(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32))
    assert rows(found.table) == []
    assert found.record["decisions"] == ["no voxel is a lesion"]


def test_a_lesion_outside_the_mask_is_named(measure):
    mask, chi = two_plaques()
    inside = np.ones(SHAPE, np.uint8)
    inside[10:] = 0
    found = measure(mask, chi, mask=inside)
    assert rows(found.table)[1]["mean"] == "n/a"
    assert "lesion2" in found.record["warnings"][0]
