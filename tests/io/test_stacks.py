"""4-D files of all echoes: found, checked, and split without a change of any number."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsmbids.errors import InputError, MetadataError, OutputError
from qsmbids.io.stacks import echo_names, find_stacks, split_stack
from qsmbids.io.validate import validate_dataset

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
TIMES = [0.005, 0.011, 0.02]


@pytest.fixture
def make(tmp_path, rng):
    """Return a function that writes a pair of 4-D files and returns the root."""

    def write(stem="sub-01_acq-x", shape=(8, 7, 6, 3), times=TIMES, parts=("mag", "phase")):
        words = [w for w in stem.split("_") if w.startswith(("sub-", "ses-"))]
        anat = tmp_path.joinpath("in", *words, "anat")
        anat.mkdir(parents=True, exist_ok=True)
        for part in parts:
            stored = rng.integers(0, 4096, shape).astype(np.uint16)
            image = nib.Nifti1Image(stored, AFFINE)
            image.header.set_slope_inter(2.5, -4096.0)
            image.to_filename(anat / f"{stem}_part-{part}_MEGRE.nii.gz")
            meta = {"MagneticFieldStrength": 3}
            if times is not None:
                meta["EchoTime"] = times
            (anat / f"{stem}_part-{part}_MEGRE.json").write_text(json.dumps(meta))
        return tmp_path / "in"

    return write


def test_the_echoes_are_what_they_were_and_the_dataset_is_valid(make, tmp_path):
    bids, raw = make(), tmp_path / "raw"
    (stack,) = find_stacks(bids)
    images = split_stack(stack, raw)
    assert [path.name for path in images] == [f"{name}.nii.gz" for name in echo_names(stack)]
    for part in ("mag", "phase"):
        whole = nib.load(next(bids.rglob(f"*part-{part}*.nii.gz")))
        for echo in range(3):
            stem = raw / f"sub-01/anat/sub-01_acq-x_echo-{echo + 1}_part-{part}_MEGRE"
            image = nib.load(f"{stem}.nii.gz")
            assert image.get_data_dtype() == np.uint16
            assert (image.dataobj.slope, image.dataobj.inter) == (2.5, -4096.0)
            np.testing.assert_array_equal(np.asarray(image.dataobj), whole.dataobj[..., echo])
            np.testing.assert_array_equal(image.affine, whole.affine)
            sidecar = json.loads(stem.with_name(f"{stem.name}.json").read_text())
            assert sidecar["EchoTime"] == TIMES[echo]
            assert sidecar["MagneticFieldStrength"] == 3
    assert validate_dataset(raw).errors == []
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*.nii.gz")}
    split_stack(stack, raw)
    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*.nii.gz")} == before
    with pytest.raises(OutputError, match="another image"):
        split_stack(stack, raw, echo_times=[0.001, 0.002, 0.003])


def test_only_complete_pairs_of_the_participants_are_found(make):
    make("sub-01_ses-a", parts=("real", "imag"))
    make("sub-02", parts=("phase",))
    make("sub-03_echo-1")
    bids = make("sub-04_ses-b")
    assert [stack.label for stack in find_stacks(bids)] == ["sub-01_ses-a", "sub-04_ses-b"]
    assert [s.label for s in find_stacks(bids, participants=["04"])] == ["sub-04_ses-b"]
    assert find_stacks(bids, sessions=["c"]) == []


def test_echo_times_of_the_command_line(make, tmp_path):
    (stack,) = find_stacks(make(times=None))
    with pytest.raises(MetadataError, match=r"part-phase_MEGRE.nii.gz.*--echo-times"):
        echo_names(stack)
    split_stack(stack, tmp_path / "raw", echo_times=TIMES)
    path = next((tmp_path / "raw").rglob("*echo-2_part-phase_MEGRE.json"))
    assert json.loads(path.read_text())["EchoTime"] == 0.011


@pytest.mark.parametrize(
    ("shape", "error", "says"),
    [
        ((8, 7, 6, 32), MetadataError, "32 volumes for 3 echo times.*receive coils"),
        ((8, 7, 6, 3, 4), InputError, "receive coils.*Combine the coils first"),
        ((8, 7, 6), MetadataError, "1 volumes for 3 echo times"),
    ],
)
def test_coils_are_refused(make, shape, error, says):
    (stack,) = find_stacks(make(shape=shape))
    with pytest.raises(error, match=says):
        echo_names(stack)


def test_a_truncated_file_is_named(make, tmp_path):
    bids = make()
    path = next(bids.rglob("*part-phase*.nii.gz"))
    path.write_bytes(path.read_bytes()[:-300])
    (stack,) = find_stacks(bids)
    with pytest.raises(InputError, match="part-phase_MEGRE"):
        split_stack(stack, tmp_path / "raw")
    assert not list((tmp_path / "raw").rglob("*.nii.gz"))
