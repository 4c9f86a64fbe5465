"""DICOM of every scanner in, the right total field out."""

import json
import logging
from pathlib import Path

import networkx as nx
import nibabel as nib
import numpy as np
import pytest
import scanners
import scipy.ndimage as ndi

from qsmbids.config import load_settings
from qsmbids.core.phantom.head import make_phantom, multi_echo_signal, simulate_field
from qsmbids.execution import Execution
from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.workflows.plan import RunPlan
from qsmbids.workflows.run import init_run_wf

SHAPE, VOXEL = (48, 56, 40), (1.9, 2.0, 2.2)
ECHO_TIMES = (0.005, 0.011, 0.017, 0.023)
READOUTS = ("monopolar", "bipolar")
MARK_MM, MARK_HZ = (-14.0, 16.0, 12.0), 25.0  # left, anterior, superior
TILT = np.radians(20.0)
AXES = {
    "axial": np.eye(3),
    "oblique": np.array(
        [[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]]
    ),
}

#: Maker and how its scanners write the series of one scan.
SCANS = {
    "siemens-unsigned": {"unsigned": True},
    "siemens-signed": {},
    "siemens-oblique": {},
    "siemens-enhanced-series": {"enhanced": "series"},
    "siemens-enhanced-volumes": {"enhanced": "volumes"},
    "philips-milliradians": {"scale_slope": 0, "mixed": True},
    "philips-radians": {"mixed": True},
    "philips-precise": {"scale_slope": 10.0, "mixed": True},
    "philips-enhanced": {"enhanced": "mixed"},
    "philips-enhanced-precise": {"enhanced": "mixed", "scale_slope": 10.0},
    "ge-complex": {"parts": ("mag", "real", "imag"), "mixed": True},
    "ge-phase": {"mixed": True},
    "ge-sagittal": {"parts": ("mag", "real", "imag"), "mixed": True},
    "uih": {"unsigned": True},
    "canon": {},
    "canon-enhanced": {"enhanced": "series"},
    "siemens-frames-in-any-order": {"enhanced": "shuffled"},
    "philips-four-kinds": {"enhanced": "shuffled", "parts": ("mag", "real", "imag", "phase")},
    "ge-four-kinds": {"enhanced": "shuffled", "parts": ("mag", "phase", "real", "imag")},
}
FAST = [
    ("siemens-signed", "bipolar"),
    ("philips-enhanced", "monopolar"),
]


@pytest.fixture(scope="module")
def heads():
    """Complex echoes in RAS by geometry and readout, with a mark in magnitude and field."""
    out = {}
    for geometry, axes in AXES.items():
        phantom = make_phantom(SHAPE, VOXEL, b0_direction=axes.T @ [0, 0, 1.0])
        total, _ = simulate_field(phantom)
        grid = [
            (np.arange(n) - (n - 1) / 2) * v - c
            for n, v, c in zip(SHAPE, VOXEL, MARK_MM, strict=True)
        ]
        near = np.exp(-sum(a**2 for a in np.meshgrid(*grid, indexing="ij")) / (2 * 4.0**2))
        for readout, ramp in zip(READOUTS, (0.0, 1.5), strict=True):
            echoes = multi_echo_signal(
                phantom, total + np.float32(MARK_HZ) * near, ECHO_TIMES, bipolar_rad=ramp
            )
            out[geometry, readout] = echoes * (1 + 2 * near).astype(np.float32)
    return out


@pytest.fixture(scope="module")
def direct(heads, tmp_path_factory):
    """Total field of the same echoes given as NIfTI files in radians, computed on demand."""
    known = {}

    def call(geometry, readout):
        if (geometry, readout) not in known:
            work = tmp_path_factory.mktemp("direct")
            write_nifti(work / "bids", heads[geometry, readout], AXES[geometry])
            known[geometry, readout] = total_field(work / "bids", work)
        return known[geometry, readout]

    return call


def write_nifti(root, signal, axes):
    affine = np.eye(4)
    affine[:3, :3] = axes * VOXEL
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    anat = root / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    for number, (te, echo) in enumerate(zip(ECHO_TIMES, signal, strict=True), start=1):
        sidecar = {
            "EchoTime": te,
            "MagneticFieldStrength": 3.0,
            "ImagingFrequency": 123.25,
            "Manufacturer": "Siemens",
            "Units": "rad",
        }
        for part, numbers in (("mag", 1000 * np.abs(echo)), ("phase", np.angle(echo))):
            stem = anat / f"sub-01_echo-{number}_part-{part}_MEGRE"
            nib.Nifti1Image(numbers.astype(np.float32), affine).to_filename(f"{stem}.nii.gz")
            Path(f"{stem}.json").write_text(json.dumps(sidecar))


