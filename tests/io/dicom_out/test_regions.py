"""Segmentations and tables of regions: coded anatomy, units, references between the objects."""

import numpy as np
import pytest

from qsmbids.io.dicom_out.anatomy import anatomy_of, own_code, side_of
from qsmbids.io.segmentation_labels import Region, freesurfer_regions, hemisphere_of
from qsmbids.io.template import template_regions


def region(name):
    return Region(1, name, hemisphere_of(name))


@pytest.mark.parametrize(
    ("name", "code", "side"),
    [  # SNOMED CT as PS3.16 lists it for the brain (CID 7140, CID 7153)
        ("Left-Caudate", "11000004", "Left"),
        ("caudate_R", "11000004", "Right"),
        ("Right-Pallidum", "14738005", "Right"),
        ("globus pallidus", "14738005", None),
        ("Left-Thalamus-Proper", "42695009", "Left"),
        ("Putamen", "89278009", None),
        ("lh_substantia_nigra", "70007007", "Left"),
        ("Left-Cerebral-White-Matter", "68523003", "Left"),
        ("Left-Accumbens-area", "427667007", "Left"),
        ("RedNucleus", "UBERON:0001947", None),
        ("pallidum-external-left", "UBERON:0002476", "Left"),
        ("pallidum-internal-right", "UBERON:0002477", "Right"),
        ("ventricle-csf-left", "65216001", "Left"),
    ],
)
def test_structures_have_public_codes(name, code, side):
    one = region(name)
    assert anatomy_of(one)[1].value == code
    assert (side_of(one).meaning if side_of(one) else None) == side


def test_every_structure_of_freesurfer_and_of_the_template_has_one():
    assert all(anatomy_of(one)[2] for one in (*freesurfer_regions(), *template_regions()))


@pytest.mark.parametrize("name", ["label7", "brainstem nuclei left over", "redness", "veinlike"])
def test_what_is_not_known_is_not_guessed(name):
    _, concept, public = anatomy_of(region(name))
    assert not public
    assert concept.scheme == "99QSMBIDS"
    assert len(concept.value) <= 16


def test_long_names_that_begin_alike_stay_apart():
    first, second = (own_code(f"anterior limb of the internal capsule {n}") for n in "ab")
    assert first.value != second.value


@pytest.fixture
def with_regions(dicom_scan, exported, tmp_path):
    """Export two regions, one of them without a voxel in Mask 4, and one that is nowhere."""
    scan = dicom_scan.Scan(axes=dicom_scan.rotation(20, 15) @ dicom_scan.LPS)
    labels = np.zeros(scan.shape, np.int16)
    labels[2:5, 2:6, 3:6] = 11
    labels[8:10, 2:4, 1:3] = 300
    support = np.zeros(scan.shape, np.uint8)
    support[2:5, 2:6, 3:5] = 1
    anat = tmp_path / "out" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_seg-a_dseg.tsv").write_text(
        "index\tname\n11\tLeft-Caudate\n12\tLeft-Putamen\n300\tKörper X\n"
    )
    head = "index\tname\themisphere\tn_voxels\tn_mask4\tfraction_excluded\tmean\tstd\tp05\n"
    rows = "11\tLeft-Caudate\tL\t36\t24\t0.333333\t0.041\t0.002\t-0.01\n"
    rows += "12\tLeft-Putamen\tL\t0\t0\tn/a\tn/a\tn/a\tn/a\n"
    rows += "300\tKörper X\tn/a\t8\t0\t1.000000\tn/a\tn/a\tn/a\n"
    for reference in ("wholebrain", "csf"):
        (anat / f"sub-01_seg-a_desc-{reference}_stats.tsv").write_text(head + rows)
    images = {"seg-a_dseg": labels, "label-brain_desc-mask4noholes_mask": support}
    found = exported(scan, dicom_scan.axis_orders()[17], **images)
    found.labels, found.support = labels, support
    return found


