"""Multi-frame objects and series as scanners of today write them become the signal they hold."""

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
import scanners
from pydicom.uid import generate_uid
from scanners import GE, PHILIPS, SIEMENS, Scan

from qsmbids.core.phase.phase_sign import phase_sign
from qsmbids.io.dicom import convert_dicom

ECHO_TIMES = (0.005, 0.010)
FOUR = ("mag", "real", "imag", "phase")
WHOLE = {"5": ["sub-01 MEGRE, mag/phase, 2 echo(es)"]}


@pytest.fixture
def signal(dicom):
    """Return two complex echoes of eight slices."""
    return dicom.make_signal((16, 18, 8), ECHO_TIMES)


def frames(path):
    """Yield file by file the dataset and the description of each frame, then write it."""
    for name in sorted(path.rglob("*.dcm")):
        dataset = pydicom.dcmread(name)
        yield dataset, list(dataset.PerFrameFunctionalGroupsSequence)
        dataset.save_as(name)


@pytest.mark.parametrize("files", ["one", "echo", "part", "slab", "frame"])
def test_frames_in_any_order_and_any_number_of_files(
    tmp_path, signal, convert_folder, assert_is, files
):
    """Siemens from XA30: magnitude and phase in one series (dcm2niix#626, dcm2niix#1033)."""
    Scan(signal, ECHO_TIMES).write(tmp_path / "d", files=files, shuffled=3)
    fates, _, images = convert_folder(tmp_path / "d")
    assert fates == WHOLE
    assert_is(images, signal)


@pytest.mark.parametrize("how", ["type words alone", "MIXED in the frames", "no dimensions"])
def test_what_a_frame_is_is_told_in_any_place(tmp_path, signal, convert_folder, assert_is, how):
    Scan(signal, ECHO_TIMES).write(tmp_path / "d", shuffled=3)
    for dataset, groups in frames(tmp_path / "d"):
        if how == "no dimensions":
            del dataset.DimensionIndexSequence
        for group in groups:
            kind, content = group.MRImageFrameTypeSequence[0], group.FrameContentSequence[0]
            if how == "no dimensions":
                del content.DimensionIndexValues, content.InStackPositionNumber, content.StackID
                continue
            kind.FrameType = ["ORIGINAL", "PRIMARY", "T2_STAR", "NONE"]
            kind.ComplexImageComponent = "MIXED"
            if how == "type words alone":
                del kind.ComplexImageComponent
    fates, _, images = convert_folder(tmp_path / "d")
    assert fates == WHOLE
    assert_is(images, signal)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ([("phase", 1, 4)], "of the echo at 10 ms slice 5 of 8 is missing"),
        (
            [(part, echo, k) for part in ("mag", "phase") for echo in range(2) for k in (0, 1)],
            "the slices are numbered up to 8, but slice 1, 2 is missing",
        ),
    ],
)
def test_frames_that_are_missing_are_named(tmp_path, signal, convert_folder, lost, words):
    Scan(signal, ECHO_TIMES).write(tmp_path / "d", shuffled=1, lost=lost)
    fates, result, _ = convert_folder(tmp_path / "d")
    assert result.naming.runs == {}
    assert words in fates["5"][0]


def test_a_file_of_a_concatenation_that_is_missing_is_named(tmp_path, signal, convert_folder):
    Scan(signal, ECHO_TIMES).write(tmp_path / "d", files="slab")
    for number, (dataset, groups) in enumerate(frames(tmp_path / "d"), 1):
        dataset.ConcatenationUID, dataset.InConcatenationNumber = "1.2.3.4", number
        dataset.InConcatenationTotalNumber = 4
        for group in groups:
            del group.FrameContentSequence[0].InStackPositionNumber
    for number in (2, 4):  # the upper half of each echo
        (tmp_path / "d" / f"005_{number}.dcm").unlink()
    fates, result, _ = convert_folder(tmp_path / "d")
    assert result.naming.runs == {}
    assert "one object in 4 files, of which number 2, 4 is missing" in fates["5"][0]


def test_slices_that_are_numbered_in_another_way_are_not_missing(tmp_path, signal):
    """Numbers that leave every second one out, or do not rise, count no slices."""
    for name, number in (("even", lambda k: 2 * k), ("folded", lambda k: 1 + (5 * k) % 9)):
        Scan(signal, ECHO_TIMES).write(tmp_path / name)
        for _, groups in frames(tmp_path / name):
            for group in groups:
                content = group.FrameContentSequence[0]
                content.InStackPositionNumber = number(content.InStackPositionNumber)
        result = convert_dicom(tmp_path / name, tmp_path / f"work-{name}", participant="01")
        assert list(result.naming.runs) == ["sub-01"]


