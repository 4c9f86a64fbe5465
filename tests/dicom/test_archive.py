"""To a DICOM archive and back: every object is valid, every voxel where and what it was."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from qsmbids.io.dicom_out.export import export

pytestmark = [pytest.mark.dicom, pytest.mark.xdist_group("orthanc")]

MAPS = {  # series description, value of the NIfTI in the unit of classic images
    "Chimap": 1000.0,
    "R2starmap": 1.0,
    "T2starw": 1.0,
}
OBLIQUE = ((25,), (25, -40), (-10, 35, 20))
TABLE = Path("dicom-round-trip.json")


def errors_of(path: Path) -> list[str]:
    """Return what dciodvfy finds wrong with a file."""
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    assert said.stderr or said.stdout
    return [line for line in (said.stderr + said.stdout).splitlines() if "Error" in line]


@pytest.fixture(scope="module")
def geometries(dicom_scan):
    """All axis orders of the slices, each with another one of the files, and three slabs."""
    orders = dicom_scan.axis_orders()
    found = [
        (dicom_scan.Scan(axes=axes, seed=n), orders[(7 * n + 5) % 48])
        for n, axes in enumerate(orders)
    ]
    found += [
        (dicom_scan.Scan(axes=dicom_scan.rotation(*turn) @ dicom_scan.LPS, seed=n), orders[n])
        for n, turn in enumerate(OBLIQUE)
    ]
    return [
        (replace(scan, shape=(7, 6, 5), study=f"{scan.study}.{n}"), order)
        for n, (scan, order) in enumerate(found, 1)
    ]


@pytest.fixture(scope="module")
def exports(archive, geometries, dicom_scan, tmp_path_factory):
    """Export all geometries in both forms, and store them."""
    root = tmp_path_factory.mktemp("exports")
    for number, (scan, order) in enumerate(geometries):
        folder = root / str(number)
        # a person each, or Orthanc would take the names of the first
        source = scan.write(folder / "source", PatientID=f"PID-{number}")
        out = scan.write_output(folder / "out", order)
        export(out, folder / "dest", source, forms=("parametric-map", "classic"))
    files = sorted(root.glob("*/dest/**/*.dcm"))
    assert set(archive.store_all(files)) == {0}
    return root


def test_every_kind_of_object_is_valid(exports):
    for path in sorted(exports.glob("*/dest/*/*/0001.dcm")):
        assert errors_of(path) == [], path.parent.name


def test_what_comes_back_is_what_was_sent(exports, archive, geometries, dicom_scan, tmp_path):
    """By C-FIND, C-GET and dcm2niix; a table of the worst is left in the folder of the tests."""
    rows = []
    for number, (scan, _) in enumerate(geometries):
        found = archive.query("SERIES", StudyInstanceUID=scan.study, SeriesInstanceUID="")
        assert len(found) == 6
        files = archive.retrieve(scan.study, tmp_path / str(number))
        assert len(files) == 3 + 3 * scan.shape[2]
        converted = convert(tmp_path / str(number))
        assert len(converted) == 6
        for name, row in compare(scan, converted, dicom_scan, exports / str(number)).items():
            rows.append({"geometry": number, "map": name, **row})
    assert len(rows) == 51 * 6
    summary = {
        name: {
            key: max(row[key] for row in rows if row["map"] == name)
            for key in ("value_steps", "affine_mm")
        }
        for name in sorted({row["map"] for row in rows})
    }
    (tmp_path / TABLE).write_text(json.dumps({"worst": summary, "rows": rows}, indent=1))
    for name, worst in summary.items():
        print(name, worst)
        assert worst["value_steps"] <= 1, name
        assert worst["affine_mm"] <= 1e-4, name


def convert(folder: Path) -> list[Path]:
    """Convert a folder by dcm2niix and return the images."""
    subprocess.run(
        ["dcm2niix", "-b", "y", "-z", "n", "-f", "%s", "-o", folder, folder],
        check=True,
        capture_output=True,
    )
    return sorted(folder.glob("*.nii"))


def compare(scan, images, dicom_scan, folder) -> dict[str, dict[str, float]]:
    """Return the worst value, in steps of storage, and the worst entry of the affine, by map."""
    named = {}
    for path in folder.glob("dest/*/*/0001.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        named[str(header.SeriesNumber)] = path.parent.name, float(header.get("RescaleSlope", 0))
    truth = {
        "desc-wholebrain_Chimap": scan.chi(),
        "R2starmap": (40 + 100 * scan.chi()).clip(0).astype(np.float32),
        "desc-swi_T2starw": (1 + scan.chi()).clip(0).astype(np.float32),
    }
    rows = {}
    for image in images:
        title, step = named[image.stem]
        name, form = title.rsplit("_", 1)
        back = nib.load(image)
        order = np.rint(np.linalg.solve(scan.affine[:3, :3], back.affine[:3, :3]))
        values, affine = dicom_scan.stored_in(truth[name], scan.affine, order)
        if form == "classic":
            values = values * MAPS[name.rsplit("_", 1)[-1]]
        worst = float(np.abs(back.get_fdata() - values).max())
        step = step or float(np.spacing(np.abs(values).max()))  # of single precision
        rows[title] = {
            "value_steps": worst / step,
            "affine_mm": float(np.abs(back.affine - affine).max()),
        }
    return rows


def test_storescu_and_patient_level(archive, dicom_scan, tmp_path):
    """DCMTK sends regions and report too; the archive files them under the person of the scan."""
    scan = dicom_scan.Scan(study="1.2.826.0.1.3680043.8.498.99")
    source = scan.write(tmp_path / "source", PatientID="PID-99")
    labels = np.zeros(scan.shape, np.int16)
    labels[2:5, 2:6, 3:6] = 1
    support = np.ones(scan.shape, np.uint8)
    out = scan.write_output(
        tmp_path / "out",
        **{"seg-a_dseg": labels, "label-brain_desc-mask4noholes_mask": support},
    )
    anat = out / "sub-01" / "anat"
    (anat / "sub-01_seg-a_dseg.tsv").write_text("index\tname\n1\tRight-Putamen\n")
    (anat / "sub-01_seg-a_desc-wholebrain_stats.tsv").write_text(
        "index\tname\tn_mask4\tfraction_excluded\tmean\n1\tRight-Putamen\t36\t0.0\t0.05\n"
    )
    export(out, tmp_path / "dest", source, forms=("parametric-map", "classic"))
    for path in sorted((tmp_path / "dest").glob("*/*/0001.dcm")):
        assert errors_of(path) == [], path.parent.name
    archive.store(source)
    archive.store(tmp_path / "dest")
    archive.store(tmp_path / "dest")  # the same identifiers: nothing new
    (study,) = archive.query(
        "STUDY", PatientID="PID-99", StudyInstanceUID="", ModalitiesInStudy=""
    )
    assert study.StudyInstanceUID == scan.study
    found = archive.query("SERIES", StudyInstanceUID=scan.study, Modality="", SeriesNumber="")
    assert len(found) == 2 + 8
    assert sorted({d.Modality for d in found}) == ["MR", "SEG", "SR"]
    assert len({d.SeriesNumber for d in found}) == 10
    sent = len(list(source.iterdir())) + len(list((tmp_path / "dest").rglob("*.dcm")))
    assert len(archive.retrieve(scan.study, tmp_path / "back")) == sent
