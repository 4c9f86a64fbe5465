"""Segmentations on the grid of a run, and the tables of their regions."""

import csv
from pathlib import Path

import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.interfaces.roi import BringSegmentation, MeasureRois
from qsmbids.interfaces.roi_table import COLUMNS
from qsmbids.io.nifti import read_volume
from qsmbids.io.transforms import write_affine
from qsmbids.io.write import write_volume

SHAPE = (12, 10, 8)
AFFINE = np.array([[2.0, 0, 0, -5], [0, 2, 0, 3], [0, 0, 2, 1], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def labels():
    array = np.zeros(SHAPE, np.int32)
    array[2:5, 2:8, 2:6] = 11
    array[7:10, 2:8, 2:6] = 5000
    return array


def _image(name, array, affine=AFFINE):
    return str(write_volume(Path(name).resolve(), array, affine))


def _bring(path, **changed):
    options = {
        "segmentations": [path], "spaces": ["MEGRE"], "regions": [[]],
        "like": _image("like.nii", np.ones(SHAPE, np.float32)), **changed,
    }  # fmt: skip
    return BringSegmentation(**options).run().outputs


def test_flipped_axes_are_put_right(labels):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = SHAPE[0] - 1
    found = _bring(_image("seg.nii", labels[::-1], AFFINE @ flip), regions=[[(11, "one", "L")]])
    np.testing.assert_array_equal(read_volume(found.labels[0], np.int32).array, labels)
    assert Path(found.tables[0]).read_text() == "index\tname\n11\tone\n5000\tlabel5000\n"


def test_a_moved_head_is_moved_back(labels):
    """The T1w grid is finer and turned by a quarter; the head moved by whole voxels."""
    true = np.eye(4)
    true[:3, 3] = 4, -2, 6
    turned = np.zeros((4, 4))
    turned[0, 1], turned[1, 0], turned[2, 2], turned[3, 3] = -1, 1, 1, 1
    turned[:3, 3] = 30, -8, -2
    rows = np.indices((45, 45, 40)).reshape(3, -1)
    world = turned[:3, :3] @ rows + turned[:3, 3:]
    back = np.linalg.inv(AFFINE) @ np.linalg.inv(true) @ np.vstack([world, np.ones(rows.shape[1])])
    index = np.floor(back[:3] + 0.5 + 1e-9).astype(int)
    inside = ((index >= 0) & (index < np.array(SHAPE)[:, None])).all(axis=0)
    t1w = np.zeros((45, 45, 40), np.int32)
    t1w.reshape(-1)[inside] = labels[tuple(index[:, inside])]
    path = _image("seg.nii", t1w, turned)
    transform = write_affine(Path("xfm.txt").resolve(), true)
    found = _bring(path, spaces=["T1w"], transform=str(transform))
    np.testing.assert_array_equal(read_volume(found.labels[0], np.int32).array, labels)
    assert found.record["metadata"]["SegmentationTransform"] == "xfm.txt"
    same = _bring(path, spaces=["T1w"], identity=True)
    moved = read_volume(same.labels[0], np.int32).array
    np.testing.assert_array_equal(moved[2:, :-1, 3:], labels[:-2, 1:, :-3])


def test_what_cannot_be_brought(labels):
    with pytest.raises(InputError, match="Resample it"):
        _bring(_image("seg.nii", labels[1:]))
    with pytest.raises(InputError, match="--t1w-transform"):
        _bring(_image("seg.nii", labels), spaces=["T1w"])
    with pytest.raises(InputError, match="nearest neighbour"):
        _bring(_image("seg.nii", labels * 0.3))
    far = AFFINE.copy()
    far[0, 3] = 500
    with pytest.raises(InputError, match="no region lies where the run is"):
        _bring(_image("seg.nii", labels, far), spaces=["T1w"], identity=True)


def test_labels_that_are_lost_are_named(labels):
    labels[labels == 5000] = 0
    labels[0, 0, 0] = 77
    shifted = AFFINE.copy()
    shifted[0, 3] -= 4
    found = _bring(_image("seg.nii", labels, shifted), spaces=["T1w"], identity=True)
    assert any("77" in warning for warning in found.record["warnings"])


@pytest.fixture
def measure(labels, rng):
    chi = rng.normal(0, 0.05, SHAPE).astype(np.float32)
    mask = np.ones(SHAPE, bool)
    mask[3] = False
    support = np.ones(SHAPE, bool)
    support[4, 2] = False
    chi[~(mask & support)] = 0

    def call(**changed):
        options = {
            "labels": [_image("labels.nii", labels)], "names": ["x"],
            "regions": [[(11, "Left-Caudate", "L"), (3, "nowhere", "n/a")]],
            "only_named": [False], "mask": _image("mask.nii", mask),
            "support": _image("support.nii", support),
            "wholebrain": _image("wholebrain.nii", chi), "csf": _image("csf.nii", chi - 0.02),
            **changed,
        }  # fmt: skip
        return MeasureRois(**{k: v for k, v in options.items() if v is not None}).run().outputs

    call.chi, call.inside = chi, mask & support
    return call


def _rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_number_of_the_table(measure, labels):
    found = measure()
    rows = _rows(found.wholebrain[0])
    assert list(rows[0]) == list(COLUMNS)
    assert [(r["index"], r["name"], r["hemisphere"]) for r in rows] == [
        ("11", "Left-Caudate", "L"), ("3", "nowhere", "n/a"), ("5000", "label5000", "n/a"),
    ]  # fmt: skip
    values = measure.chi[(labels == 11) & measure.inside].astype(np.float64)
    first = rows[0]
    assert (first["n_voxels"], first["n_mask4"]) == ("72", str(values.size))
    assert values.size == 72 - 24 - 4
    assert first["fraction_excluded"] == f"{28 / 72:.6f}"
    low, q1, median, q3, high = np.percentile(values, (5, 25, 50, 75, 95))
    expected = {
        "mean": values.mean(), "std": values.std(), "median": median, "iqr": q3 - q1,
        "mad": np.median(np.abs(values - median)), "p05": low, "p95": high,
    }  # fmt: skip
    assert {k: first[k] for k in expected} == {k: f"{v:.6f}" for k, v in expected.items()}
    empty = rows[1]
    assert (empty["n_voxels"], empty["n_mask4"]) == ("0", "0")
    assert {empty[k] for k in ("fraction_excluded", *expected)} == {"n/a"}
    assert first["volume_mm3"] == f"{72 * 8:.2f}"
    assert first["standard_error"] != "n/a"
    assert {first[k] for k in first if k.startswith("r2star")} == {"n/a"}  # there is no such map
    shifted = float(_rows(found.csf[0])[0]["mean"]) - float(first["mean"])
    assert shifted == pytest.approx(-0.02, abs=2e-6)


#: Of simulated errors, and how many times those the errors of the map are.
LEVELS, FACTOR = (0.010, 0.014, 0.006, 0.010), 1.7


@pytest.fixture
def errors(labels):
    """Errors that are alike in a whole region: their spread is chance, their mean is bias."""
    return [
        _image(f"error{n}.nii", np.where(labels == 11, level, 1e-9).astype(np.float32))
        for n, level in enumerate(LEVELS)
    ]


def _bias_of_map(measure, labels, where):
    """Return the bias of a map in some voxels, relative to all, as ``error_of_means`` has it."""
    twins = np.where(labels == 11, np.mean(LEVELS), 0)
    twins = twins - twins.mean()
    where = where & measure.inside
    wide = (4 * where.mean() * (1 - where.mean())) ** 2
    part = 1.15 * wide + 0.54 * (FACTOR - 1) * (1 - wide)
    return part * FACTOR * twins[where].mean()


def test_intervals_are_those_of_the_simulated_errors(measure, labels, errors):
    elsewhere = _image("elsewhere.nii", (labels != 11).astype(np.uint8))
    found = measure(errors=errors, error_factor=FACTOR, reference_wholebrain=elsewhere)
    first, empty, other = _rows(found.wholebrain[0])
    bias = float(first["error_bias"])
    region, rest = (_bias_of_map(measure, labels, w) for w in (labels == 11, labels != 11))
    assert bias == pytest.approx(region - rest, rel=0.01)
    low, high = (float(first[f"error_{end}"]) for end in ("low", "high"))
    # a map that shows too much by its bias is of a head that has less
    assert (low + high) / 2 == pytest.approx(float(first["mean"]) - bias, abs=2e-6)
    chance = np.std(LEVELS, ddof=1) * np.sqrt(1 + 1 / len(LEVELS))
    most = np.sqrt(1.2 * np.mean(np.square(LEVELS)))  # what twins lack
    assert 1.96 * chance < (high - low) / 2 < 1.96 * (chance + most + 0.1 * bias)
    assert {empty[name] for name in ("error_low", "error_high", "error_bias")} == {"n/a"}
    assert abs(float(other["error_bias"])) < 0.1 * bias  # a region in the reference
    assert float(other["error_low"]) <= float(other["mean"]) <= float(other["error_high"])
    assert "error_low" not in _rows(found.csf[0])[0]  # where that is, is not known
    assert "95 %" in found.record["metadata"]["error_low"]["Description"]


def test_intervals_under_another_reference_hold_the_error_of_that(measure, labels, errors):
    """In the reference itself nothing is unsure, and all that the others have is its error."""
    found = measure(
        errors=errors,
        error_factor=FACTOR,
        reference_csf=_image("csf_region.nii", (labels == 11).astype(np.uint8)),
    )
    first, _, other = _rows(found.csf[0])
    assert first["error_low"] == first["error_high"] == first["mean"]
    bias = float(other["error_bias"])
    region, its = (_bias_of_map(measure, labels, labels == n) for n in (5000, 11))
    assert bias == pytest.approx(region - its, rel=0.01)
    low, high = (float(other[f"error_{end}"]) for end in ("low", "high"))
    assert (low + high) / 2 == pytest.approx(float(other["mean"]) - bias, abs=2e-6)
    assert (high - low) / 2 > 1.96 * np.std(LEVELS, ddof=1)
    assert "error_low" not in _rows(found.wholebrain[0])[0]


def test_what_is_said_about_the_columns_and_the_regions(measure):
    said = measure(names=["nuclei"]).record
    assert set(said["metadata"]) == set(COLUMNS)
    assert all(column["Description"] for column in said["metadata"].values())
    assert said["metadata"]["mean"]["Units"] == said["metadata"]["mad"]["Units"] == "ppm"
    assert said["decisions"] == ["regions of nuclei: 2 of 3 measured inside Mask 4"]
    assert said["warnings"] == []


def test_a_region_that_is_mostly_lost_is_reported(measure, labels):
    mask = np.ones(SHAPE, bool)
    mask[2:4] = False
    (warning,) = measure(mask=_image("other.nii", mask)).record["warnings"]
    assert "Left-Caudate" in warning
    assert "label5000" not in warning


def test_thick_regions_are_measured_without_their_rim_also_in_r2star(measure, labels):
    chi = np.zeros(SHAPE, np.float32)
    big = np.zeros(SHAPE, np.int32)
    big[1:11, 1:9, 1:7] = 11
    chi[big == 11] = 0.02  # half tissue
    core = np.zeros(SHAPE, bool)
    core[2:10, 2:8, 2:6] = True
    chi[core] = 0.1
    whole = np.ones(SHAPE, bool)
    options = {
        "labels": [_image("big.nii", big)], "only_named": [True],
        "mask": _image("all.nii", whole), "support": _image("all.nii", whole),
        "wholebrain": _image("chi.nii", chi), "csf": None,
        "r2star": _image("r2star.nii", 20 + 100 * chi),
    }  # fmt: skip
    inner = _rows(measure(thick=[[11]], **options).wholebrain[0])[0]
    plain = _rows(measure(**options).wholebrain[0])[0]
    assert (inner["eroded"], inner["n_eroded"]) == ("yes", str(core.sum()))
    assert (plain["eroded"], plain["n_eroded"]) == ("no", str(core.sum()))
    assert (inner["n_voxels"], inner["n_mask4"]) == ("480", "480")
    assert float(inner["mean"]) == pytest.approx(0.1)
    assert float(inner["r2star_mean"]) == pytest.approx(30)
    assert float(plain["mean"]) == pytest.approx((core.sum() * 0.1 + 288 * 0.02) / 480)


def test_without_a_template_that_fits_there_are_no_tables(measure):
    found = measure(labels=None)
    assert not isinstance(found.wholebrain, list)


def test_without_fluid_there_is_no_table_of_it(measure):
    assert not isinstance(measure(csf=None).csf, list)


def test_labels_without_a_name_can_be_left_out(measure):
    assert len(_rows(measure(only_named=[True]).wholebrain[0])) == 2