def test_the_export_for_older_archives_is_one_scan(tmp_path, signal, convert_folder, assert_is):
    """A series for each echo and part, with the words and numbers of a real XA30 export."""
    scan = Scan(signal, ECHO_TIMES)
    for echo in range(2):
        for first, part in ((9001, "mag"), (10001, "phase")):
            kind = ["ORIGINAL", "PRIMARY", scanners.LETTER[part], "DIS2D", "MFSPLIT"]
            scan.write_classic(tmp_path / "d", part, first + echo, kind, [echo])
    fates, _, images = convert_folder(tmp_path / "d")
    assert len(fates) == 4
    assert len(images) == 4
    assert_is(images, signal)


def canonical(path):
    """Read an image with its axes to the right, anterior and superior."""
    return nib.as_closest_canonical(nib.load(path)).get_fdata()


def complex_parts(images):
    """Return real and imaginary images as complex echoes."""
    parts = {p: [i for i in images if f"part-{p}_" in i.name] for p in ("real", "imag")}
    return np.stack(
        [canonical(r) + 1j * canonical(i) for r, i in zip(*parts.values(), strict=True)]
    )


@pytest.mark.parametrize("dimensions", ["standard", "Philips"])
@pytest.mark.parametrize(
    ("scale_slope", "real_world"), [({}, True), ({}, False), ({"phase": 10.0}, True)]
)
def test_four_kinds_of_frames_in_a_philips_object(
    tmp_path, signal, convert_folder, scale_slope, real_world, dimensions
):
    """Precise scaling is 1 / (rescale slope x scale slope); display scaling is milliradians."""
    Scan(signal, ECHO_TIMES, PHILIPS, "5.7.1", "T1FFE").write(
        tmp_path / "d", FOUR, shuffled=4, scale_slope=scale_slope, real_world=real_world
    )
    if dimensions == "Philips":
        with_type_dimension(tmp_path / "d")
    fates, _, images = convert_folder(tmp_path / "d")
    assert fates == {"5": ["sub-01 MEGRE, mag/phase/real/imag, 2 echo(es)"]}
    truth = signal[:, ::-1, ::-1, :]
    inside = np.abs(truth) > 100
    for echo in range(2):
        phase = next(i for i in images if f"echo-{echo + 1}_part-phase" in i.name)
        sidecar = json.loads(phase.with_name(phase.name.replace(".nii.gz", ".json")).read_text())
        unit = 1.0 if sidecar["Units"] == "rad" else 1e-3
        assert sidecar["Units"] == ("arbitrary" if scale_slope else "rad")
        error = np.angle(np.exp(1j * canonical(phase) * unit) * np.conj(truth[echo]))
        assert np.abs(error[inside[echo]]).max() < 0.003
    found = complex_parts(images)
    error = np.angle(found * np.conj(truth))
    assert np.abs(error[inside]).max() < 0.005


def with_type_dimension(folder):
    """Give frames the dimensions of a real Philips object: stack, slice, type (private), echo."""
    index = {"M": 1, "P": 4, "R": 2, "I": 3}
    for dataset, groups in frames(folder):
        pointers = []
        for tag in (0x00209056, 0x00209057, 0x20051011, 0x00189082):
            pointer = pydicom.Dataset()
            pointer.DimensionOrganizationUID = f"{scanners.STUDY}.9"
            pointer.DimensionIndexPointer = tag
            pointers.append(pointer)
        dataset.DimensionIndexSequence = pydicom.Sequence(pointers)
        for group in groups:
            content = group.FrameContentSequence[0]
            letter = group.MRImageFrameTypeSequence[0].FrameType[-1]
            _, place, echo = content.DimensionIndexValues
            content.DimensionIndexValues = [1, place, index[letter], echo]


def test_a_slope_for_each_slice_is_heeded(tmp_path, signal, convert_folder, assert_is):
    Scan(signal, ECHO_TIMES, PHILIPS, "5.7.1", "T1FFE").write(tmp_path / "d", shuffled=4)
    for dataset, groups in frames(tmp_path / "d"):
        pixels = dataset.pixel_array.copy()
        for number, group in enumerate(groups):
            if group.MRImageFrameTypeSequence[0].ComplexImageComponent == "MAGNITUDE":
                times = 2 ** (group.FrameContentSequence[0].InStackPositionNumber % 3)
                pixels[number] *= times
                group.PixelValueTransformationSequence[0].RescaleSlope = 1 / times
                group.RealWorldValueMappingSequence[0].RealWorldValueSlope = 1 / times
                inner = group[0x2005140F].value[0]
                inner.RescaleSlope = 1 / times
                inner[0x2005100E].value = float(times)
        dataset.PixelData = pixels.tobytes()
    _, _, images = convert_folder(tmp_path / "d")
    assert_is(images, signal)


