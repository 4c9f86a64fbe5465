"""DICOM of several vendors becomes the same complex signal, on the right side, without names."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from qsmbids.core.phase.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.errors import InputError
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.dicom_series import scan_dicom
from qsmbids.io.multiframe import VolumeFile
from qsmbids.io.raw_dataset import place

SECRETS = (
    "Doe", "Jane", "SECRET42", "19610203", "Smith", "Hidden", "MRX9", "777123", "20240229",
    "13:14:15", "131415",
)  # fmt: skip


def write_scan(dicom, folder, kind):
    """Write mag and phase (or real and imaginary) series of a kind of scanner."""
    if kind == "siemens":
        dicom.write_series(folder, "siemens", ["mag"], number=5)
        dicom.write_series(folder, "siemens", ["phase"], number=6)
    elif kind in ("uih", "canon"):
        dicom.write_series(folder, kind, ["mag"], number=5)
        dicom.write_series(folder, kind, ["phase"], number=6)
    elif kind == "siemens-mixed":
        dicom.write_series(folder, "siemens", ["mag", "phase"], extension="")
    elif kind == "philips":
        dicom.write_series(folder, "philips", ["mag", "phase"])
    elif kind == "philips-precise":
        dicom.write_series(folder, "philips", ["mag", "phase"], scale_slope=10.0)
    elif kind == "ge-phase":
        dicom.write_series(folder, "ge", ["mag", "phase"])
    elif kind == "ge-complex":
        dicom.write_series(folder, "ge", ["mag", "real", "imag"])
    else:  # enhanced
        maker, _, files = kind.split("-")
        for number, part in ((5, "mag"), (6, "phase")):
            dicom.write_enhanced(folder, maker, [part], number=number, per_echo=files == "volume")
    return folder


def converted(folder, work, **labels):
    result = convert_dicom(folder, work / "work", participant="01", **labels)
    images, kept = place(result, work / "bids", participant="01", session=labels.get("session"))
    return result, images, kept


def canonical(path):
    """Read an image with its axes to the right, anterior and superior."""
    return nib.as_closest_canonical(nib.load(path)).get_fdata()


def read_complex(anat, dicom, stem="sub-01"):
    """Complex echoes in RAS order of what was written."""
    images = {p.name: p for p in anat.glob("*.nii.gz")}
    echoes = []
    for echo in range(1, len(dicom.ECHO_TIMES) + 1):
        part = {
            p: canonical(images[name])
            for p in ("mag", "phase", "real", "imag")
            if (name := f"{stem}_echo-{echo}_part-{p}_MEGRE.nii.gz") in images
        }
        if "phase" in part:
            sidecar = anat / f"{stem}_echo-{echo}_part-phase_MEGRE.json"
            units = json.loads(sidecar.read_text())["Units"]
            scale = detect_phase_scale(phase_statistics([part["phase"]]), units=units)
            echoes.append(part["mag"] * np.exp(1j * to_radians(part["phase"], scale)))
        else:
            echoes.append(part["real"] + 1j * part["imag"])
    return np.stack(echoes)


KINDS = [
    "siemens",
    "siemens-mixed",
    "philips",
    "philips-precise",
    "ge-phase",
    "ge-complex",
    "uih",
    "canon",
    "siemens-enhanced-series",
    "siemens-enhanced-volume",
    "philips-enhanced-series",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_vendor_gives_the_signal_that_was_stored(dicom, tmp_path, kind):
    _, images, _ = converted(write_scan(dicom, tmp_path / "dicom", kind), tmp_path)
    anat = tmp_path / "bids" / "sub-01" / "anat"
    assert len(images) == (9 if kind == "ge-complex" else 6)
    truth = dicom.make_signal()[:, ::-1, ::-1, :]  # left, posterior to right, anterior
    if kind == "ge-complex":
        truth = np.conj(truth) * (-1.0) ** np.arange(truth.shape[3])
    found = read_complex(anat, dicom)
    assert found.shape == truth.shape
    inside = np.abs(truth) > 100
    # half a step of the magnitude, and of the phase at its largest
    assert np.abs(found - truth)[inside].max() < 0.8 + 900 * 2 * np.pi / 4095
    for echo, te in enumerate(dicom.ECHO_TIMES, start=1):
        for sidecar in anat.glob(f"*_echo-{echo}_*.json"):
            content = json.loads(sidecar.read_text())
            assert content["EchoTime"] == pytest.approx(te)
            assert content["MagneticFieldStrength"] == 3
            assert content["ImagingFrequency"] == pytest.approx(123.25)
            assert content["Manufacturer"]


@pytest.mark.parametrize("kind", ["siemens", "philips-precise", "philips-enhanced-series"])
def test_units_say_what_the_numbers_are(dicom, tmp_path, kind):
    converted(write_scan(dicom, tmp_path / "dicom", kind), tmp_path)
    anat = tmp_path / "bids" / "sub-01" / "anat"
    for sidecar in anat.glob("*part-phase*.json"):
        assert json.loads(sidecar.read_text())["Units"] == "arbitrary"
    for sidecar in anat.glob("*part-mag*.json"):
        assert "Units" not in json.loads(sidecar.read_text())


def test_philips_radians_are_called_radians(dicom, tmp_path):
    converted(write_scan(dicom, tmp_path / "dicom", "philips"), tmp_path)
    sidecar = tmp_path / "bids/sub-01/anat/sub-01_echo-1_part-phase_MEGRE.json"
    assert json.loads(sidecar.read_text())["Units"] == "rad"


def test_the_mark_stays_left_anterior_superior_in_an_oblique_slab(dicom, tmp_path):
    folder = tmp_path / "dicom"
    dicom.write_series(folder, "siemens", ["mag", "phase"], orientation=dicom.OBLIQUE)
    _, images, _ = converted(folder, tmp_path)
    image = nib.load(next(p for p in images if "echo-1_part-mag" in p.name))
    centre = np.argwhere(image.get_fdata() > 600).mean(0)
    found = nib.affines.apply_affine(image.affine, centre)
    n, v = np.array(dicom.SHAPE), np.array(dicom.VOXEL)
    along = np.array([0.5, -0.4, 0.4]) * (n - 1) / 2 * v  # mm along the slab's own axes, LPS
    row, column = np.array(dicom.OBLIQUE).reshape(2, 3)
    axes = np.stack([row, column, np.cross(row, column)])
    np.testing.assert_allclose(found, (along @ axes) * [-1, -1, 1], atol=1.5)
    assert found[0] < -3
    assert found[1] > 3
    assert found[2] > 3


@pytest.mark.parametrize("kind", ["siemens", "philips", "ge-complex", "siemens-enhanced-series"])
def test_no_name_number_or_date_gets_into_the_dataset(dicom, tmp_path, kind):
    result, _, _ = converted(write_scan(dicom, tmp_path / "dicom", kind), tmp_path)
    said = str(list(result.rows())) + str([s.description for s in result.series])
    for path in [p for p in (tmp_path / "bids").rglob("*") if p.is_file()]:
        content = path.read_bytes()
        content = gzip.decompress(content)[:352] if path.suffix == ".gz" else content
        said += path.name + content.decode("latin-1")
    assert [secret for secret in SECRETS if secret in said] == []


def test_the_table_counts_images_and_echoes(dicom, tmp_path):
    write_scan(dicom, tmp_path, "siemens")
    write_scan(dicom, tmp_path / "enhanced", "siemens-enhanced-series")
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00rubbish")
    series, _ = scan_dicom(tmp_path)
    assert [s.number for s in series] == [5, 5, 6, 6]
    assert {s.n_images for s in series} == {36}
    assert {s.n_echoes for s in series} == {3}
    assert sorted(len(s.files) for s in series) == [1, 1, 36, 36]


def test_what_is_no_image_of_mr_is_named(dicom, tmp_path):
    write_scan(dicom, tmp_path / "d", "siemens-mixed")
    one = next((tmp_path / "d").iterdir())
    header = pydicom.dcmread(one)
    header.Modality, header.SeriesNumber, header.SeriesInstanceUID = "CT", 99, "1.2.3"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    header.save_as(tmp_path / "d" / "ct")
    result = convert_dicom(tmp_path / "d", tmp_path / "w", participant="01")
    assert ("99", "1", "qsm", "skipped: not MR but CT") in list(result.rows())
    assert len(result.naming.runs) == 1


def test_copies_of_a_file_count_once(dicom, tmp_path):
    write_scan(dicom, tmp_path / "d", "siemens-mixed")
    shutil.copytree(tmp_path / "d", tmp_path / "d" / "copy")
    series, warnings = scan_dicom(tmp_path / "d")
    assert [s.n_images for s in series] == [72]
    assert warnings == ["72 copies of DICOM files were left out"]


def test_two_patients_are_refused(dicom, tmp_path):
    write_scan(dicom, tmp_path, "siemens")
    dicom.write_series(tmp_path, "siemens", number=9, PatientName="Roe^Rick", PatientID="OTHER")
    with pytest.raises(InputError, match="images of 2 patients") as caught:
        scan_dicom(tmp_path)
    assert "Roe" not in str(caught.value)


def test_echoes_that_dcm2niix_stacked_are_refused(dicom, tmp_path, monkeypatch):
    """Three echoes in one file of this vendor come out as one volume of 36 slices."""
    write_scan(dicom, tmp_path / "d", "siemens-enhanced-series")
    monkeypatch.setattr(
        "qsmbids.io.dcm2niix_run.split_frames",
        lambda headers, _: [VolumeFile(h.path) for h in headers],
    )
    result = convert_dicom(tmp_path / "d", tmp_path / "w", participant="01")
    assert {fate for *_, fate in result.rows()} == {"skipped: dcm2niix mixed its 3 echoes"}


def test_two_examinations_are_mentioned(dicom, tmp_path):
    write_scan(dicom, tmp_path, "siemens")
    dicom.write_series(tmp_path, "siemens", number=9, StudyInstanceUID="1.2.3")
    assert "2 examinations" in scan_dicom(tmp_path)[1][0]


@pytest.mark.parametrize("make", ["empty", "file", "absent"])
def test_no_dicom_is_an_input_error(tmp_path, make):
    source = tmp_path / "source"
    if make == "empty":
        source.mkdir()
    elif make == "file":
        source.write_text("x")
    with pytest.raises(InputError, match=r"no DICOM image|neither a folder"):
        convert_dicom(source, tmp_path / "w", participant="01")


@pytest.mark.parametrize("suffix", ["zip", "gztar"])
def test_an_archive_gives_what_its_folder_gives(dicom, tmp_path, suffix):
    folder = write_scan(dicom, tmp_path / "dicom", "siemens-mixed")
    archive = shutil.make_archive(str(tmp_path / "scan"), suffix, folder)
    _, a, _ = converted(folder, tmp_path / "a")
    _, b, _ = converted(archive, tmp_path / "b")
    assert [p.name for p in a] == [p.name for p in b]
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]


def test_nothing_is_overwritten_and_an_interrupted_move_is_completed(dicom, tmp_path):
    result, images, _ = converted(write_scan(dicom, tmp_path / "d", "siemens"), tmp_path)
    bids = tmp_path / "bids"
    before = {p: p.read_bytes() for p in bids.rglob("*") if p.is_file()}
    again, kept = place(result, bids, participant="01")
    assert not again
    assert "already" in kept["sub-01"]
    images[0].unlink()  # as if the first call had been killed
    completed, _ = place(result, bids, participant="01")
    assert images[0] in completed
    assert {p: p.read_bytes() for p in bids.rglob("*") if p.is_file()} == before
    images[0].write_bytes(b"of somebody else")
    images[1].unlink()
    _, kept = place(result, bids, participant="01")
    assert "another image" in kept["sub-01"]
    assert images[0].read_bytes() == b"of somebody else"
    assert not images[1].exists()
    assert not list(bids.glob(".qsmbids*"))


def test_the_files_of_an_existing_dataset_are_kept(dicom, tmp_path):
    bids = tmp_path / "bids"
    bids.mkdir()
    (bids / "dataset_description.json").write_text('{"Name": "mine", "BIDSVersion": "1.8.0"}')
    (bids / "README").write_text("mine")
    (bids / "participants.tsv").write_text("participant_id\tage\nsub-99\t40\n")
    converted(write_scan(dicom, tmp_path / "d", "siemens"), tmp_path)
    assert json.loads((bids / "dataset_description.json").read_text())["Name"] == "mine"
    assert not (bids / "README.md").exists()
    table = (bids / "participants.tsv").read_text()
    assert table == "participant_id\tage\nsub-99\t40\nsub-01\tn/a\n"


def test_the_node_writes_a_dataset(dicom, tmp_path, monkeypatch):
    from qsmbids.interfaces.convert import ConvertDicom

    folder = write_scan(dicom, tmp_path / "d", "siemens")
    (tmp_path / "node").mkdir()
    monkeypatch.chdir(tmp_path / "node")
    outputs = ConvertDicom(source=str(folder), participant="01", session="a").run().outputs
    assert len(outputs.images) == 6
    assert [p.name for p in (tmp_path / "node").iterdir()] == ["bids"]  # no raw sidecars stay
    assert all("sub-01_ses-a_echo-" in name for name in outputs.images)
    assert "series 5: sub-01_ses-a MEGRE, mag, 3 echo(es)" in outputs.record["decisions"]


@pytest.mark.slow
def test_a_real_philips_head_is_the_same_from_classic_and_enhanced(shared_dir, tmp_path):
    head = shared_dir / "data" / "philips_head_2echo"
    if not head.is_dir():
        pytest.skip("the scan is absent")
    images = {}
    for kind in ("classic", "enhanced"):
        _, images[kind], _ = converted(head / f"dicom_{kind}", tmp_path / kind)
    both, _, _ = converted(head, tmp_path / "both")
    assert list(both.naming.runs) == ["sub-01_run-1", "sub-01_run-2"]
    names = [p.name for p in images["classic"]]
    assert names == [
        f"sub-01_echo-{echo}_part-{part}_MEGRE.nii.gz"
        for echo in (1, 2)
        for part in ("mag", "phase")
    ]
    assert names == [p.name for p in images["enhanced"]]
    for a, b in zip(images["classic"], images["enhanced"], strict=True):
        one, other = nib.load(a), nib.load(b)
        np.testing.assert_array_equal(one.get_fdata(), other.get_fdata())
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
        if "phase" in a.name:
            content = json.loads(a.with_name(a.name.replace(".nii.gz", ".json")).read_text())
            assert content["Units"] == "rad"
            assert np.ptp(one.get_fdata()) == pytest.approx(2 * np.pi, abs=0.01)


def test_a_real_field_map_in_hz_is_refused(shared_dir, tmp_path):
    folder = shared_dir / "data" / "ge_b0map_hz" / "dicom"
    if not folder.is_dir():
        pytest.skip("the scan is absent")
    result = convert_dicom(folder, tmp_path / "w", participant="01")
    assert result.naming.runs == {}
    assert any("field map in Hz" in fate for *_, fate in result.rows())


def test_a_real_siemens_scan_of_six_echoes_is_taken(shared_dir, tmp_path):
    """Each phase sidecar of dcm2niix holds the first two echo times beside its own."""
    folder = shared_dir / "data" / "siemens_gre_6echo" / "dicom"
    if not folder.is_dir():
        pytest.skip("the scan is absent")
    _, images, _ = converted(folder, tmp_path)
    times = []
    for path in sorted(p for p in images if "part-phase" in p.name):
        content = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert content["Units"] == "arbitrary"
        times.append(content["EchoTime"])
    assert times == pytest.approx([0.0025, 0.0055, 0.0085, 0.0115, 0.0145, 0.0175])
    assert len(images) == 12
