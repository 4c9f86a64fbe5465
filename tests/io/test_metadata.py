import math

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from qsmbids.errors import MetadataError
from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.write import write_volume
from qsmbids.units import GAMMA_BAR_HZ_PER_T


@pytest.fixture
def acquire(make_run):
    """Write a run with some metadata and read it back."""

    def do(overrides=None, echoes=3, **metadata):
        (run,), problems = collect_runs(make_run(echoes=echoes, **metadata))
        assert not problems
        return read_acquisition(run, **(overrides or {}))

    return do


def test_all_of_it(acquire):
    a = acquire(FlipAngle=15, RepetitionTimeExcitation=0.03)
    assert a.echo_times == (0.005, 0.01, 0.015)
    assert (a.b0_tesla, a.centre_frequency_hz) == (3.0, 123.25e6)
    assert a.centre_frequency_source == "ImagingFrequency"
    assert (a.voxel_size, a.matrix) == ((1.0, 1.0, 2.0), (20, 18, 16))
    assert a.n_voxels == math.prod(a.matrix)
    assert (a.b0_direction, a.tilt_degrees) == ((0.0, 0.0, 1.0), 0.0)
    assert (a.manufacturer, a.phase_units) == ("Siemens", "arbitrary")
    assert a.extra == {"FlipAngle": 15, "RepetitionTimeExcitation": 0.03}
    assert a.warnings == ()
    assert "123.25 MHz from ImagingFrequency (2.895 T; nominal 3 T)" in a.decisions[0]


@pytest.mark.parametrize("mhz", [123.25, 127.73, 128.2, 133.0])
def test_frequency_of_real_systems_is_preferred(acquire, mhz):
    assert_allclose(acquire(ImagingFrequency=mhz).centre_frequency_hz, mhz * 1e6)


def test_frequency_in_hertz_by_mistake(acquire):
    assert_allclose(acquire(ImagingFrequency=123.25e6).centre_frequency_hz, 123.25e6)


@pytest.mark.parametrize("mhz", [63.87, 120.0, 51.7, 298.0])
def test_frequency_that_contradicts_the_field_is_refused(acquire, mhz):
    with pytest.raises(MetadataError, match=r"part-phase.*is not the proton.*--field-strength"):
        acquire(ImagingFrequency=mhz)
    a = acquire({"field_strength": 3.0}, ImagingFrequency=mhz)
    assert a.centre_frequency_hz == 3 * GAMMA_BAR_HZ_PER_T
    assert a.centre_frequency_source == "MagneticFieldStrength"
    assert "not used" in a.warnings[0]


def test_frequency_alone_and_field_alone(acquire):
    a = acquire(MagneticFieldStrength=None)
    assert_allclose(a.b0_tesla, 123.25e6 / GAMMA_BAR_HZ_PER_T)
    a = acquire(ImagingFrequency=None, MagneticFieldStrength="7")
    assert (a.b0_tesla, a.centre_frequency_hz) == (7.0, 7 * GAMMA_BAR_HZ_PER_T)
    assert a.centre_frequency_source == "MagneticFieldStrength"


def test_neither_is_an_error_that_names_file_and_option(acquire):
    gone = {"ImagingFrequency": None, "MagneticFieldStrength": None}
    with pytest.raises(MetadataError, match=r"sub-01_echo-1_part-phase_MEGRE.*--field-strength"):
        acquire(**gone)
    assert acquire({"field_strength": 1.5}, **gone).b0_tesla == 1.5


@pytest.mark.parametrize(
    ("stated", "tesla"),
    [(30000, 3), (15000, 1.5), (70000, 7), (28936.2, 2.89362), (3000, 3), (7000, 7), (64, 0.064)],
)
def test_field_in_gauss_or_millitesla(acquire, stated, tesla):
    a = acquire(MagneticFieldStrength=stated, ImagingFrequency=None)
    assert_allclose(a.b0_tesla, tesla)
    assert f"{stated:g}" in a.warnings[0]


@pytest.mark.parametrize("stated", [0, -3, 1e9, "3T", [3], True, float("nan")])
def test_impossible_field(acquire, stated):
    with pytest.raises(MetadataError, match="--field-strength"):
        acquire(MagneticFieldStrength=stated, ImagingFrequency=None)
    assert acquire({"field_strength": 3.0}, MagneticFieldStrength=stated).b0_tesla == 3.0


def test_milliseconds_are_divided_with_a_warning(make_run, tmp_path):
    root = make_run(echoes=2)
    for echo, te in ((1, 0.9), (2, 12.5)):  # an ultrashort first echo is below 1 ms
        for part in ("mag", "phase"):
            name = f"sub-01_echo-{echo}_part-{part}_MEGRE.json"
            (root / "sub-01" / "anat" / name).write_text(
                f'{{"EchoTime": {te}, "MagneticFieldStrength": 3, "Manufacturer": "GE"}}'
            )
    a = read_acquisition(collect_runs(root)[0][0])
    assert_allclose(a.echo_times, (0.0009, 0.0125))
    assert "milliseconds" in a.warnings[0]