def write_dicom(dicom, folder, scan, signal, axes):
    """Write the series as the scanner would, whose phase may fall with the field."""
    maker = scan.split("-")[0]
    options = dict(SCANS[scan])
    parts = options.pop("parts", ("mag", "phase"))
    mixed, enhanced = options.pop("mixed", False), options.pop("enhanced", "")
    stored = 1000.0 * signal[:, ::-1, ::-1, :]  # to left, posterior, superior
    if scan == "ge-phase":
        stored = np.conj(stored) * (-1.0) ** np.arange(SHAPE[2])
    if maker in ("uih", "canon"):
        stored = np.conj(stored)
    common = {"echo_times": ECHO_TIMES, "signal": stored, "voxel": VOXEL}
    if enhanced == "shuffled":
        names = {"siemens": scanners.SIEMENS, "philips": scanners.PHILIPS, "ge": scanners.GE}
        # which knows itself how GE stores it
        whole = 1000.0 * signal[:, ::-1, ::-1, :]
        scan_of = scanners.Scan(whole, ECHO_TIMES, names[maker], sequence="", voxel=VOXEL)
        scan_of.write(folder, parts, shuffled=5, **options)
    elif enhanced == "mixed":
        dicom.write_enhanced(folder, maker, parts, **common, **options)
    elif enhanced:
        for number, part in enumerate(parts, start=5):
            dicom.write_enhanced(
                folder, maker, [part], number=number, per_echo=enhanced == "volumes", **common
            )
    else:
        flip = np.diag([-1.0, -1.0, 1.0])
        lps = flip @ axes @ flip
        orientation = (*lps[:, 0], *lps[:, 1])
        if "sagittal" in scan:  # rows to posterior, columns to inferior, slices to the right
            orientation = (0, 1, 0, 0, 0, -1)
            common["signal"] = stored.transpose(0, 2, 3, 1)[:, :, ::-1, ::-1]
            common["voxel"] = (VOXEL[1], VOXEL[2], VOXEL[0])
        for number, series in enumerate([parts] if mixed else [[p] for p in parts], start=5):
            dicom.write_series(
                folder, maker, series, number=number, orientation=orientation, **common, **options
            )
    return folder


def total_field(bids, work):
    """Run the graph of the only run as far as the total field.

    Returns the field [Hz] and Mask 1 along right, anterior, superior, and the decisions.
    """
    runs, problems = collect_runs(bids, complex_parts=True)
    assert problems == []
    assert len(runs) == 1
    plan = RunPlan(runs[0], read_acquisition(runs[0]))
    workflow = init_run_wf(plan, load_settings(), Execution(work), bids, work / "out")
    graph = workflow._graph
    last = workflow.get_node("combine_echoes")
    needed = nx.ancestors(graph, last) | {last}
    workflow.remove_nodes([node for node in graph.nodes if node not in needed])
    workflow.base_dir = str(work)
    logging.getLogger("nipype.workflow").setLevel(logging.WARNING)
    workflow.config["execution"] = {
        "create_report": "false",
        "poll_sleep_duration": "0",
        "remove_unnecessary_outputs": "false",  # the decisions are no input of another step
    }
    done = {node.name: node for node in workflow.run(plugin="Linear").nodes}
    results = [node.result.outputs for node in done.values()]
    said = [d for out in results if hasattr(out, "record") for d in out.record["decisions"]]
    images = [
        nib.as_closest_canonical(nib.load(file))
        for file in (
            done["combine_echoes"].result.outputs.field,
            done["mask1"].result.outputs.mask,
        )
    ]
    field, mask = (np.asarray(image.dataobj) for image in images)
    return {"field": field, "mask": mask > 0, "affine": images[0].affine, "said": said}


def compare(found, reference):
    """Return rms [Hz] without the median inside both eroded brains, and their slope."""
    inside = ndi.binary_erosion(found["mask"] & reference["mask"], iterations=2)
    assert inside.sum() > 0.5 * reference["mask"].sum()
    a, b = reference["field"][inside], found["field"][inside]
    difference = b - a
    difference -= np.median(difference)
    return float(np.sqrt(np.mean(difference**2))), float(np.polyfit(a, b, 1)[0])


