"""The anonymous key of a scanner: the same for one, different for two, and not to be guessed."""

import stat

import pytest

from qsmbids.io import scanner_key
from qsmbids.io.scanner_key import scanner_keys, state_folder


@pytest.fixture
def header(tmp_path):
    """Write a DICOM file without pixels that names a scanner."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    def write(name, serial="777123", station="MRX9"):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
        d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        d.Manufacturer, d.ManufacturerModelName = "SIEMENS", "Prisma"
        d.StationName, d.DeviceSerialNumber = station, serial
        path = tmp_path / name
        d.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    monkeypatch.setenv("QSMBIDS_STATE_DIR", str(folder))
    return folder


def test_two_scanners_of_one_model_stay_two(header, tmp_path):
    files = [header("a"), header("b"), header("c", serial="777124"), header("d", "", "")]
    one, same, other, unknown = scanner_keys(files, tmp_path / "bids")
    assert one == same != other
    assert len(one) == 8
    assert unknown == ""
    # a later call into the same dataset gives the same key, another dataset another one
    assert scanner_keys(files[:1], tmp_path / "bids") == [one]
    assert scanner_keys(files[:1], tmp_path / "elsewhere") != [one]


def test_the_salt_is_private_and_not_in_the_dataset(header, tmp_path, state):
    bids = tmp_path / "bids"
    bids.mkdir()
    scanner_keys([header("a")], bids)
    (salt,) = (state / "salts").iterdir()
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert stat.S_IMODE(salt.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(salt.read_text())) == 32
    assert not list(bids.rglob("*"))


def test_no_second_salt_for_a_dataset_that_has_keys(header, tmp_path, state, caplog):
    anat = tmp_path / "bids/sub-01/ses-a/anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_ses-a_echo-1_part-mag_MEGRE.json").write_text('{"ScannerKey": "0123abcd"}')
    with caplog.at_level("WARNING", "qsmbids"):
        assert scanner_keys([header("a")], tmp_path / "bids") == [""]
    assert "would make two scanners of one" in caplog.text
    assert not state.exists()


def test_without_a_place_for_the_salt_there_is_no_key(header, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QSMBIDS_STATE_DIR", str(tmp_path / "file"))
    with caplog.at_level("WARNING", "qsmbids"):
        assert scanner_keys([header("a")], tmp_path / "bids") == [""]
    assert "no scanner key" in caplog.text


def test_the_usual_places(monkeypatch, tmp_path):
    monkeypatch.delenv("QSMBIDS_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "qsmbids"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_folder() == tmp_path / "home/.local/state/qsmbids"
    assert scanner_key.SCANNER_KEY == "ScannerKey"
