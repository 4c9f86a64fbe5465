"""Names and files of the simulated dataset and of its truth."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from qsmbids.io.write import write_json, write_volume

__all__ = ["MAGNITUDE_SCALE", "dataset_description", "modality_folder", "run_stem", "save_image"]

BIDS_VERSION = "1.10.0"
MAGNITUDE_SCALE = 1000.0  # stored number of grey matter at TE = 0


def run_stem(subject: str, session: str | None, run: int | None) -> str:
    """Return how the file names of a run begin."""
    parts = [f"sub-{subject}"]
    if session is not None:
        parts.append(f"ses-{session}")
    if run is not None:
        parts.append(f"run-{run}")
    return "_".join(parts)


def modality_folder(root: Path, subject: str, session: str | None, datatype: str) -> Path:
    """Return the folder of a datatype, made if it is absent."""
    path = root / f"sub-{subject}"
    if session is not None:
        path /= f"ses-{session}"
    path /= datatype
    path.mkdir(parents=True, exist_ok=True)
    return path


def save_image(
    path: Path,
    numbers: npt.NDArray,
    affine: npt.NDArray[np.float64],
    sidecar: dict[str, Any],
    *,
    slope: float | None = None,
    intercept: float = 0.0,
) -> None:
    """Write ``path``.nii.gz with the numbers as they are stored, and ``path``.json."""
    if slope is None:
        write_volume(f"{path}.nii.gz", numbers, affine)
    else:
        image = nib.Nifti1Image(numbers, affine)
        image.header.set_xyzt_units("mm", "sec")
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
        image.header.set_slope_inter(slope, intercept)  # does not touch the numbers
        nib.save(image, f"{path}.nii.gz")
    write_json(f"{path}.json", sidecar)


def dataset_description(name: str, dataset_type: str) -> dict[str, Any]:
    """Return the content of dataset_description.json."""
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": dataset_type,
        "License": "CC0",
        "Authors": ["The qsmbids developers", "simulated, no person was scanned"],
    }
