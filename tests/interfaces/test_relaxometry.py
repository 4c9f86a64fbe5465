"""R2* is fitted once for the whole image; the map is that of Mask 1."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.interfaces.relaxometry import FitR2Star, MapR2Star

TIMES = [0.004, 0.010, 0.016]


@pytest.fixture
def decay(tmp_path, monkeypatch):
    """Return files of three echoes that decay by 25/s, noise in one corner, and a mask."""
    monkeypatch.chdir(tmp_path)

    def write(name, array):
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0])), name)
        return str(tmp_path / name)

    echoes = [np.full((5, 6, 7), 100 * np.exp(-25 * te), dtype=np.float32) for te in TIMES]
    for echo in echoes:
        echo[0, 0] = 0
    mask = np.zeros((5, 6, 7), dtype=np.uint8)
    mask[0:3] = 1
    files = [write(f"e{n}.nii", echo) for n, echo in enumerate(echoes)]
    return files, write("mask.nii", mask), mask > 0


def test_the_map_is_the_fit_inside_the_mask(decay, tmp_path):
    files, mask_file, mask = decay
    fit = FitR2Star(magnitude=files, echo_times=TIMES, method="loglinear").run().outputs
    (tmp_path / "map").mkdir()
    step = MapR2Star(r2star=fit.r2star, s0=fit.s0, used=fit.used, mask=mask_file, method="auto")
    mapped = step.run(cwd=str(tmp_path / "map")).outputs
    assert nib.load(fit.r2star).get_fdata()[4, 5, 6] == pytest.approx(25, rel=1e-4)
    known = mask.copy()
    known[0, 0] = False
    for path, value in ((mapped.r2star, 25), (mapped.t2star, 0.04), (mapped.s0, 100)):
        values = nib.load(path).get_fdata()
        assert values[known] == pytest.approx(value, rel=1e-4)
        assert not values[~known].any()
    facts = mapped.record["metadata"]
    assert facts["R2StarFit"] == {"Setting": "auto", "Name": "loglinear"}
    assert facts["EstimationAlgorithm"] == "LOGLINEAR"
