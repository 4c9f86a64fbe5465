"""Maps as DICOM: right numbers at the right place, of the right patient, the same again."""

import datetime

import numpy as np
import pydicom
import pytest

from qsmbids.io.dicom_out.export import export

CHI = "desc-wholebrain_Chimap"
#: Directions of columns, rows and slices in scanner axes (right, anterior, superior).
PLANES = {
    "axial": np.diag([-1.0, -1, 1]),
    "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "left-handed": np.diag([1.0, -1, 1]),
    "reversed": np.diag([-1.0, -1, -1]),
}


def axes(dicom_scan, name):
    turn = {"oblique": (25,), "double-oblique": (25, -40, 10)}.get(name, (0,))
    return dicom_scan.rotation(*turn) @ PLANES.get(name, PLANES["axial"])


@pytest.mark.parametrize("plane", [*PLANES, "oblique", "double-oblique"])
def test_values_lie_where_they_were(dicom_scan, exported, classic_volume, map_volume, plane):
    scan = dicom_scan.Scan(axes=axes(dicom_scan, plane))
    found = exported(scan, dicom_scan.axis_orders()[29])
    places = [d.ImagePositionPatient for d in found.series[f"{CHI}_classic"]]
    values, affine = map_volume(found.series[f"{CHI}_parametric-map"][0], places)
    np.testing.assert_array_equal(values, scan.chi())
    np.testing.assert_allclose(affine, scan.affine, atol=1e-6)
    values, affine = classic_volume(found.series[f"{CHI}_classic"])
    np.testing.assert_allclose(values, 1000 * scan.chi(), atol=0.5001)
    np.testing.assert_allclose(affine, scan.affine, atol=1e-6)


def test_units_windows_and_kinds_of_images(exported):
    found = exported().series
    image = found[f"{CHI}_classic"][0]
    assert (image.RescaleSlope, image.RescaleIntercept, image.RescaleType) == (1, 0, "ppb")
    assert (image.WindowCenter, image.WindowWidth) == (0, 400)
    assert image.ImageType[0] == "DERIVED"
    assert image.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == (
        "[ppb]"
    )
    one = found[f"{CHI}_parametric-map"][0]
    shared = one.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "[ppm]"
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == ("126396", "DCM")
    window = shared.FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (0, pytest.approx(0.4))
    assert one.ImageType[0] == "DERIVED"
    rate = found["R2starmap_classic"][0]
    assert rate.RescaleType == "1/s"
    assert not {"P", "PHASE"} & set(rate.ImageType)


def test_source_images_are_those_of_the_slice(exported):
    """Magnitude and phase of both echoes, as the fixture numbers them."""
    found = exported()
    study, n_slices = found.scan.study, found.scan.shape[2]
    for number, image in enumerate(found.series[f"{CHI}_classic"], 1):
        wanted = {
            f"{study}.{series}.{number + echo * n_slices}" for series in (5, 6) for echo in (0, 1)
        }
        refs = image.SourceImageSequence
        assert {item.ReferencedSOPInstanceUID for item in refs} == wanted
    one = found.series[f"{CHI}_parametric-map"][0]
    third = found.series[f"{CHI}_classic"][2].ImagePositionPatient
    (group,) = (
        group
        for group in one.PerFrameFunctionalGroupsSequence
        if np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, third)
    )
    frame = group.DerivationImageSequence[0]
    refs = {item.ReferencedSOPInstanceUID for item in frame.SourceImageSequence}
    assert refs == {f"{study}.{s}.{3 + e * n_slices}" for s in (5, 6) for e in (0, 1)}
    assert "V-SHARP" in frame.DerivationDescription
    assert len(frame.DerivationDescription) <= 1024
    listed = {item.SeriesInstanceUID for item in one.ReferencedSeriesSequence}
    assert listed == {f"{study}.5", f"{study}.6"}


def test_patient_and_study_are_those_of_the_source(exported):
    found = exported()
    numbers = set()
    for name, objects in found.series.items():
        numbers.add(int(objects[0].SeriesNumber))
        for d in objects:
            assert str(d.PatientName) == "Müller^Jane", name
            assert (d.PatientID, d.PatientBirthDate, d.PatientSex) == (
                "PID-90125",
                "19610203",
                "F",
            )
            assert (d.StudyInstanceUID, d.AccessionNumber) == (found.scan.study, "ACC42")
            assert d.FrameOfReferenceUID == f"{found.scan.study}.1"
            assert not d.SeriesInstanceUID.startswith(found.scan.study)
            assert not d.SOPInstanceUID.startswith(found.scan.study)
    assert len(numbers) == len(found.series)
    assert not numbers & {5, 6}


