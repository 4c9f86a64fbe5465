"""Files as people have them: damaged, packed, without preamble, or no DICOM at all."""

import gzip
import zipfile

import pydicom
import pytest
from pydicom.uid import generate_uid

from qsmbids.errors import InputError
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.dicom_series import scan_dicom


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
def test_one_bad_file_beside_the_scan_ends_nothing(
    dicom, pair, tmp_path, signal, what, convert_folder
):
    folder = pair(tmp_path / "d")
    dicom.write_series(folder, "siemens", number=9, signal=signal[:1], echo_times=(0.005,))
    for path in sorted(folder.glob("009_*"))[1:]:
        path.unlink()
    spoil(folder / "009_00001.dcm", what)
    fates, result, _ = convert_folder(folder)
    assert len(result.naming.runs) == 1
    assert "1 damaged DICOM file(s) were left out" in result.warnings
    assert set(fates) == {"5", "6"}


@pytest.mark.parametrize("what", ["frames", "cut off"])
def test_a_bad_file_of_the_scan_is_a_lost_slice(pair, tmp_path, what, convert_folder):
    folder = pair(tmp_path / "d")
    spoil(folder / "006_00007.dcm", what)
    fates, result, _ = convert_folder(folder)
    assert result.naming.runs == {}
    assert "of the echo at 5 ms slice 7 of 12 is missing" in fates["6"][0]


def test_no_echo_time_is_told_with_a_cure(pair, tmp_path, convert_folder):
    folder = pair(tmp_path / "d", echo_times=(0.005,))
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        del header.EchoTime, header.EchoNumbers
        header.save_as(path)
    fates, result, _ = convert_folder(folder)
    assert result.naming.runs == {}
    assert all("EchoTime is missing" in fate for (fate,) in fates.values())
    assert all("export it again" in fate for (fate,) in fates.values())


def test_files_without_an_image_do_not_count(pair, tmp_path, convert_folder):
    """Philips stores presentation states in the series of the images."""
    folder = pair(tmp_path / "d")
    header = pydicom.dcmread(folder / "006_00001.dcm")
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    del header.Rows, header.Columns, header.PixelData, header.EchoTime
    header.save_as(folder / "000_ps")
    fates, result, _ = convert_folder(folder)
    assert [s.n_images for s in result.series] == [36, 36]
    assert fates["6"] == ["sub-01 MEGRE, phase, 3 echo(es)"]


@pytest.mark.parametrize("ending", [".dcm.gz", ".IMA.gz", ".gz"])
def test_files_that_are_gzipped_give_the_same(
    pair, tmp_path, signal, ending, convert_folder, assert_is
):
    folder = pair(tmp_path / "d")
    for path in list(folder.iterdir()):
        (folder / f"{path.stem}{ending}").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    (folder / "converted.nii.gz").write_bytes(gzip.compress(bytes(400)))
    _, _, images = convert_folder(folder)
    assert_is(images, signal)


def test_a_gzipped_file_that_is_damaged_is_a_lost_slice(pair, tmp_path, convert_folder):
    folder = pair(tmp_path / "d")
    for path in list(folder.iterdir()):
        packed = gzip.compress(path.read_bytes(), 1)
        cut = packed[: len(packed) // 2] if path.name == "006_00012.dcm" else packed
        path.with_name(f"{path.name}.gz").write_bytes(cut)
        path.unlink()
    fates, result, _ = convert_folder(folder)
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


def test_series_that_share_an_identifier_are_told_apart_by_number(
    pair, tmp_path, signal, convert_folder, assert_is
):
    """Some anonymisers give all series the same."""
    folder = pair(tmp_path / "d", SeriesInstanceUID="1.2.3.4.5")
    fates, _, images = convert_folder(folder)
    assert list(fates) == ["5", "6"]
    assert_is(images, signal)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_are_read(
    pair, tmp_path, signal, implicit, convert_folder, assert_is
):
    """As old archives export them: the dataset alone, without the 128 bytes and DICM."""
    folder = pair(tmp_path / "d")
    for path in folder.iterdir():
        bare = pydicom.Dataset(pydicom.dcmread(path))
        pydicom.dcmwrite(path, bare, implicit_vr=implicit, little_endian=True)
        assert b"DICM" not in path.read_bytes()[:200]
    (folder / "notes.txt").write_text("no DICOM at all")
    _, result, images = convert_folder(folder)
    assert result.warnings == []
    assert_is(images, signal)


def test_a_series_that_nobody_can_read_leaves_the_others(
    dicom, pair, tmp_path, signal, convert_folder
):
    """An enhanced file of two echoes whose pixels are not there at all."""
    folder = pair(tmp_path / "d")
    dicom.write_enhanced(folder / "e", "siemens", ["mag"], number=9, signal=signal)
    path = next((folder / "e").iterdir())
    header = pydicom.dcmread(path)
    del header.PixelData
    header.BitsAllocated = 0
    header.save_as(path)
    fates, result, _ = convert_folder(folder)
    assert list(result.naming.runs) == ["sub-01"]
    assert fates["9"][0].startswith("skipped: not converted")


def test_an_unforeseen_failure_leaves_the_others(
    dicom, pair, tmp_path, signal, monkeypatch, convert_folder
):
    from qsmbids.io import dicom_series as module

    original = module.missing_slices

    def fail(frames):
        if len(frames) == 12:
            raise KeyError("odd")
        return original(frames)

    folder = pair(tmp_path / "d")
    dicom.write_series(folder, "siemens", number=9, signal=signal[:1], echo_times=(0.005,))
    monkeypatch.setattr(module, "missing_slices", fail)
    fates, result, _ = convert_folder(folder)
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
