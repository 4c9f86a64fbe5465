import dataclasses

import numpy as np
import pytest

from qsmbids.errors import InputError, MetadataError
from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.preflight import check_head_size, check_magnitude, check_phase, check_run
from qsmbids.io.write import write_volume

SHAPE = (20, 18, 16)


def _run(root):
    return collect_runs(root)[0][0]


def _check(root, **overrides):
    run = _run(root)
    return check_run(run, read_acquisition(run, **overrides))


def test_a_good_run_has_no_warning(make_run):
    assert _check(make_run()) == []


def _replace(root, echo, part, shape=SHAPE, affine=None):
    path = root / "sub-01" / "anat" / f"sub-01_echo-{echo}_part-{part}_MEGRE.nii.gz"
    default = np.diag([-1.0, 1.0, 2.0, 1.0])
    return write_volume(path, np.ones(shape, np.int16), default if affine is None else affine)


@pytest.mark.parametrize(("echo", "part"), [(1, "phase"), (3, "mag"), (2, "phase")])
def test_shape_of_every_image_is_compared(make_run, echo, part):
    root = make_run()
    path = _replace(root, echo, part, shape=(40, 36, 16))
    with pytest.raises(InputError, match=rf"{path.name}: has the shape .*interpolated"):
        _check(root)


def test_affine_of_every_image_is_compared(make_run):
    root = make_run()
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = 5e-4
    _replace(root, 2, "phase", affine=affine)
    assert _check(root) == []
    affine[0, 3] = 0.5
    path = _replace(root, 2, "phase", affine=affine)
    with pytest.raises(InputError, match=rf"{path.name}: lies elsewhere .*0\.5"):
        _check(root)


def test_damaged_header_is_found(make_run):
    root = make_run()
    path = _replace(root, 2, "phase")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match=path.name):
        _check(root)


@pytest.mark.parametrize("times", [(0.005, 0.005, 0.015), (0.015, 0.01, 0.005)])
def test_echo_times_must_rise(make_run, times):
    with pytest.raises(MetadataError, match=r"do not rise.*ms.*--echo-times"):
        _check(make_run(), echo_times=times)


@pytest.mark.parametrize(
    "metadata",
    [
        {"Units": "Hz"},
        {"ImageType": ["DERIVED", "PRIMARY", "B0 MAP", "B0", "FFE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "FIELDMAPHZ"]},
    ],
)
def test_field_maps_are_no_phase(make_run, metadata):
    with pytest.raises(InputError, match=r"part-phase.*field map in Hz"):
        _check(make_run(**metadata))


def test_image_types_of_real_phase_pass(make_run):
    for image_type in (
        ["ORIGINAL", "PRIMARY", "P", "ND", "PHASE"],
        ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE", "PHASE"],
        "no list",
    ):
        assert _check(make_run(ImageType=image_type)) == []
    warnings = _check(make_run(ImageType=["ORIGINAL", "PRIMARY", "M", "MAGNITUDE"]))
    assert "says magnitude" in warnings[0]


@pytest.mark.parametrize("size", [0.001, 1000.0])
def test_voxels_in_another_unit(make_run, size):
    root = make_run(echoes=1)
    for part in ("mag", "phase"):
        _replace(root, 1, part, affine=np.diag([size, size, size, 1]))
    with pytest.raises(InputError, match="must be mm"):
        _check(root)


def test_poor_data_are_warned_of(make_run):
    root = make_run(echoes=1)
    for part in ("mag", "phase"):
        _replace(root, 1, part, shape=(20, 18, 4), affine=np.diag([0.5, 0.5, 4.0, 1]))
    text = " ".join(_check(root))
    assert "single echo" in text
    assert "4 voxels is thin" in text
    assert "underestimate" in text


def test_parts_of_unequal_length(make_run):
    run = _run(make_run())
    acquisition = read_acquisition(run)
    with pytest.raises(InputError, match="3 and 2 images"):
        check_run(dataclasses.replace(run, phase=run.phase[:2]), acquisition)


def test_real_and_imaginary_parts(make_run):
    (run,), _ = collect_runs(make_run(parts=("real", "imag")), complex_parts=True)
    assert check_run(run, read_acquisition(run)) == []


def test_magnitude_without_signal_is_refused():
    good = np.ones((3, 3, 3), np.float32)
    good[0, 0, 0] = np.nan
    check_magnitude(good, "a.nii")
    for bad, message in [
        (0 * np.ones((3, 3, 3)), "zero everywhere"),
        (np.full((3, 3, 3), np.nan), "no finite value"),
        (np.linspace(-3, 3, 27).reshape(3, 3, 3), "negative"),
    ]:
        with pytest.raises(InputError, match=rf"a\.nii: .*{message}"):
            check_magnitude(bad.astype(np.float32), "a.nii")


def test_constant_phase_is_refused():
    check_phase(np.array([[[0.0, 1.0, np.inf]]], np.float32), "a.nii")
    for bad in (np.zeros((2, 2, 2)), np.full((2, 2, 2), np.nan)):
        with pytest.raises(InputError, match=r"a\.nii"):
            check_phase(bad.astype(np.float32), "a.nii")


def test_affines_that_were_rounded_are_noted(make_run):
    root = make_run()
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = 0.002
    path = _replace(root, 2, "phase", affine=affine)
    (note,) = _check(root)
    assert path.name in note
    assert "0.002 mm" in note
    affine[0, 3] = 0.2  # a fifth of a voxel
    _replace(root, 2, "phase", affine=affine)
    with pytest.raises(InputError, match=r"up to 0\.2 mm apart"):
        _check(root)


def test_a_small_head_needs_a_mask(make_run):
    root = make_run(echoes=1)
    for part in ("mag", "phase"):
        _replace(root, 1, part, affine=np.diag([0.1, 0.1, 0.1, 1]))
    run = _run(root)
    acquisition = read_acquisition(run)
    check_run(run, acquisition)
    with pytest.raises(InputError, match=r"2 x 1\.8 x 1\.6 mm is too small for BET.*--mask"):
        check_head_size(run, acquisition)
    for part in ("mag", "phase"):
        _replace(root, 1, part, affine=np.diag([10.0, 10.0, 1.0, 1]))
    run = _run(root)
    check_head_size(run, read_acquisition(run))
