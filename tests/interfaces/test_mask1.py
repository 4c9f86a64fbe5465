"""Mask 1 of the user, and magnitudes as they come."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.quality.criteria import judge
from qsmbids.errors import InputError
from qsmbids.interfaces.masks import ConformMask, ExtractBrain
from qsmbids.interfaces.prepare_magnitude import PrepareMagnitude
from qsmbids.io.write import write_volume

SHAPE = (24, 26, 22)
AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
RADIUS = np.linalg.norm(np.indices(SHAPE) - np.reshape((11.5, 12.5, 10.5), (3, 1, 1, 1)), axis=0)
HEAD = RADIUS < 9


@pytest.fixture
def conform(tmp_path, monkeypatch):
    """Return a function that takes a mask as Mask 1 and returns it with the record."""
    monkeypatch.chdir(tmp_path)
    magnitude = np.where(HEAD, 900.0, 10.0).astype(np.float32)
    like = write_volume(tmp_path / "like.nii.gz", magnitude, AFFINE)

    def do(mask, affine=AFFINE, **inputs):
        path = write_volume(tmp_path / "mask.nii.gz", mask, affine)
        done = ConformMask(mask=str(path), like=str(like), **inputs).run(cwd=str(tmp_path)).outputs
        return np.asarray(nib.load(done.mask).dataobj) > 0, done.record

    return do


def test_all_parts_of_a_drawn_mask_are_taken_and_counted(conform):
    halves = HEAD.copy()
    halves[11:13] = False
    halves[5, 12, 10] = False
    taken, said = conform(halves.astype(np.uint8))
    np.testing.assert_array_equal(taken, halves)
    assert said["metadata"]["GivenMask"]["Parts"] == 2
    assert said["metadata"]["GivenMask"]["Holes"] == 1
    assert any("2 parts and 1 hole" in text for text in said["decisions"])
    piece, _ = conform(halves.astype(np.uint8), drawn=False)
    assert not piece[13:].any() or not piece[:11].any()


def test_fractions_are_said(conform):
    taken, said = conform(np.clip(1 - RADIUS / 12, 0, 1).astype(np.float32))
    np.testing.assert_array_equal(taken, RADIUS < 6)
    assert said["metadata"]["GivenMask"]["Threshold"] == 0.5
    assert any("above 0.5" in text for text in said["decisions"])


def test_an_inverted_mask_is_refused(conform):
    with pytest.raises(InputError, match=r"mask\.nii\.gz: .*less signal in the mask"):
        conform((~HEAD).astype(np.uint8))


def test_a_mask_by_a_rounded_affine_is_taken_with_a_note(conform):
    moved = AFFINE.copy()
    moved[1, 3] += 0.01
    taken, said = conform(HEAD.astype(np.uint8), moved)
    np.testing.assert_array_equal(taken, HEAD)
    assert any("0.01 mm beside" in text for text in said["decisions"])


def test_a_volume_far_below_a_millilitre_is_said_in_full(conform, tmp_path):
    mouse = np.diag([0.1, 0.1, 0.1, 1.0])
    like = write_volume(tmp_path / "like.nii.gz", np.where(HEAD, 900, 1).astype(np.int16), mouse)
    path = write_volume(tmp_path / "mouse.nii.gz", HEAD.astype(np.uint8), mouse)
    done = ConformMask(mask=str(path), like=str(like)).run(cwd=str(tmp_path)).outputs.record
    volume = np.count_nonzero(HEAD) * 1e-6
    assert done["decisions"][0].endswith(f"{volume:.2g} ml")
    assert done["warnings"] == []
    assert done["metadata"]["LengthScale"] == pytest.approx(2.4 / 200)


def test_no_warning_of_the_size_of_a_mask_that_a_template_may_cut_yet(conform):
    """A brain extraction with the neck may be twice a brain; BrainVolume is of what is left."""
    taken, said = conform((RADIUS < 10.6).astype(np.uint8), drawn=False)
    volume = np.count_nonzero(taken) * 0.512
    assert volume > 2500
    assert said["decisions"][0].endswith(f"{volume:.0f} ml")
    assert said["warnings"] == []
    assert judge("BrainVolume", volume).verdict == "look"


@pytest.mark.slow
def test_brain_extraction_does_not_end_with_a_crumb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rat = np.diag([1.0, 1.0, 1.0, 1.0]) * 0.6
    rat[3, 3] = 1.0
    image = write_volume(tmp_path / "m.nii", np.where(HEAD, 900, 5).astype(np.int16), rat)
    with pytest.raises(InputError, match="--mask"):
        ExtractBrain(magnitude=str(image)).run(cwd=str(tmp_path))


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Return a function that prepares echoes of these magnitudes."""
    monkeypatch.chdir(tmp_path)

    def do(magnitudes):
        files = [
            str(
                write_volume(
                    tmp_path / f"echo-{e}_part-mag.nii", volume.astype(np.float32), AFFINE
                )
            )
            for e, volume in enumerate(magnitudes, 1)
        ]
        done = PrepareMagnitude(magnitude=files).run(cwd=str(tmp_path)).outputs
        return [np.asarray(nib.load(p).dataobj) for p in done.magnitude], done.record

    return do


@pytest.mark.parametrize("unit", [2.0**30, 2.0**-40])
def test_the_unit_of_the_magnitude_does_not_matter(prepare, unit):
    images = [np.where(HEAD, level, 1.0) for level in (1000.0, 700.0)]
    plain, said = prepare(images)
    assert said["metadata"]["MagnitudeScale"] == 1.0
    other, said = prepare([image * unit for image in images])
    scale = said["metadata"]["MagnitudeScale"]
    assert scale * unit == pytest.approx(1.0, rel=0.5)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_array_equal(one * (scale * unit), two)


def test_shallow_negative_magnitudes_are_set_to_zero_and_deep_ones_refused(prepare):
    image = np.where(HEAD, 1000.0, 1.0)
    image[(RADIUS > 9) & (RADIUS < 10)] = -30.0
    done, said = prepare([image, image])
    assert min(volume.min() for volume in done) == 0
    n_below = 2 * int((image < 0).sum())
    assert said["metadata"]["NegativeMagnitudeVoxels"] == n_below
    assert any(f"{n_below} negative values, down to 3 %" in t for t in said["decisions"])
    signed = np.where(HEAD & (np.indices(SHAPE)[0] < 8), -1000.0, image)
    with pytest.raises(InputError, match=r"negative values .*magnitude of the right echo") as bad:
        prepare([signed, signed])
    assert "?." not in str(bad.value)


def test_copied_and_broken_echoes_are_said(prepare):
    images = [np.where(HEAD, level, 1.0) for level in (1000.0, 700.0)]
    _, said = prepare(images)
    assert not said["warnings"]
    _, said = prepare([images[0], images[0]])
    assert "echo-2_part-mag.nii is a copy of echo-1_part-mag.nii" in said["warnings"][0]
    spoilt = images[1].copy()
    spoilt[12, 12, 12] = np.nan
    done, _ = prepare([images[0], spoilt])
    assert [volume[12, 12, 12] for volume in done] == [0, 0]
