"""Compressed files are converted to what the plain ones are."""

import pydicom
import pytest
from compression import KINDS, compress
from scanners import LETTER, Scan

ECHO_TIMES = (0.005, 0.010)


@pytest.fixture
def signal(dicom):
    return dicom.make_signal((16, 18, 6), ECHO_TIMES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["classic", "enhanced"])
def test_compressed_files_hold_the_same_signal(
    tmp_path, signal, convert_folder, assert_is, form, kind
):
    scan = Scan(signal, ECHO_TIMES)
    if form == "enhanced":
        scan.write(tmp_path / "d", shuffled=1)
    else:
        for number, part in ((5, "mag"), (6, "phase")):
            scan.write_classic(
                tmp_path / "d", part, number, ["ORIGINAL", "PRIMARY", LETTER[part], "ND"]
            )
    for path in list((tmp_path / "d").iterdir()):
        compress(path, kind)
    _, _, images = convert_folder(tmp_path / "d")
    assert len(images) == 4
    assert_is(images, signal)


@pytest.mark.parametrize("where", ["attribute", "syntax"])
def test_what_was_compressed_with_loss_is_refused(tmp_path, signal, convert_folder, where):
    Scan(signal, ECHO_TIMES).write(tmp_path / "d")
    path = next((tmp_path / "d").iterdir())
    header = pydicom.dcmread(path)
    if where == "attribute":
        header.LossyImageCompression = "01"
    else:
        header.file_meta.TransferSyntaxUID = pydicom.uid.JPEGExtended12Bit
        header.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"] * 24)
        header["PixelData"].is_undefined_length = True
    header.save_as(path)
    fates, result, _ = convert_folder(tmp_path / "d")
    assert result.naming.runs == {}
    assert "compressed with loss" in fates["5"][0]


@pytest.mark.parametrize("form", ["classic", "enhanced"])
def test_an_unknown_compression_is_named(tmp_path, signal, convert_folder, form):
    scan = Scan(signal, ECHO_TIMES)
    if form == "enhanced":
        scan.write(tmp_path / "d")
    else:
        scan.write_classic(tmp_path / "d", "phase", 5, ["ORIGINAL", "PRIMARY", "P", "ND"])
    for path in (tmp_path / "d").iterdir():
        header = pydicom.dcmread(path)
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"  # HTJ2K
        n_frames = int(header.get("NumberOfFrames") or 1)
        header.PixelData = pydicom.encaps.encapsulate([b"\0\0"] * n_frames)
        header["PixelData"].is_undefined_length = True
        header.save_as(path)
    fates, result, _ = convert_folder(tmp_path / "d")
    assert result.naming.runs == {}
    assert "decompress them first" in fates["5"][0]
