"""Whether a run is of 2-D slices."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.slices import is_echo_planar, slice_axis


@pytest.fixture
def single(small_dataset):
    """One echo of the small dataset, with the sidecar that is asked for."""
    runs, _ = collect_runs(small_dataset, filters={"megre": {"echo": ["2"]}})
    (run,) = runs
    acquisition = read_acquisition(run)

    def call(setting="auto", **sidecar):
        extra = {k: v for k, v in acquisition.extra.items() if k != "MRAcquisitionType"}
        own = {k: v for k, v in run.sidecars[0].items() if k != "MRAcquisitionType"}
        return slice_axis(
            replace(run, sidecars=({**own, **sidecar},)),
            replace(acquisition, extra={**extra, **sidecar}),
            setting,
        )

    call.run = run
    return call


@pytest.mark.parametrize(
    ("setting", "sidecar", "axis"),
    [
        ("auto", {}, None),
        ("auto", {"MRAcquisitionType": "3D"}, None),
        ("auto", {"MRAcquisitionType": "2D"}, 2),
        ("auto", {"MRAcquisitionType": "2D", "SliceEncodingDirection": "i-"}, 0),
        ("auto", {"ScanningSequence": "EP\\GR"}, 2),
        ("3d", {"MRAcquisitionType": "2D"}, None),
        ("2d", {"MRAcquisitionType": "3D"}, 2),
    ],
)
def test_setting_and_sidecar_decide(single, setting, sidecar, axis):
    assert single(setting, **sidecar)[0] == axis


def test_jumps_decide_where_the_sidecar_does_not(single, rng):
    path = single.run.phase[0]
    image = nib.load(path)
    turns = rng.integers(0, 4096, image.shape[0])[:, None, None]
    numbers = (np.asarray(image.dataobj).astype(int) + turns) % 4096
    nib.save(nib.Nifti1Image(numbers.astype(np.uint16), image.affine), path)
    axis, text = single()
    assert (axis, "jumps" in text) == (0, True)
    assert single(MRAcquisitionType="3D")[0] is None


@pytest.mark.parametrize(
    ("sidecar", "answer"),
    [
        ({"ScanningSequence": "EP"}, True),
        ({"ScanningSequence": ["EP", "GR"]}, True),
        ({"PulseSequenceType": "Gradient echo EPI"}, True),
        ({"ScanningSequence": "GR"}, False),
        ({"PulseSequenceType": "Multi-echo gradient echo"}, False),
        ({}, False),
    ],
)
def test_echo_planar_by_the_words_of_sidecars(sidecar, answer):
    assert is_echo_planar([sidecar]) is answer