def mark_in_mm(bids):
    """Where the brightest place of the first echo is."""
    files = sorted((bids / "sub-01/anat").glob("*echo-1_part-*_MEGRE.nii.gz"))
    parts = {f.name.split("part-")[1].split("_")[0]: nib.load(f) for f in files}
    if "mag" in parts:
        numbers, image = parts["mag"].get_fdata(), parts["mag"]
    else:
        numbers = np.hypot(parts["real"].get_fdata(), parts["imag"].get_fdata())
        image = parts["real"]
    smooth = ndi.gaussian_filter(numbers, 1.5)
    place = np.unravel_index(smooth.argmax(), smooth.shape)
    return nib.affines.apply_affine(image.affine, place)


def check(dicom, convert_main, heads, direct, tmp_path, scan, readout):
    """Convert, compute, compare; return the rms [Hz]."""
    geometry = "oblique" if "oblique" in scan else "axial"
    signal, axes = heads[geometry, readout], AXES[geometry]
    bids = converted(dicom, convert_main, tmp_path, scan, signal, axes)
    np.testing.assert_allclose(mark_in_mm(bids), axes @ MARK_MM, atol=3.0)
    found, reference = total_field(bids, tmp_path), direct(geometry, readout)
    np.testing.assert_allclose(found["affine"], reference["affine"], atol=1e-3)
    assert any(f"readout: {readout}" in text for text in found["said"])
    rms, slope = compare(found, reference)
    print(f"{scan:<26}{readout:<11}{rms:8.4f} Hz rms   slope {slope:.5f}")
    assert rms < 0.5
    assert slope == pytest.approx(1, abs=0.01)
    return rms


def converted(dicom, convert_main, folder, scan, signal, axes):
    """Write the DICOM files of a scan and convert them; return the dataset."""
    source = write_dicom(dicom, folder / "dicom", scan, signal, axes)
    bids = folder / "bids"
    assert convert_main([str(source), str(bids), "--participant-label", "01"]) == 0
    return bids


@pytest.fixture
def convert_main():
    from qsmbids.cli.convert import main

    return main


@pytest.mark.slow
@pytest.mark.parametrize(("scan", "readout"), FAST)
def test_dicom_gives_the_field_of_the_direct_path(
    dicom, convert_main, heads, direct, tmp_path, scan, readout
):
    check(dicom, convert_main, heads, direct, tmp_path, scan, readout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "readout"),
    # the readout is the same to all of them: one each, in turn
    [case for n, scan in enumerate(SCANS) if (case := (scan, READOUTS[n % 2])) not in FAST],
)
def test_every_scanner_gives_the_field_of_the_direct_path(
    dicom, convert_main, heads, direct, tmp_path, scan, readout
):
    check(dicom, convert_main, heads, direct, tmp_path, scan, readout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "readout"),
    [("siemens-oblique", "monopolar"), ("philips-precise", "bipolar"), ("ge-phase", "bipolar")],
)
def test_the_command_line_gives_the_maps_of_the_direct_path(
    dicom, convert_main, heads, qsmbids, tmp_path, scan, readout
):
    geometry = "oblique" if "oblique" in scan else "axial"
    signal, axes = heads[geometry, readout], AXES[geometry]
    datasets = {
        "direct": tmp_path / "direct",
        "dicom": converted(dicom, convert_main, tmp_path, scan, signal, axes),
    }
    write_nifti(datasets["direct"], signal, axes)
    maps = {}
    for name, bids in datasets.items():
        out = tmp_path / f"out_{name}"
        code, _, said = qsmbids(
            bids, out, "participant", "--skip-bids-validation", "--sloppy", "--nprocs", "1",
            "--work-dir", tmp_path / f"work_{name}",
        )  # fmt: skip
        assert code == 0, said
        for suffix in ("total_fieldmap", "wholebrain_Chimap", "mask1_mask"):
            image = nib.as_closest_canonical(nib.load(next(out.rglob(f"*desc-{suffix}.nii.gz"))))
            maps[name, suffix] = np.asarray(image.dataobj)
    found, reference = (
        {"field": maps[name, "total_fieldmap"], "mask": maps[name, "mask1_mask"] > 0}
        for name in ("dicom", "direct")
    )
    rms, slope = compare(found, reference)
    assert rms < 0.5
    assert slope == pytest.approx(1, abs=0.01)
    a, b = (maps[name, "wholebrain_Chimap"] for name in ("direct", "dicom"))
    both = (a != 0) & (b != 0)
    assert both.sum() > 0.97 * np.count_nonzero(a)
    assert np.corrcoef(a[both], b[both])[0, 1] > 0.98