@pytest.mark.parametrize("form", ["number", "attribute", "enhanced"])
def test_four_images_of_a_slice_from_ge(tmp_path, signal, convert_folder, form):
    scan = Scan(signal, ECHO_TIMES, GE, "MR30.0", "")
    if form == "enhanced":
        scan.write(tmp_path / "d", FOUR, shuffled=2)
    else:
        uid = generate_uid()
        for number, part in enumerate(("mag", "phase", "real", "imag")):
            kind = {"x0043102F": ("GEMS_PARM_01", "SS", number)}
            if form == "attribute":
                kind = {"ComplexImageComponent": scanners.COMPONENT[part]}
            scan.write_classic(
                tmp_path / "d" / part, part, 5, ["ORIGINAL", "PRIMARY", "OTHER"], uid=uid,
                first=1 + 100 * number, **kind,
            )  # fmt: skip
    fates, _, images = convert_folder(tmp_path / "d")
    (fate,) = fates["5"]
    assert fate.endswith("2 echo(es)")
    assert len(images) == 8
    truth = np.conj(signal[:, ::-1, ::-1, :]) * (-1.0) ** np.arange(signal.shape[3])
    inside = np.abs(truth) > 100
    found = complex_parts(images)
    assert np.abs(np.angle(found * np.conj(truth)))[inside].max() < 0.01


@pytest.mark.parametrize(
    ("maker", "tesla"),
    [
        (SIEMENS, 0.55),
        ("CANON_MEC", 1.5),
        ("Canon Medical Systems", 3.0),
        ("TOSHIBA_MEC", 1.5),
        ("UIH", 3.0),
        ("United Imaging Healthcare", 1.5),
        ("Hitachi Medical Corporation", 1.5),
        ("FUJIFILM Healthcare Corporation", 1.5),
        ("FUJIFILM Corporation", 0.4),
    ],
)
def test_every_maker_keeps_its_name_and_field(tmp_path, signal, convert_folder, maker, tesla):
    """The sign of the phase goes by the name; dcm2niix knows some of them only."""
    scan = Scan(signal, ECHO_TIMES, maker, "1", "", tesla=tesla)
    for number, part in ((5, "mag"), (6, "phase")):
        kind = ["ORIGINAL", "PRIMARY", scanners.LETTER[part]]
        scan.write_classic(tmp_path / "d", part, number, kind)
    _, _, images = convert_folder(tmp_path / "d")
    assert len(images) == 4
    for image in images:
        sidecar = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["MagneticFieldStrength"] == pytest.approx(tesla)
        sign = phase_sign("auto", sidecar["Manufacturer"])
        assert sign.sign == (1 if maker == SIEMENS else -1)


def test_parts_of_one_series_are_told_apart_by_the_last_word(
    tmp_path, signal, convert_folder, assert_is
):
    scan, uid = Scan(signal, ECHO_TIMES, "Vendor", "1", ""), generate_uid()
    for first, part in ((1, "mag"), (100, "phase")):
        kind = ["ORIGINAL", "PRIMARY", scanners.LETTER[part]]
        scan.write_classic(tmp_path / "d" / part, part, 5, kind, uid=uid, first=first)
    _, _, images = convert_folder(tmp_path / "d")
    assert_is(images, signal)


def test_echoes_that_bear_one_echo_time_are_refused(tmp_path, signal, convert_folder):
    """Research sequences on GE's DV26 write the first echo time into every image."""
    scan = Scan(signal, ECHO_TIMES, GE, "DV26.0", "")
    for number, part in ((0, "mag"), (1, "phase")):
        scan.write_classic(
            tmp_path / "d" / part, part, 5 + number, ["ORIGINAL", "PRIMARY", "OTHER"],
            EchoTime="5", x0043102F=("GEMS_PARM_01", "SS", number),
        )  # fmt: skip
    fates, result, _ = convert_folder(tmp_path / "d")
    assert result.naming.runs == {}
    assert "echoes 1, 2 bear one echo time, 5 ms" in fates["6"][0]
