"""Series as they lie on disk: slices over several files and series, lost slices, maps."""

import pydicom
import pytest
from pydicom.uid import generate_uid

from qsmbids.io.dicom import convert_dicom

DEPTH = 12


def delete(folder, number, lost):
    """Delete the files of some slices of a series: pairs of echo (None for all) and slice."""
    for path in folder.glob(f"{number:03d}_*"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        k = round(float(header.SliceLocation) / 2)
        if (int(header.EchoNumbers), k) in lost or (None, k) in lost:
            path.unlink()


def write_enhanced_slabs(dicom, folder, maker, signal, slabs):
    """Write one enhanced series of all echoes and parts, with some of the slices per file."""
    uid = generate_uid()
    for number, slab in enumerate(slabs):
        part = folder / str(number)
        dicom.write_enhanced(part, maker, ["mag", "phase"], signal=signal[..., slab])
        path = next(part.iterdir())
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID, header.InstanceNumber = uid, number + 1
        for frame in header.PerFrameFunctionalGroupsSequence:
            content, plane = frame.FrameContentSequence[0], frame.PlanePositionSequence[0]
            k = slab[content.InStackPositionNumber - 1]
            content.InStackPositionNumber = k + 1
            plane.ImagePositionPatient[2] = -11.0 + 2.0 * k
        header.save_as(path)


@pytest.mark.parametrize("maker", ["siemens", "philips"])
@pytest.mark.parametrize("spread", ["halves", "odd and even", "every slice"])
def test_slices_over_several_enhanced_files_are_one_image(
    dicom, tmp_path, signal, maker, spread, convert_folder, assert_is
):
    """dcm2niix#626: a scanner may begin a new file at any slice."""
    slabs = {
        "halves": [range(6), range(6, DEPTH)],
        "odd and even": [range(0, DEPTH, 2), range(1, DEPTH, 2)],
        "every slice": [range(k, k + 1) for k in range(DEPTH)],
    }[spread]
    write_enhanced_slabs(dicom, tmp_path / "d", maker, signal, slabs)
    fates, _, images = convert_folder(tmp_path / "d")
    assert fates == {"1": ["sub-01 MEGRE, mag/phase, 3 echo(es)"]}
    assert_is(images, signal)


@pytest.mark.parametrize("spread", ["halves", "odd and even"])
def test_slices_over_two_series_of_one_moment_are_one_image(
    dicom, tmp_path, signal, spread, convert_folder, assert_is
):
    halves = [{(None, k) for k in range(6)}, {(None, k) for k in range(6, DEPTH)}]
    others = [{(None, k) for k in range(n, DEPTH, 2)} for n in range(2)]
    for n, lost in enumerate(halves if spread == "halves" else others):
        for k, part in enumerate(("mag", "phase")):
            number = 5 + 2 * n + k
            dicom.write_series(tmp_path / "d", "siemens", [part], number=number, signal=signal)
            delete(tmp_path / "d", number, lost)
    fates, _, images = convert_folder(tmp_path / "d")
    assert fates["5"] == ["sub-01 MEGRE, mag, 3 echo(es)"]
    assert fates["8"] == ["its slices go with those of series 6"]
    assert_is(images, signal)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (
            {(2, 11)},
            "35 images, but 12 slices of 3 echo(es) are 36: of the echo at 10 ms slice 12",
        ),
        ({(1, 0)}, "35 images, but 12 slices of 3 echo(es) are 36: of the echo at 5 ms slice 1"),
        ({(3, 4), (3, 6)}, "34 images, but 12 slices of 3 echo(es) are 36: of the echo at 15 ms"),
        ({(None, 5)}, "11 slices 2 mm apart, but 4 mm from slice 5 to the next: 1 slice(s)"),
    ],
)
def test_a_lost_slice_is_told_with_numbers(pair, tmp_path, lost, words, convert_folder):
    delete(pair(tmp_path / "d"), 6, lost)
    fates, result, _ = convert_folder(tmp_path / "d")
    assert result.naming.runs == {}
    assert words in fates["6"][0]
    assert "get the missing files" in fates["6"][0]


