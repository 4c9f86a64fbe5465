"""Writers of tiny BIDS datasets, and of images as dcm2niix leaves them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from qsmbids.io.bids_naming import ConvertedImage

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