def test_segments_have_the_voxels_of_the_regions(with_regions):
    (segments,) = with_regions.series["seg-a_dseg"]
    described = segments.SegmentSequence
    assert [s.SegmentLabel for s in described] == ["Left-Caudate", "Körper X"]
    assert described[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "11000004"
    modifier = described[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert modifier.CodeMeaning == "Left"
    counts = {1: np.zeros(0), 2: np.zeros(0)}
    bits = np.unpackbits(np.frombuffer(segments.PixelData, np.uint8), bitorder="little")
    size = segments.Rows * segments.Columns
    planes = [_place(with_regions.scan, k) for k in range(with_regions.scan.shape[2])]
    for number, group in enumerate(segments.PerFrameFunctionalGroupsSequence):
        frame = bits[number * size : (number + 1) * size].reshape(segments.Rows, segments.Columns)
        place = [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        k = int(np.argmin([np.abs(np.subtract(place, p)).max() for p in planes]))
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        wanted = with_regions.labels[:, :, k].T == {1: 11, 2: 300}[segment]
        np.testing.assert_array_equal(frame.astype(bool), wanted)
        counts[segment] = np.append(counts[segment], frame.sum())
    assert {k: v.sum() for k, v in counts.items()} == {1: 36, 2: 8}


def _place(scan, k):
    return np.diag([-1, -1, 1]) @ (scan.affine @ [0, 0, k, 1])[:3]


def test_the_report_has_the_numbers_of_the_table(with_regions):
    (report,) = with_regions.series["seg-a_stats"]
    template = report.ContentTemplateSequence[0].TemplateIdentifier
    assert template == "1500"
    caudate, other = (list(_numbers(group)) for group in _groups(report))
    found = {(name, how, method): (value, unit) for name, how, method, value, unit in caudate}
    assert found["126396", "373098007", "wholebrain"] == (0.041, "[ppm]")
    assert found["126396", "386136009", "csf"] == (0.002, "[ppm]")
    assert found["126396", "p05", "csf"] == (-0.01, "[ppm]")
    volume = 24 * np.prod(with_regions.scan.voxel)
    assert found["118565006", None, "126030"] == (pytest.approx(volume), "mm3")
    inside = (with_regions.labels == 11) & (with_regions.support == 1)
    rate = (40 + 100 * with_regions.scan.chi()).clip(0)[inside].mean()
    assert found["126395", "373098007", None] == (pytest.approx(rate, abs=1e-5), "/s")
    # nothing is known of the other one but that all of it was left out
    assert {(name, value) for name, *_, value, _ in other} == {("118565006", 0), ("excluded", 1)}


def test_the_report_refers_to_the_segments(with_regions):
    (report,), (segments,) = (with_regions.series[f"seg-a_{n}"] for n in ("stats", "dseg"))
    numbers = []
    for group in _groups(report):
        (ref,) = (
            item.ReferencedSOPSequence[0]
            for item in group.ContentSequence
            if item.ValueType == "IMAGE"
        )
        assert ref.ReferencedSOPInstanceUID == segments.SOPInstanceUID
        numbers.append(ref.ReferencedSegmentNumber)
    assert numbers == [1, 2]
    assert str(report.PatientName) == str(segments.PatientName) == "Müller^Jane"


@pytest.mark.parametrize("character_set", ["ISO_IR 100", None, ["", "ISO 2022 IR 87"]])
def test_names_of_regions_in_any_script(dicom_scan, exported, tmp_path, character_set):
    """The name of the patient is written anew where the script of the source cannot hold both."""
    scan = dicom_scan.Scan()
    anat = tmp_path / "out" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_seg-a_dseg.tsv").write_text("index\tname\n1\t\u88ab\u6bbb\n")
    labels = np.zeros(scan.shape, np.int16)
    labels[2:5, 2:6, 3:6] = 1
    person = "Yamada^Tarou" if character_set is None else "M\u00fcller^Jane"
    if isinstance(character_set, list):
        person = "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"
    tags = {"SpecificCharacterSet": character_set, "PatientName": person}
    found = exported(scan, tags=tags, forms=("classic",), **{"seg-a_dseg": labels})
    (segments,) = found.series["seg-a_dseg"]
    assert segments.SegmentSequence[0].SegmentLabel == "\u88ab\u6bbb"
    for objects in found.series.values():
        assert str(objects[0].PatientName) == person


def _groups(report):
    (container,) = (
        item
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    )
    return container.ContentSequence


def _numbers(group):
    """Name, derivation, method, value and unit of each measurement."""
    for item in group.ContentSequence:
        if item.ValueType != "NUM":
            continue
        said = {
            inner.ConceptNameCodeSequence[0].CodeMeaning: inner.ConceptCodeSequence[0].CodeValue
            for inner in item.get("ContentSequence") or []
        }
        measured = item.MeasuredValueSequence[0]
        yield (
            item.ConceptNameCodeSequence[0].CodeValue,
            said.get("Derivation"),
            said.get("Measurement Method"),
            float(measured.NumericValue),
            measured.MeasurementUnitsCodeSequence[0].CodeValue,
        )
