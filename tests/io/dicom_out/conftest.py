"""A scan, its output, and what becomes of them as DICOM."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from qsmbids.io.dicom_out.export import export


@pytest.fixture
def exported(dicom_scan, tmp_path):
    """Return a function that writes a scan and its output, exports it, and reads the result."""

    def make(scan=None, order=None, forms=("parametric-map", "classic"), tags=None, **images):
        scan = scan or dicom_scan.Scan()
        source = scan.write(tmp_path / "source", **(tags or {}))
        out = scan.write_output(tmp_path / "out", order, **images)
        done = export(out, tmp_path / "dest", source, forms=forms)
        return SimpleNamespace(scan=scan, out=out, done=done, series=read(tmp_path / "dest"))

    return make


def read(dest: Path) -> dict[str, list[pydicom.Dataset]]:
    """All objects by the name of their series."""
    found: dict[str, list[pydicom.Dataset]] = {}
    for path in sorted(dest.rglob("*.dcm")):
        found.setdefault(path.parent.name, []).append(pydicom.dcmread(path))
    return found


@pytest.fixture
def classic_volume():
    """Return values and affine (RAS) of MR images, by nothing but the standard."""

    def volume(images):
        frames = [d.pixel_array.T * float(d.RescaleSlope) for d in images]
        return np.stack(frames, -1), _affine(
            [d.ImagePositionPatient for d in images],
            images[0].ImageOrientationPatient,
            images[0].PixelSpacing,
        )

    return volume


@pytest.fixture
def map_volume():
    """Likewise of a Parametric Map, whose frames may be in any order, by their place."""

    def volume(dataset, wanted):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        frames = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(
            dataset.NumberOfFrames, dataset.Rows, dataset.Columns
        )
        groups = dataset.PerFrameFunctionalGroupsSequence
        places = [list(g.PlanePositionSequence[0].ImagePositionPatient) for g in groups]
        order = [places.index([float(v) for v in place]) for place in wanted]
        return frames[order].transpose(2, 1, 0), _affine(
            [places[i] for i in order],
            shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            shared.PixelMeasuresSequence[0].PixelSpacing,
        )

    return volume


def _affine(positions, turn, spacing):
    first, last = (np.array(positions[i], float) for i in (0, -1))
    axes = np.array(turn, float).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = axes[0] * float(spacing[1]), axes[1] * float(spacing[0])
    affine[:3, 2], affine[:3, 3] = (last - first) / (len(positions) - 1), first
    return np.diag([-1, -1, 1, 1]) @ affine
