"""What unwrapping says of regions that were whole turns off."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.interfaces import field
from qsmbids.interfaces.field import UnwrapPhase

TIMES = [0.005, 0.010]
TURN = 2 * np.pi


@pytest.fixture
def unwrapped(tmp_path, monkeypatch):
    """Return a call that unwraps a ramp, in which growing has lost a turn of one region."""
    monkeypatch.chdir(tmp_path)
    shape = (16, 16, 16)
    ramp = 0.2 * np.arange(16.0)[:, None, None] * np.ones(shape)
    region = np.zeros(shape, bool)
    region[5:11, 5:11, 5:11] = True
    grown = field.unwrap_echoes

    def loses_a_turn(phase, *args, mend=None, **options):
        def then(template):
            wrong = (template - np.float32(TURN) * region).astype(np.float32)
            return wrong if mend is None else mend(wrong)

        return grown(phase, *args, mend=then, **options)

    monkeypatch.setattr(field, "unwrap_echoes", loses_a_turn)

    def write(name, array):
        nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), name)
        return str(tmp_path / name)

    def run(regions):
        phase = [write(f"p{n}.nii", ramp * (n + 1)) for n in range(2)]
        magnitude = [write(f"m{n}.nii", np.ones(shape)) for n in range(2)]
        step = UnwrapPhase(
            phase=phase, measured=phase, magnitude=magnitude, echo_times=TIMES,
            mask=write("mask.nii", np.ones(shape)), regions=regions,
        )  # fmt: skip
        found = step.run().outputs
        return [nib.load(p).get_fdata() for p in found.phase], found.record, ramp, region

    return run


def test_a_region_moved_back_is_told(unwrapped):
    (first, second), record, ramp, region = unwrapped("mended")
    np.testing.assert_allclose(first, ramp, atol=1e-4)
    np.testing.assert_allclose(second, 2 * ramp, atol=1e-4)
    assert record["metadata"]["Unwrapping"]["Regions"] == "mended"
    assert record["metadata"]["Unwrapping"]["MovedVoxels"] == region.sum() == 216
    assert any("216 voxels in 1 region moved" in said for said in record["decisions"])


def test_as_grown_leaves_it(unwrapped):
    (first, second), record, ramp, region = unwrapped("as-grown")
    np.testing.assert_allclose(first - ramp, -TURN * region, atol=1e-4)
    np.testing.assert_allclose(second - 2 * ramp, -2 * TURN * region, atol=1e-4)
    assert record["metadata"]["Unwrapping"]["Regions"] == "as-grown"
    assert "MovedVoxels" not in record["metadata"]["Unwrapping"]