def test_nothing_is_invented(exported):
    """What the source does not know is empty or absent."""
    tags = {"PatientBirthDate": "", "PatientSex": "", "AccessionNumber": "", "StudyTime": ""}
    for objects in exported(tags=tags).series.values():
        for keyword in (*tags, "EchoTime"):
            assert not objects[0].get(keyword), keyword
        assert "PatientAge" not in objects[0]


def test_values_that_a_library_would_refuse_are_copied(exported, capfd):
    """A sex and a date outside the standard, as old archives have them."""
    with pydicom.config.disable_value_validation():
        found = exported(tags={"PatientSex": "W", "PatientBirthDate": "3.2.1961"})
    for objects in found.series.values():
        assert (objects[0].PatientSex, objects[0]["PatientBirthDate"].value) == ("W", "3.2.1961")
    assert "1961" not in "".join(capfd.readouterr())


def test_made_again_it_is_the_same(exported, tmp_path):
    exported()
    first = {p.relative_to(tmp_path / "dest"): p.read_bytes() for p in files(tmp_path / "dest")}
    forms = ("parametric-map", "classic")
    export(tmp_path / "out", tmp_path / "again", tmp_path / "source", forms=forms)
    again = {p.relative_to(tmp_path / "again"): p.read_bytes() for p in files(tmp_path / "again")}
    assert first == again
    export(tmp_path / "out", tmp_path / "dest", tmp_path / "source", forms=forms)  # in its place
    assert {p.relative_to(tmp_path / "dest") for p in files(tmp_path / "dest")} == set(first)


def test_other_values_have_other_identifiers(exported, dicom_scan, tmp_path):
    before = exported(forms=("classic",)).series[f"{CHI}_classic"][0]
    scan = dicom_scan.Scan()
    scan.chi = lambda: dicom_scan.Scan().chi() + np.float32(0.001)
    scan.write_output(tmp_path / "out")
    export(tmp_path / "out", tmp_path / "new", tmp_path / "source", forms=("classic",))
    after = pydicom.dcmread(tmp_path / "new" / "sub-01" / f"{CHI}_classic" / "0001.dcm")
    assert before.SeriesInstanceUID != after.SeriesInstanceUID
    assert before.SOPInstanceUID != after.SOPInstanceUID


def test_the_time_of_an_object_is_that_of_its_map(exported, tmp_path):
    found = exported()
    image = tmp_path / "out" / "sub-01" / "anat" / f"sub-01_{CHI}.nii.gz"
    made = datetime.datetime.fromtimestamp(int(image.stat().st_mtime))
    one = found.series[f"{CHI}_parametric-map"][0]
    assert (one.ContentDate, one.ContentTime) == (f"{made:%Y%m%d}", f"{made:%H%M%S}")


def test_a_map_that_does_not_fit_has_a_larger_step(dicom_scan, exported, classic_volume):
    scan = dicom_scan.Scan()
    scan.chi = lambda: dicom_scan.Scan().chi() * 500
    found = exported(scan, forms=("classic",)).series[f"{CHI}_classic"]
    values, _ = classic_volume(found)
    step = float(found[0].RescaleSlope)
    assert step > 1
    np.testing.assert_allclose(values, 1000 * scan.chi(), atol=step * 0.501)


def test_only_maps_for_viewers_become_dicom(exported):
    """Steps on the way and what lies in other spaces stay where they are."""
    zeros = np.zeros((12, 10, 8), np.float32)
    more = {"desc-passfilled_Chimap": zeros, "S0map": zeros, "desc-swimip_T2starw": zeros}
    found = exported(forms=("classic",), **more)
    assert set(found.series) == {
        f"{CHI}_classic",
        "R2starmap_classic",
        "desc-swi_T2starw_classic",
        "desc-swimip_T2starw_classic",
    }
    assert found.series["desc-swimip_T2starw_classic"][0].ImageType[2] == "PROJECTION IMAGE"


def files(folder):
    return [p for p in folder.rglob("*") if p.is_file()]
