"""A T1w image of another field of view, resolution and obliquity, with a known transform."""

from pathlib import Path

import numpy as np
import pytest

from qsmbids.core.maths.resample import resample_image
from qsmbids.core.phantom.head import TISSUES
from qsmbids.errors import ConfigError
from qsmbids.interfaces.registration import RegisterT1w, to_voxel
from qsmbids.interfaces.roi import BringSegmentation
from qsmbids.io.nifti import Volume, read_volume, write_volume
from qsmbids.io.transforms import read_affine, write_affine

#: Contrast of T1w images, by tissue.
T1W = {"greymatter": 60, "whitematter": 100, "csf": 15, "caudate": 70, "putamen": 75,
       "pallidum": 90, "rednucleus": 85, "nigra": 85, "dentate": 80, "vein": 40,
       "calcification": 20, "skull": 15, "scalp": 110}  # fmt: skip


def rotation(degrees, axis):
    angle, turn = np.radians(degrees), np.eye(4)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[one, one] = turn[two, two] = np.cos(angle)
    turn[two, one], turn[one, two] = np.sin(angle), -np.sin(angle)
    return turn


@pytest.fixture(scope="module")
def heads(write_small_dataset, tmp_path_factory):
    """Magnitude, Mask 1 and a T1w image that was moved, with the transform that was made."""
    folder = tmp_path_factory.mktemp("registration")
    bids = write_small_dataset(folder / "bids", shape=(48, 56, 40), voxel_size=(2.0,) * 3)
    truth = bids / "derivatives/truth/sub-demo/anat"
    labels = read_volume(truth / "sub-demo_desc-truth_dseg.nii.gz", np.int32)
    anat = bids / "sub-demo/anat"
    magnitude = anat / "sub-demo_echo-1_part-mag_MEGRE.nii.gz"
    contrast = np.zeros(len(TISSUES), np.float32)
    for tissue in TISSUES:
        contrast[tissue.label] = T1W.get(tissue.name, 0)
    true = rotation(6, 2) @ rotation(-4, 0)
    true[:3, 3] = 4.0, -3.0, 5.0
    # 1.6 x 1.4 x 1.5 mm, oblique by 12 degrees, and larger than the gradient echo
    grid = rotation(12, 1) @ np.diag([1.6, 1.4, 1.5, 1])
    shape = (76, 92, 68)
    centre = labels.affine @ [*(np.array(labels.array.shape) / 2), 1]
    grid[:3, 3] = centre[:3] - grid[:3, :3] @ (np.array(shape) / 2)
    place = Volume(np.zeros(shape), grid, (1.6, 1.4, 1.5))
    matrix = to_voxel(np.linalg.inv(true), place, labels)
    image = resample_image(contrast[labels.array], matrix, shape)
    noise = np.random.default_rng(5).normal(0, 1.5, shape)
    t1w = write_volume(folder / "t1w.nii.gz", np.abs(image + noise).astype(np.float32), grid)
    mask = truth / "sub-demo_label-brain_desc-truth_mask.nii.gz"
    return magnitude, mask, t1w, true


@pytest.fixture
def register(heads, tmp_path, monkeypatch):
    def call(**changed):
        magnitude, mask, t1w, _ = heads
        monkeypatch.chdir(tmp_path)
        images = {"magnitude": str(magnitude), "mask": str(mask), "t1w": str(t1w), **changed}
        return RegisterT1w(**images).run().outputs

    return call


@pytest.mark.slow
def test_the_transform_is_found_and_found_again(heads, register):
    pytest.importorskip("ants")
    found = register()
    matrix = read_affine(Path(found.transform))
    true = heads[-1]
    mask = read_volume(heads[1], np.uint8)
    points = np.argwhere(mask.array)[::50] @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    ends = [points @ m[:3, :3].T + m[:3, 3] for m in (matrix, true)]
    error = np.linalg.norm(ends[0] - ends[1], axis=1)
    said = found.record["metadata"]["Registration"]
    print("error [mm]", error.mean(), error.max(), said)
    assert error.max() < 1.0
    assert said["BrainDice"] > 0.9
    assert said["NormalisedMutualInformation"] > said["NormalisedMutualInformationBefore"] + 0.02
    assert found.record["warnings"] == []
    again = read_affine(Path(register().transform))
    np.testing.assert_array_equal(again, matrix)


@pytest.mark.slow
def test_a_misplaced_brain_is_reported(register, heads, tmp_path):
    pytest.importorskip("ants")
    given = read_volume(heads[2])
    noise = np.random.default_rng(0).random(given.array.shape).astype(np.float32)
    indices = np.moveaxis(np.indices(given.array.shape), 0, -1)
    ball = np.linalg.norm(indices - np.array([20, 30, 20]), axis=-1) < 14
    other = write_volume(tmp_path / "other.nii", (100 * ball + 5 * noise), given.affine)
    said = register(t1w=str(other)).record
    print(said["metadata"]["Registration"])
    assert any("misplaced" in w for w in said["warnings"])


def test_without_antspyx_the_extra_is_named(register, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ants", None)
    with pytest.raises(ConfigError, match=r"qsmbids\[registration\]"):
        register()


@pytest.mark.slow
def test_labels_lie_where_ants_would_put_them(heads, tmp_path, monkeypatch):
    ants = pytest.importorskip("ants")
    magnitude, _, t1w, true = heads
    monkeypatch.chdir(tmp_path)
    given = read_volume(t1w)
    labels = np.digitize(given.array, (20, 50, 80, 105)).astype(np.int32) * 11
    image = write_volume(tmp_path / "labels.nii.gz", labels, given.affine)
    transform = write_affine(tmp_path / "from-T1w_to-MEGRE_mode-image_xfm.txt", true)
    bring = BringSegmentation(
        segmentations=[str(image)], spaces=["T1w"], regions=[[]], like=str(magnitude),
        transform=str(transform),
    )  # fmt: skip
    ours = read_volume(bring.run().outputs.labels[0], np.int32).array
    theirs = ants.apply_transforms(
        ants.image_read(str(magnitude)), ants.image_read(str(image)), [str(transform)],
        interpolator="genericLabel",
    ).numpy()  # fmt: skip
    agree = np.mean(ours == np.rint(theirs))
    print("agreement with ANTs", agree)
    assert agree > 0.97
