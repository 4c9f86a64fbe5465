"""Which of the images in a folder a run was made from, as several vendors write them."""

import doctest
import importlib
import json
import pkgutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from compression import KINDS, compress

from qsmbids.errors import InputError
from qsmbids.io import dicom_out
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.dicom_out.export import export

CHI = "desc-wholebrain_Chimap"


@pytest.mark.parametrize("kind", ["ge-complex", "enhanced-mixed", "enhanced-apart", "philips"])
def test_sources_of_vendors(dicom, tmp_path, kind):
    """The run is what dcm2niix makes of the files; every echo and part is referred to."""
    source = tmp_path / "source"
    if kind == "ge-complex":
        dicom.write_series(source, "ge", ["mag", "real", "imag"])
    elif kind == "philips":
        dicom.write_series(source, "philips", ["mag", "phase"])
    elif kind == "enhanced-mixed":
        dicom.write_enhanced(source, "siemens", ["mag", "phase"])
    else:
        for number, part in ((5, "mag"), (6, "phase")):
            dicom.write_enhanced(source, "siemens", [part], number=number, per_echo=True)
    chi, affine = write_run(source, tmp_path)
    export(tmp_path / "out", tmp_path / "dest", source, forms=("parametric-map", "classic"))
    series = tmp_path / "dest" / "sub-01" / f"{CHI}_classic"
    images = [pydicom.dcmread(path) for path in sorted(series.iterdir())]
    assert len(images) == dicom.SHAPE[2]
    stored = np.stack([d.pixel_array.T for d in images], -1) * float(images[0].RescaleSlope)
    for d, k in zip(images, range(len(images)), strict=True):
        place = np.diag([-1, -1, 1]) @ np.array(d.ImagePositionPatient, float)
        i, j, k_run = np.rint(np.linalg.solve(affine, [*place, 1])[:3]).astype(int)
        assert stored[0, 0, k] == pytest.approx(1000 * chi[i, j, k_run], abs=0.5001)
    n_parts = 3 if kind == "ge-complex" else 2
    refs = images[3].SourceImageSequence
    n_frames = sum(len(np.atleast_1d(r.get("ReferencedFrameNumber", 1))) for r in refs)
    assert n_frames == n_parts * len(dicom.ECHO_TIMES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["classic", "enhanced"])
def test_a_compressed_source_gives_what_the_plain_one_gives(
    dicom_scan, dicom, tmp_path, form, kind
):
    """The new objects are plain, and identified as those of the plain source."""
    if form == "classic":
        scan = dicom_scan.Scan()
        out, source = scan.write_output(tmp_path / "out"), scan.write(tmp_path / "source")
    else:
        source = tmp_path / "source"
        dicom.write_enhanced(source, "siemens", ["mag", "phase"])
        write_run(source, tmp_path)
        out = tmp_path / "out"
    export(out, tmp_path / "plain", source)
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        compress(path, kind)
    export(out, tmp_path / "dest", source)
    one = sorted(p.relative_to(tmp_path / "plain") for p in (tmp_path / "plain").rglob("*.dcm"))
    assert one
    for name in one:
        a, b = (pydicom.dcmread(tmp_path / folder / name) for folder in ("plain", "dest"))
        assert b.SOPInstanceUID == a.SOPInstanceUID
        assert b.get("LossyImageCompression", "00") == "00"
        assert b.file_meta.TransferSyntaxUID == a.file_meta.TransferSyntaxUID


def write_run(source, folder):
    """Write the least that a run leaves; return its susceptibility and affine."""
    converted = convert_dicom(source, folder / "work", participant="01")
    images = [i.source.path for run in converted.naming.runs.values() for i in run]
    parts = [i.part for run in converted.naming.runs.values() for i in run]
    wanted = ("mag",) if "mag" in parts else ("real", "imag")
    chosen = [nib.load(p) for p, part in zip(images, parts, strict=True) if part in wanted]
    magnitude = np.sqrt(sum(image.get_fdata() ** 2 for image in chosen))
    chi = np.random.default_rng(0).normal(0, 0.1, magnitude.shape).astype(np.float32)
    for name, array in ((f"anat/sub-01_{CHI}", chi), ("fmap/sub-01_magnitude", magnitude)):
        path = folder / "out" / "sub-01" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(array.astype(np.float32), chosen[0].affine).to_filename(path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(
            json.dumps({"EchoTime": [0.005, 0.01, 0.015]})
        )
    return chi, chosen[0].affine


@pytest.fixture
def two_runs(dicom_scan, tmp_path):
    """Two scans of one person in the same place, one after the other."""
    scans = [dicom_scan.Scan(seed=seed) for seed in (1, 2)]
    for run, scan in enumerate(scans, 1):
        scan.write_output(tmp_path / "out", label=f"sub-01_run-{run}")
        for part, number in (("mag", 10 * run), ("phase", 10 * run + 1)):
            scan.write_series(
                tmp_path / f"source-{run}", part, number, AcquisitionTime=f"13{run}000"
            )
    return tmp_path


def test_each_run_has_its_own_images(two_runs):
    for run in (1, 2):
        (two_runs / f"source-{run}").rename(two_runs / f"both-{run}")
    (two_runs / "both").mkdir()
    for path in two_runs.glob("both-*/*"):
        path.rename(two_runs / "both" / path.name)
    export(two_runs / "out", two_runs / "dest", two_runs / "both", forms=("classic",))
    numbers = set()
    for run in (1, 2):
        series = two_runs / "dest" / f"sub-01_run-{run}" / f"{CHI}_classic"
        image = pydicom.dcmread(series / "0001.dcm")
        used = {r.ReferencedSOPInstanceUID.split(".")[-2] for r in image.SourceImageSequence}
        assert used == {str(10 * run), str(10 * run + 1)}
        numbers.add(image.SeriesNumber)
    assert len(numbers) == 2


def test_all_runs_of_an_examination_must_be_there(two_runs):
    with pytest.raises(InputError, match="run-2, but other values"):
        export(two_runs / "out", two_runs / "dest", two_runs / "source-1")
    assert not (two_runs / "dest").exists()


def test_without_a_magnitude_it_says_that_nothing_was_compared(dicom_scan, tmp_path):
    scan = dicom_scan.Scan()
    out = scan.write_output(tmp_path / "out")
    (out / "sub-01" / "fmap" / "sub-01_magnitude.nii.gz").unlink()
    done = export(out, tmp_path / "dest", scan.write(tmp_path / "source"))
    assert "could not be compared" in done.warnings[0]


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(dicom_out.__path__)])
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"{dicom_out.__name__}.{name}")
    assert doctest.testmod(module).failed == 0