@pytest.mark.parametrize(
    "te", [None, "soon", -0.005, 0, 0.8, 5000.0, [0.005, 0.01], float("inf"), True]
)
def test_impossible_echo_time(acquire, te):
    with pytest.raises(MetadataError, match=r"part-phase.*--echo-times"):
        acquire(EchoTime=te)
    assert acquire({"echo_times": [0.004, 0.008, 0.012]}, EchoTime=te).echo_times[0] == 0.004


def test_echo_time_override(acquire):
    a = acquire({"echo_times": (4, 8, 12)})
    assert_allclose(a.echo_times, (0.004, 0.008, 0.012))
    with pytest.raises(MetadataError, match="2 echo times for 3 echoes"):
        acquire({"echo_times": (0.004, 0.008)})


def _tilted(make_run, affine):
    root = make_run(echoes=1)
    for path in (root / "sub-01" / "anat").glob("*.nii.gz"):
        write_volume(path, np.ones((20, 18, 16), np.int16), affine)
    return collect_runs(root)[0][0]


def test_direction_of_b0_follows_the_affine(make_run, rng):
    rotation = Rotation.random(rng=rng).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.7, -0.7, 2.0])
    a = read_acquisition(_tilted(make_run, affine))
    assert_allclose(rotation @ np.diag([1, -1, 1]) @ a.b0_direction, [0, 0, 1], atol=1e-5)
    sideways = read_acquisition(_tilted(make_run, np.eye(4)), b0_direction=(0, 2, 0))
    assert_allclose(sideways.b0_direction, (0, 1, 0), atol=1e-7)
    assert "as requested" in sideways.decisions[-1]
    with pytest.raises(MetadataError, match="no direction"):
        read_acquisition(_tilted(make_run, np.eye(4)), b0_direction=(0, 0, 0))


def test_tilt_is_told_and_axes_in_another_order_are_no_tilt(make_run):
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    a = read_acquisition(_tilted(make_run, tilted))
    assert_allclose(a.tilt_degrees, 20, atol=1e-3)
    assert "20 degrees" in a.warnings[0]
    sagittal = read_acquisition(_tilted(make_run, np.eye(4)[[2, 0, 1, 3]]))
    assert sagittal.tilt_degrees == 0
    assert sagittal.warnings == ()


@pytest.mark.parametrize(
    ("units", "wanted"),
    [
        ("rad", "rad"),
        ("Radians", "rad"),
        ("mrad", "mrad"),
        ("degrees", "degrees"),
        ("Hz", "Hz"),
        ("arbitrary", "arbitrary"),
    ],
)
def test_units(acquire, units, wanted):
    assert acquire(Units=units).phase_units == wanted


def test_units_absent_or_unknown(acquire):
    assert acquire(Units=None).phase_units is None
    a = acquire(Units="furlong")
    assert a.phase_units is None
    assert "furlong" in a.warnings[0]


def test_unknown_manufacturer_is_empty(acquire):
    # the sign of the phase then comes with a warning, see core.phase_sign
    assert acquire(Manufacturer=None).manufacturer == ""


def _with_transforms(make_run, sform, s_code, qform, q_code, **metadata):
    root = make_run(echoes=1, **metadata)
    for path in (root / "sub-01" / "anat").glob("*.nii.gz"):
        image = nib.load(path)
        image.set_sform(sform, s_code)
        image.set_qform(qform, q_code)
        image.to_filename(path)
    return collect_runs(root)[0][0]


@pytest.mark.parametrize(
    ("s_code", "q_code", "tilt", "doubts"),
    [
        (2, 1, 0.0, 1),  # SPM: the sform leads to another image
        (1, 2, 25.0, 1),
        (1, 1, 25.0, 1),  # two that contradict each other
        (4, 1, 0.0, 1),
        (2, 0, 25.0, 0),  # what nibabel writes
        (4, 0, 25.0, 1),
    ],
)
def test_b0_is_along_z_of_the_scanner_alone(make_run, s_code, q_code, tilt, doubts):
    scanner, turned = np.diag([1.0, 1.0, 2.0, 1.0]), np.eye(4)
    turned[:3, :3] = Rotation.from_euler("x", 25, degrees=True).as_matrix() @ scanner[:3, :3]
    a = read_acquisition(_with_transforms(make_run, turned, s_code, scanner, q_code))
    assert_allclose(a.tilt_degrees, tilt, atol=1e-3)
    told = [w for w in a.warnings if "sform" in w or "qform" in w]
    assert len(told) == doubts
    assert all("--b0-dir" in w for w in told)


def test_header_that_contradicts_the_orientation_of_the_scanner(make_run):
    """ImageOrientationPatientDICOM as dcm2niix writes it: row and column of an axial slice."""
    axial = [1, 0, 0, 0, 1, 0]
    coronal = np.array([[1, 0, 0, 0], [0, 0, 2.0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("x", 12, degrees=True).as_matrix()
    for affine, told in ((turned, True), (np.eye(4), False), (coronal, False)):
        run = _with_transforms(make_run, affine, 1, affine, 1, ImageOrientationPatientDICOM=axial)
        warnings = read_acquisition(run).warnings
        assert any("turns the slab by 12.0 degrees" in w for w in warnings) == told
    run = _with_transforms(make_run, turned, 1, turned, 1, ImageOrientationPatientDICOM="axial")
    assert read_acquisition(run).warnings == ()
