"""Writers of tiny BIDS datasets, and of images as dcm2niix leaves them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from qsmbids.core.phase.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.io.bids_naming import ConvertedImage
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.raw_dataset import place

SHAPE = (20, 18, 16)
AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])
GRID = (16, 18, 12)
PHASE = np.random.default_rng(0).integers(0, 4096, GRID).astype(np.int16)


def write_image(path: Path, array: np.ndarray | None = None, affine: Any = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ones(SHAPE, np.int16) if array is None else array
    image = nib.Nifti1Image(data, np.asarray(affine, dtype=float))
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(path)
    return path


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run below ``bids/`` and returns the root of the dataset."""

    def make(
        stem: str = "sub-01",
        echoes: int = 3,
        parts: tuple[str, ...] = ("mag", "phase"),
        suffix: str = "MEGRE",
        root: Path | None = None,
        with_sidecars: bool = True,
        **metadata: Any,
    ) -> Path:
        root = root or tmp_path / "bids"
        folders = [p for p in stem.split("_") if p.startswith(("sub-", "ses-"))]
        anat = root.joinpath(*folders, "anat")
        for echo in range(1, echoes + 1):
            for part in parts:
                words = [stem]
                words += [f"echo-{echo}"] if suffix == "MEGRE" or echoes > 1 else []
                words += [f"part-{part}"] if part else []
                name = "_".join([*words, suffix])
                write_image(anat / f"{name}.nii.gz")
                if with_sidecars:
                    content = {
                        "EchoTime": round(0.005 * echo, 6),
                        "MagneticFieldStrength": 3,
                        "ImagingFrequency": 123.25,
                        "Manufacturer": "Siemens",
                        **({"Units": "arbitrary"} if part == "phase" else {}),
                        **metadata,
                    }
                    content = {k: v for k, v in content.items() if v is not None}
                    (anat / f"{name}.json").write_text(json.dumps(content))
        description = {"Name": "tiny", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
        (root / "dataset_description.json").write_text(json.dumps(description))
        (root / "README.md").write_text("A tiny dataset of the tests, made of constants. " * 8)
        return root

    return make


@pytest.fixture
def image(tmp_path):
    """Return a function that writes one image as dcm2niix does."""
    count = iter(range(1000))

    def make(part="mag", te=0.005, *, series=0, data=None, shift=0.0, lift=0, name="v", **sidecar):
        if data is None:
            data = PHASE if part == "phase" else np.ones(GRID, np.int16)
        ending = {"phase": "_ph", "real": "_real", "imag": "_imaginary"}.get(part, "")
        path = tmp_path / str(next(count)) / f"{name}{ending}.nii"
        path.parent.mkdir()
        affine = np.eye(4)
        affine[0, 3], affine[2, 3] = shift, lift
        nib.save(nib.Nifti1Image(data, affine), path)
        letter = {"mag": "M", "phase": "P", "real": "R", "imag": "I"}[part]
        content = {
            "EchoTime": te,
            "SeriesNumber": series,
            "SeriesDescription": "qsm",
            "ProtocolName": "qsm",
            "ScanningSequence": "GR",
            "ImageType": ["ORIGINAL", "PRIMARY", letter, "ND"],
            **sidecar,
        }
        return ConvertedImage(path, {k: v for k, v in content.items() if v is not None}, series)

    return make


@pytest.fixture
def scan(image):
    """Return a function that writes all echoes of some parts as one series each."""

    def make(number, parts=("mag", "phase"), times=(0.005, 0.010, 0.015), **options):
        return [
            image(part, te, series=number + k, **options)
            for k, part in enumerate(parts)
            for te in times
        ]

    return make


@pytest.fixture
def signal(dicom):
    """Return three complex echoes of twelve slices."""
    return dicom.make_signal((16, 18, 12))


@pytest.fixture
def pair(dicom, signal):
    """Return a function that writes magnitude (5) and phase (6) as Siemens does."""

    def write(folder, **options):
        for number, part in ((5, "mag"), (6, "phase")):
            dicom.write_series(folder, "siemens", [part], number=number, signal=signal, **options)
        return folder

    return write


@pytest.fixture
def convert_folder(tmp_path):
    """Return a function that converts DICOM and returns fates by series, result and images."""

    def convert(folder):
        """Return the fates by series, the runs and the images that were written."""
        result = convert_dicom(folder, tmp_path / "work", participant="01")
        images, _ = place(result, tmp_path / "bids", participant="01")
        fates = {}
        for number, _, _, fate in result.rows():
            fates.setdefault(number, []).append(fate)
        return fates, result, images

    return convert


@pytest.fixture
def assert_is():
    """Return a function that compares the images of a run with a complex signal."""

    def compare(images, signal):
        truth = signal[:, ::-1, ::-1, :]  # left, posterior to right, anterior
        found = complex_echoes(images)
        inside = np.abs(truth) > 100
        assert found.shape == truth.shape
        assert np.abs(found - truth)[inside].max() < 2.2

    return compare


def complex_echoes(images):
    """Return the complex echoes of a run, axes to the right, anterior, superior."""
    parts = {p: [nib.load(i) for i in images if f"part-{p}_" in i.name] for p in ("mag", "phase")}
    arrays = {p: [nib.as_closest_canonical(i).get_fdata() for i in parts[p]] for p in parts}
    scale = detect_phase_scale(phase_statistics(arrays["phase"]))
    phases = [to_radians(array, scale) for array in arrays["phase"]]
    return np.stack([m * np.exp(1j * p) for m, p in zip(arrays["mag"], phases, strict=True)])
