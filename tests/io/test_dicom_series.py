"""Series as they lie on disk: slices over several files, lost slices, damaged and packed files."""

import gzip
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from qsmbids.core.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.errors import InputError
from qsmbids.io.dicom import convert_dicom, scan_dicom
from qsmbids.io.raw_dataset import place

DEPTH = 12


@pytest.fixture
def signal(dicom):
    return dicom.make_signal((16, 18, DEPTH))


@pytest.fixture
def pair(dicom, signal):
    """Return a function that writes magnitude (5) and phase (6) as Siemens does."""

    def write(folder, **options):
        for number, part in ((5, "mag"), (6, "phase")):
            dicom.write_series(folder, "siemens", [part], number=number, signal=signal, **options)
        return folder

    return write


def convert(folder, tmp_path):
    """Return the fates by series, the runs and the images that were written."""
    result = convert_dicom(folder, tmp_path / "work", participant="01")
    images, _ = place(result, tmp_path / "bids", participant="01")
    fates = {}
    for number, _, _, fate in result.rows():
        fates.setdefault(number, []).append(fate)
    return fates, result, images


def complex_echoes(images):
    """Return the complex echoes of a run, axes to the right, anterior, superior."""
    import nibabel as nib

    parts = {p: [nib.load(i) for i in images if f"part-{p}_" in i.name] for p in ("mag", "phase")}
    arrays = {p: [nib.as_closest_canonical(i).get_fdata() for i in parts[p]] for p in parts}
    scale = detect_phase_scale(phase_statistics(arrays["phase"]))
    phases = [to_radians(array, scale) for array in arrays["phase"]]
    return np.stack([m * np.exp(1j * p) for m, p in zip(arrays["mag"], phases, strict=True)])


def assert_is(found, signal):
    truth = signal[:, ::-1, ::-1, :]
    inside = np.abs(truth) > 100
    assert found.shape == truth.shape
    assert np.abs(found - truth)[inside].max() < 2.2


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
def test_slices_over_several_enhanced_files_are_one_image(dicom, tmp_path, signal, maker, spread):
    """dcm2niix#626: a scanner may begin a new file at any slice."""
    slabs = {
        "halves": [range(6), range(6, DEPTH)],
        "odd and even": [range(0, DEPTH, 2), range(1, DEPTH, 2)],
        "every slice": [range(k, k + 1) for k in range(DEPTH)],
    }[spread]
    write_enhanced_slabs(dicom, tmp_path / "d", maker, signal, slabs)
    fates, _, images = convert(tmp_path / "d", tmp_path)
    assert fates == {"1": ["sub-01 MEGRE, mag/phase, 3 echo(es)"]}
    assert_is(complex_echoes(images), signal)


@pytest.mark.parametrize("spread", ["halves", "odd and even"])
def test_slices_over_two_series_of_one_moment_are_one_image(dicom, tmp_path, signal, spread):
    halves = [{(None, k) for k in range(6)}, {(None, k) for k in range(6, DEPTH)}]
    others = [{(None, k) for k in range(n, DEPTH, 2)} for n in range(2)]
    for n, lost in enumerate(halves if spread == "halves" else others):
        for k, part in enumerate(("mag", "phase")):
            number = 5 + 2 * n + k
            dicom.write_series(tmp_path / "d", "siemens", [part], number=number, signal=signal)
            delete(tmp_path / "d", number, lost)
    fates, _, images = convert(tmp_path / "d", tmp_path)
    assert fates["5"] == ["sub-01 MEGRE, mag, 3 echo(es)"]
    assert fates["8"] == ["its slices go with those of series 6"]
    assert_is(complex_echoes(images), signal)


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
def test_a_lost_slice_is_told_with_numbers(pair, tmp_path, lost, words):
    delete(pair(tmp_path / "d"), 6, lost)
    fates, result, _ = convert(tmp_path / "d", tmp_path)
    assert result.naming.runs == {}
    assert words in fates["6"][0]
    assert "get the missing files" in fates["6"][0]


def test_a_gap_in_both_parts_is_no_volume(pair, tmp_path):
    folder = pair(tmp_path / "d")
    for number in (5, 6):
        delete(folder, number, {(None, 7), (None, 8)})
    fates, result, _ = convert(folder, tmp_path)
    assert result.naming.runs == {}
    assert "6 mm from slice 7 to the next: 2 slice(s) between them are missing" in fates["5"][0]


def test_a_lost_frame_of_an_enhanced_file_is_told(dicom, tmp_path, signal):
    dicom.write_enhanced(tmp_path / "d", "siemens", ["mag", "phase"], signal=signal)
    path = next((tmp_path / "d").iterdir())
    header = pydicom.dcmread(path)
    frames = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames[:-1])
    header.NumberOfFrames = len(frames) - 1
    header.PixelData = header.PixelData[: -2 * 16 * 18]
    header.save_as(path)
    fates, _, _ = convert(tmp_path / "d", tmp_path)
    expected = "71 images, but 12 slices of 3 echo(es) and 2 parts are 72: of the echo at 15 ms"
    assert expected in fates["1"][0]


