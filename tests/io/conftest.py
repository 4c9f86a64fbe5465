"""A writer of tiny BIDS datasets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

SHAPE = (20, 18, 16)
AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])


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
