"""The steps that take off of a field what no echo tells from it."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.phantom.head import make_phantom, simulate_field
from qsmbids.errors import InputError
from qsmbids.interfaces.single_echo import FlattenOffset
from qsmbids.interfaces.slices import AlignSlices
from qsmbids.io.write import write_volume

VOXEL = (3.0, 3.0, 3.0)


@pytest.fixture
def call(tmp_path):
    """Return a function that runs a step on a field of a small head."""
    phantom = make_phantom((32, 38, 27), VOXEL)
    field = simulate_field(phantom)[0].astype(np.float32)

    def run(step, add=0.0, mask=phantom.mask, **inputs):
        affine = np.diag([*VOXEL, 1.0])
        files = {
            "field": write_volume(tmp_path / "field.nii", field + np.float32(add), affine),
            "mask3": write_volume(tmp_path / "mask3.nii", mask.astype(np.uint8), affine),
        }
        result = step(**{k: str(v) for k, v in files.items()}, **inputs).run(cwd=tmp_path)
        found = nib.load(result.outputs.field).get_fdata()
        assert not found[~mask].any()
        return found, field, mask, result.outputs.record

    return run


def test_breathing_is_named_with_what_it_was(call):
    breath = np.random.default_rng(5).normal(0, 6, 27)
    inputs = {"b0_direction": [0.0, 0.0, 1.0], "axis": 2, "single_echo": False}
    *_, said = call(AlignSlices, breath, **inputs)
    facts = said["metadata"]["SliceField"]
    assert (facts["Removed"], facts["Axis"]) == (True, 2)
    assert 3 < facts["SpreadHz"] < 12
    assert any("breathing" in text for text in said["decisions"])
    still, field, mask, said = call(AlignSlices, **inputs)
    assert said["metadata"]["SliceField"]["Removed"] is False
    np.testing.assert_array_equal(still[mask], field[mask])


def test_an_offset_of_one_echo_is_named_in_hertz(call):
    i, j, k = np.indices((32, 38, 27)) * 3.0
    square = (i - 46) ** 2 + (j - 55) ** 2 + (k - 39) ** 2
    found, field, mask, said = call(FlattenOffset, 0.004 * square)
    facts = said["metadata"]["SingleEchoOffset"]
    assert facts["Name"] == "curvature"
    assert facts["HzPerSquareMm"] == pytest.approx(0.004, abs=4e-4)
    assert any("+10" in text or "+9." in text for text in said["decisions"])
    change = (found - field)[mask]
    assert np.ptp(change) < 0.15 * np.ptp(0.004 * square[mask])


@pytest.mark.parametrize("step", [AlignSlices, FlattenOffset])
def test_an_empty_mask_is_named(call, step):
    inputs = {"b0_direction": [0.0, 0.0, 1.0], "axis": 2, "single_echo": True}
    with pytest.raises(InputError, match=r"mask3.nii.*Check the brain mask"):
        call(step, mask=np.zeros((32, 38, 27), bool), **(inputs if step is AlignSlices else {}))