def test_an_interrupted_scan_and_its_repeat(dicom, pair, tmp_path, signal):
    folder = pair(tmp_path / "d")
    for number in (5, 6):
        delete(folder, number, {(None, k) for k in range(8, DEPTH)})
    for number, part in ((7, "mag"), (8, "phase")):
        dicom.write_series(folder, "siemens", [part], number=number, signal=signal)
    fates, _, images = convert(folder, tmp_path)
    assert "only 8 of the 12 slices" in fates["5"][0]
    assert_is(complex_echoes(images), signal)


def spoil(path, what):
    """Make a file as bad as those that people have."""
    if what == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
        return
    header = pydicom.dcmread(path)
    tag, vr, value = {
        "frames": (0x00280008, "LO", "1A"),
        "echo time": (0x00180081, "LO", "five"),
        "position": (0x00200032, "LO", "1\\x\\3"),
        "rows": (0x00280010, "LO", "many"),
    }[what]
    header.add(pydicom.DataElement(tag, vr, value))
    header.save_as(path)


@pytest.mark.parametrize("what", ["frames", "echo time", "position", "rows", "cut off"])
def test_one_bad_file_beside_the_scan_ends_nothing(dicom, pair, tmp_path, signal, what):
    folder = pair(tmp_path / "d")
    dicom.write_series(folder, "siemens", number=9, signal=signal[:1], echo_times=(0.005,))
    for path in sorted(folder.glob("009_*"))[1:]:
        path.unlink()
    spoil(folder / "009_00001.dcm", what)
    fates, result, _ = convert(folder, tmp_path)
    assert len(result.naming.runs) == 1
    assert "1 damaged DICOM file(s) were left out" in result.warnings
    assert set(fates) == {"5", "6"}


@pytest.mark.parametrize("what", ["frames", "cut off"])
def test_a_bad_file_of_the_scan_is_a_lost_slice(pair, tmp_path, what):
    folder = pair(tmp_path / "d")
    spoil(folder / "006_00007.dcm", what)
    fates, result, _ = convert(folder, tmp_path)
    assert result.naming.runs == {}
    assert "of the echo at 5 ms slice 7 of 12 is missing" in fates["6"][0]


def test_no_echo_time_is_told_with_a_cure(pair, tmp_path):
    folder = pair(tmp_path / "d", echo_times=(0.005,))
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        del header.EchoTime, header.EchoNumbers
        header.save_as(path)
    fates, result, _ = convert(folder, tmp_path)
    assert result.naming.runs == {}
    assert all("EchoTime is missing" in fate for (fate,) in fates.values())
    assert all("export it again" in fate for (fate,) in fates.values())


@pytest.mark.parametrize("te", [0.0, 0.005])
def test_a_calculated_map_in_a_philips_series_is_left_out(dicom, tmp_path, signal, te):
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
    fates, _, images = convert(tmp_path / "d", tmp_path)
    assert fates == {
        "1": [
            "sub-01 MEGRE, mag/phase, 3 echo(es)",
            "skipped: 12 images are maps that the scanner calculated",
        ]
    }
    assert_is(complex_echoes(images), signal)


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


def test_files_without_an_image_do_not_count(pair, tmp_path):
    """Philips stores presentation states in the series of the images."""
    folder = pair(tmp_path / "d")
    header = pydicom.dcmread(folder / "006_00001.dcm")
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    del header.Rows, header.Columns, header.PixelData, header.EchoTime
    header.save_as(folder / "000_ps")
    fates, result, _ = convert(folder, tmp_path)
    assert [s.n_images for s in result.series] == [36, 36]
    assert fates["6"] == ["sub-01 MEGRE, phase, 3 echo(es)"]


@pytest.mark.parametrize("ending", [".dcm.gz", ".IMA.gz", ".gz"])
def test_files_that_are_gzipped_give_the_same(pair, tmp_path, signal, ending):
    folder = pair(tmp_path / "d")
    for path in list(folder.iterdir()):
        (folder / f"{path.stem}{ending}").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    (folder / "converted.nii.gz").write_bytes(gzip.compress(bytes(400)))
    _, _, images = convert(folder, tmp_path)
    assert_is(complex_echoes(images), signal)