def test_a_gap_in_both_parts_is_no_volume(pair, tmp_path, convert_folder):
    folder = pair(tmp_path / "d")
    for number in (5, 6):
        delete(folder, number, {(None, 7), (None, 8)})
    fates, result, _ = convert_folder(folder)
    assert result.naming.runs == {}
    assert "6 mm from slice 7 to the next: 2 slice(s) between them are missing" in fates["5"][0]


def test_a_lost_frame_of_an_enhanced_file_is_told(dicom, tmp_path, signal, convert_folder):
    dicom.write_enhanced(tmp_path / "d", "siemens", ["mag", "phase"], signal=signal)
    path = next((tmp_path / "d").iterdir())
    header = pydicom.dcmread(path)
    frames = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames[:-1])
    header.NumberOfFrames = len(frames) - 1
    header.PixelData = header.PixelData[: -2 * 16 * 18]
    header.save_as(path)
    fates, _, _ = convert_folder(tmp_path / "d")
    expected = "71 images, but 12 slices of 3 echo(es) and 2 parts are 72: of the echo at 15 ms"
    assert expected in fates["1"][0]


def test_an_interrupted_scan_and_its_repeat(
    dicom, pair, tmp_path, signal, convert_folder, assert_is
):
    folder = pair(tmp_path / "d")
    for number in (5, 6):
        delete(folder, number, {(None, k) for k in range(8, DEPTH)})
    for number, part in ((7, "mag"), (8, "phase")):
        dicom.write_series(folder, "siemens", [part], number=number, signal=signal)
    fates, _, images = convert_folder(folder)
    assert "only 8 of the 12 slices" in fates["5"][0]
    assert_is(images, signal)


@pytest.mark.parametrize("te", [0.0, 0.005])
def test_a_calculated_map_in_a_philips_series_is_left_out(
    dicom, tmp_path, signal, te, convert_folder, assert_is
):
    folder = dicom.write_series(tmp_path / "d", "philips", ["mag", "phase"], signal=signal)
    uid = pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID
    dicom.write_series(
        folder / "map",
        "philips",
        signal=signal[2:],
        echo_times=(te,),
        SeriesInstanceUID=uid,
        ImageType=["DERIVED", "PRIMARY", "T2 MAP", "T2", "UNSPECIFIED"],
    )
    fates, _, images = convert_folder(tmp_path / "d")
    assert fates == {
        "1": [
            "sub-01 MEGRE, mag/phase, 3 echo(es)",
            "skipped: 12 images are maps that the scanner calculated",
        ]
    }
    assert_is(images, signal)


@pytest.mark.parametrize("maker", ["siemens", "philips"])
def test_a_calculated_map_in_an_enhanced_file_is_left_out(dicom, tmp_path, signal, maker):
    dicom.write_enhanced(tmp_path / "d", maker, ["mag", "phase"], signal=signal)
    path = next((tmp_path / "d").iterdir())
    header = pydicom.dcmread(path)
    frames = list(header.PerFrameFunctionalGroupsSequence)
    for frame in frames[-DEPTH:]:  # the phase of the third echo is no phase any more
        frame.MREchoSequence[0].EffectiveEchoTime = 0.0
        kind = frame.MRImageFrameTypeSequence[0]
        kind.FrameType = ["DERIVED", "PRIMARY", "T2 STAR", "T2 STAR"]
        kind.ComplexImageComponent = "MAGNITUDE"
    header.save_as(path)
    result = convert_dicom(tmp_path / "d", tmp_path / "work", participant="01")
    fates = [fate for *_, fate in result.rows()]
    assert "skipped: 12 images are maps that the scanner calculated" in fates


def test_some_phase_among_the_magnitude_slices_is_no_volume(pair, tmp_path, convert_folder):
    """dcm2niix#536: slices of another kind in the series, here by their ImageType."""
    folder = pair(tmp_path / "d")
    path = folder / "005_00003.dcm"
    header = pydicom.dcmread(path)
    header.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]
    header.save_as(path)
    fates, result, _ = convert_folder(folder)
    assert result.naming.runs == {}
    assert any("is missing" in fate for fate in fates["5"])
