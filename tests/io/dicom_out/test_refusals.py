"""The source must be that of the run: one clear line, and nothing written."""

import shutil

import pydicom
import pytest

from qsmbids.cli.dicom import main

NAMES = ("Müller", "PID-90125", "19610203", "Hidden Hospital")


@pytest.fixture
def refused(tmp_path, capfd):
    """Export, see that it is refused in one line without names and without a file; return it."""

    def call(*options, code=3):
        source, out = tmp_path / "source", tmp_path / "out"
        words = [out, tmp_path / "dest", "--source", source, *options]
        assert main([str(w) for w in words]) == code
        said, errors = capfd.readouterr()
        lines = said.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("qsmbids-dicom: error: ")
        assert not any(name in said + errors for name in NAMES)
        assert not (tmp_path / "dest").exists()
        return lines[0]

    return call


@pytest.fixture
def scan(dicom_scan, tmp_path):
    scan = dicom_scan.Scan()
    scan.write_output(tmp_path / "out")
    return scan


def test_another_person_in_the_same_place(dicom_scan, scan, tmp_path, refused):
    dicom_scan.Scan(seed=2).write(tmp_path / "source")
    assert "another person or scan" in refused()


def test_files_of_two_patients(dicom_scan, scan, tmp_path, refused):
    scan.write(tmp_path / "source" / "a")
    other = dicom_scan.Scan(seed=2, study="1.2.3.4")
    other.write(tmp_path / "source" / "b", PatientID="OTHER")
    assert "images of 2 patients" in refused()


def test_another_geometry(dicom_scan, scan, tmp_path, refused):
    dicom_scan.Scan(axes=dicom_scan.rotation(10) @ dicom_scan.LPS).write(tmp_path / "source")
    assert "no series with the voxels of sub-01" in refused()


def test_slices_that_are_missing(scan, tmp_path, refused):
    scan.write(tmp_path / "source")
    for path in (tmp_path / "source").glob("*_003.dcm"):
        path.unlink()
    assert "slice 3 of 8 is missing" in refused()


def test_the_last_slices_are_missing(scan, tmp_path, refused):
    scan.write(tmp_path / "source")
    for path in (tmp_path / "source").glob("*.dcm"):
        if pydicom.dcmread(path).SliceThickness and path.stem[-3:] in ("008", "016"):
            path.unlink()
    assert "matrix 12 x 10 x 7" in refused()


@pytest.mark.parametrize(
    ("parts", "said"), [(["mag"], "lacks the phase"), (["phase"], "another person or scan")]
)
def test_a_series_that_is_missing(dicom_scan, scan, tmp_path, refused, parts, said):
    scan.write(tmp_path / "source", parts)
    if parts == ["phase"]:  # numbered as the first, it must still not pass for a magnitude
        assert pydicom.dcmread(next((tmp_path / "source").iterdir())).ImageType[2] == "P"
    assert said in refused()


def test_an_echo_that_is_missing(scan, tmp_path, refused):
    scan.write(tmp_path / "source")
    for path in (tmp_path / "source").glob("6_*.dcm"):
        if pydicom.dcmread(path).EchoNumbers == 2:
            path.unlink()
    assert "lacks the phase of sub-01 at 12 ms" in refused()


def test_no_dicom_at_all(scan, tmp_path, refused):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "notes.txt").write_text("nothing")
    assert "holds no DICOM image" in refused()
    shutil.rmtree(tmp_path / "source")
    assert "is neither a folder nor a zip or tar archive" in refused()


def test_nothing_to_export(scan, tmp_path, refused):
    scan.write(tmp_path / "source")
    assert "holds no map of susceptibility" in refused("--participant-label", "07")


def test_several_participants_call_for_a_choice(scan, tmp_path, refused, capfd):
    scan.write(tmp_path / "source")
    scan.write_output(tmp_path / "out", label="sub-02")
    assert "--participant-label" in refused(code=2)
    words = ["out", "dest", "--source", "source", "--participant-label", "sub-02"]
    assert main([w if w[0] == "-" or "sub" in w else str(tmp_path / w) for w in words]) == 0
    assert [p.name for p in (tmp_path / "dest").iterdir()] == ["sub-02"]


@pytest.mark.parametrize("inside", ["out", "source"])
def test_identity_stays_apart(scan, tmp_path, inside, capfd):
    scan.write(tmp_path / "source")
    before = sorted(tmp_path.rglob("*"))
    words = [tmp_path / "out", tmp_path / inside / "dicom", "--source", tmp_path / "source"]
    assert main([str(w) for w in words]) == 2
    assert "must not lie in" in capfd.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_not_ours_is_not_replaced(scan, tmp_path, capfd):
    scan.write(tmp_path / "source")
    note = tmp_path / "dest" / "sub-01" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    words = [tmp_path / "out", tmp_path / "dest", "--source", tmp_path / "source"]
    assert main([str(w) for w in words]) == 1
    assert note.read_text() == "mine"


def test_without_highdicom_it_says_how_to_get_it(scan, tmp_path, refused, monkeypatch):
    scan.write(tmp_path / "source")
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    assert 'pip install "qsmbids[dicom]"' in refused(code=2)


def test_what_a_library_says_is_not_passed_on(scan, tmp_path, refused, monkeypatch):
    def fail(*_):
        raise ValueError("Müller^Jane has no such thing")

    scan.write(tmp_path / "source")
    monkeypatch.setattr("qsmbids.io.dicom_out.objects.parametric_map", fail)
    assert "ValueError in test_refusals.py:fail" in refused()


def test_names_are_nowhere_but_in_dicom(scan, tmp_path, capfd):
    scan.write(tmp_path / "source")
    words = [tmp_path / "out", tmp_path / "dest", "--source", tmp_path / "source", "-vv"]
    assert main([str(w) for w in words]) == 0
    said = "".join(capfd.readouterr()).encode()
    others = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    for name in NAMES:
        assert name.encode() not in said + b"".join(p.read_bytes() for p in others)
    assert all(p.suffix in (".dcm", "") for p in (tmp_path / "dest").rglob("*"))