def test_a_gzipped_file_that_is_damaged_is_a_lost_slice(pair, tmp_path):
    folder = pair(tmp_path / "d")
    for path in list(folder.iterdir()):
        packed = gzip.compress(path.read_bytes(), 1)
        cut = packed[: len(packed) // 2] if path.name == "006_00012.dcm" else packed
        path.with_name(f"{path.name}.gz").write_bytes(cut)
        path.unlink()
    fates, result, _ = convert(folder, tmp_path)
    assert "slice 12 of 12 is missing" in fates["6"][0]
    assert "1 damaged gzip file(s) were left out" in result.warnings


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.PAR", "a.REC"], "2 file(s) of Philips PAR/REC. Export the scan as DICOM"),
        (["scan.7z"], "1 file(s) of an archive that is not read"),
        (["mag.nii", "phase.nii.gz"], "2 file(s) of NIfTI"),
        (["meas_MID1.dat"], "1 file(s) of raw data"),
        (["notes.txt"], "holds no DICOM image. Give the folder"),
    ],
)
def test_what_is_there_in_place_of_dicom_is_named(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 200)
    with pytest.raises(InputError) as caught:
        scan_dicom(tmp_path)
    assert words in str(caught.value)


def test_par_rec_beside_dicom_is_mentioned(pair, tmp_path):
    folder = pair(tmp_path / "d")
    for name in ("head.PAR", "head.REC"):
        (folder / name).write_bytes(b"x" * 200)
    _, warnings = scan_dicom(folder)
    assert warnings == ["2 file(s) of Philips PAR/REC were left out"]


def test_series_that_share_an_identifier_are_told_apart_by_number(pair, tmp_path, signal):
    """Some anonymisers give all series the same."""
    folder = pair(tmp_path / "d", SeriesInstanceUID="1.2.3.4.5")
    fates, _, images = convert(folder, tmp_path)
    assert list(fates) == ["5", "6"]
    assert_is(complex_echoes(images), signal)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_are_read(pair, tmp_path, signal, implicit):
    """As old archives export them: the dataset alone, without the 128 bytes and DICM."""
    folder = pair(tmp_path / "d")
    for path in folder.iterdir():
        bare = pydicom.Dataset(pydicom.dcmread(path))
        pydicom.dcmwrite(path, bare, implicit_vr=implicit, little_endian=True)
        assert b"DICM" not in path.read_bytes()[:200]
    (folder / "notes.txt").write_text("no DICOM at all")
    _, result, images = convert(folder, tmp_path)
    assert result.warnings == []
    assert_is(complex_echoes(images), signal)


def test_some_phase_among_the_magnitude_slices_is_no_volume(pair, tmp_path):
    """dcm2niix#536: slices of another kind in the series, here by their ImageType."""
    folder = pair(tmp_path / "d")
    path = folder / "005_00003.dcm"
    header = pydicom.dcmread(path)
    header.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]
    header.save_as(path)
    fates, result, _ = convert(folder, tmp_path)
    assert result.naming.runs == {}
    assert any("is missing" in fate for fate in fates["5"])


def test_a_series_that_nobody_can_read_leaves_the_others(dicom, pair, tmp_path, signal):
    """An enhanced file of two echoes whose pixels are not there at all."""
    folder = pair(tmp_path / "d")
    dicom.write_enhanced(folder / "e", "siemens", ["mag"], number=9, signal=signal)
    path = next((folder / "e").iterdir())
    header = pydicom.dcmread(path)
    del header.PixelData
    header.BitsAllocated = 0
    header.save_as(path)
    fates, result, _ = convert(folder, tmp_path)
    assert list(result.naming.runs) == ["sub-01"]
    assert fates["9"][0].startswith("skipped: not converted")


def test_an_unforeseen_failure_leaves_the_others(dicom, pair, tmp_path, signal, monkeypatch):
    from qsmbids.io import dicom as module

    original = module.missing_slices

    def fail(frames):
        if len(frames) == 12:
            raise KeyError("odd")
        return original(frames)

    folder = pair(tmp_path / "d")
    dicom.write_series(folder, "siemens", number=9, signal=signal[:1], echo_times=(0.005,))
    monkeypatch.setattr(module, "missing_slices", fail)
    fates, result, _ = convert(folder, tmp_path)
    assert list(result.naming.runs) == ["sub-01"]
    assert fates["9"] == ["skipped: not converted (KeyError: 'odd')"]


def test_an_archive_without_dicom_is_called_by_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as packed:
        packed.writestr("head.PAR", "x")
    with pytest.raises(InputError) as caught:
        convert_dicom(tmp_path / "scan.zip", tmp_path / "work", participant="01")
    assert "scan.zip: holds no DICOM image, but 1 file(s) of Philips PAR/REC" in str(caught.value)


def test_damaged_files_alone_are_told(pair, tmp_path):
    folder = pair(tmp_path / "d")
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    spoil(folder / "005_00001.dcm", "frames")
    with pytest.raises(InputError, match=r"holds no DICOM image: 1 file\(s\) are damaged"):
        scan_dicom(folder)
