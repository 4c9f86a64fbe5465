"""What is said of phase too steep to be unwrapped, and that background removal leaves it out."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.masks.masking import erode_rim
from qsmbids.interfaces.background import RemoveBackgroundField
from qsmbids.interfaces.masks import FindUnsureRim
from qsmbids.methods.background_field import BACKGROUND

SHAPE = (24, 26, 22)
TURN = 200.0


@pytest.fixture
def head(tmp_path, monkeypatch):
    """Return a call that writes a ball with a field, and the files of its volumes."""
    monkeypatch.chdir(tmp_path)
    r = np.indices(SHAPE) - np.reshape([n // 2 for n in SHAPE], (3, 1, 1, 1))
    ball = (r**2).sum(axis=0) <= 81

    def write(**volumes):
        for name, volume in volumes.items():
            kind = np.uint8 if volume.dtype == bool else np.float32
            nib.save(nib.Nifti1Image(volume.astype(kind), np.diag([9.0, 9, 9, 1])), f"{name}.nii")
        return {name: str(tmp_path / f"{name}.nii") for name in volumes}

    return ball, write


def _found(head, field, erode=1):
    ball, write = head
    files = write(field=field, mask2=ball, mask3=ball)
    out = FindUnsureRim(**files, turn_hz=TURN, erode_before=erode).run().outputs
    return np.asarray(nib.load(out.unsure).dataobj) > 0, out.record


def test_a_cap_that_is_a_turn_off_is_told_and_left_out(head):
    ball, write = head
    eroded = erode_rim(ball, 1)
    cap = eroded & (np.indices(SHAPE)[0] >= 19) & (np.indices(SHAPE)[1] >= 13)
    field = 3.0 * np.indices(SHAPE)[1] + TURN * cap
    unsure, record = _found(head, field)
    assert unsure[cap].all()
    about = record["metadata"]["UnsureRim"]
    assert about["Voxels"] == np.count_nonzero(unsure)
    assert about["Setting"] == "removed"
    assert about["Removed"]
    assert f"{about['Voxels']} voxels" in record["decisions"][0]
    assert not any(record["warnings"])

    files = write(field=field, weights=np.ones(SHAPE), mask2=ball, mask3=ball, unsure=unsure)
    removal = {"method": "vsharp", "settings": vars(BACKGROUND["vsharp"].settings())}
    removal |= {"b0_direction": [0.0, 0.0, 1.0]}
    out = RemoveBackgroundField(**files, **removal).run().outputs
    mask4, local = (np.asarray(nib.load(f).dataobj) for f in (out.mask4_filled, out.local_field))
    assert mask4.any()
    assert not mask4[unsure].any()
    # a linear field is all background, and the turn has not been spread
    assert np.abs(local).max() < 1


def test_a_step_that_erosion_takes_anyway_is_not_counted(head):
    ball, _ = head
    field = TURN * (ball & ~erode_rim(ball, 1) & (np.indices(SHAPE)[0] >= 20))
    assert not _found(head, field)[0].any()
    assert _found(head, field, erode=0)[0].any()


def test_nothing_is_said_of_a_smooth_field(head):
    unsure, record = _found(head, 3.0 * np.indices(SHAPE)[1])
    assert not unsure.any()
    assert not any(record["decisions"])
    assert record["metadata"]["UnsureRim"]["Voxels"] == 0


@pytest.mark.parametrize(("first", "removed"), [(18, True), (13, False)])
def test_much_of_a_mask_is_left_out_with_a_warning_and_too_much_is_not(head, first, removed):
    unsure, record = _found(head, TURN * (np.indices(SHAPE)[0] >= first))
    assert unsure.any() == removed
    assert record["metadata"]["UnsureRim"]["Removed"] == removed
    assert ("too many" in record["warnings"][0]) != removed
    assert "look at the total field" in record["warnings"][0]
