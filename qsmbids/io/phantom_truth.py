"""What a reconstruction of the simulated head should find, as a derivative dataset."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from qsmbids.core.phantom.head import TISSUES, Phantom
from qsmbids.io.phantom_files import (
    MAGNITUDE_SCALE,
    dataset_description,
    modality_folder,
    run_stem,
    save_image,
)
from qsmbids.io.write import write_json, write_text
from qsmbids.units import larmor_frequency

__all__ = ["write_truth"]


def write_truth(
    root: Path,
    names: tuple[str, str | None, int | None],
    phantom: Phantom,
    fields: dict[str, npt.NDArray[np.float32]],
    affine: npt.NDArray[np.float64],
    b0_tesla: float,
) -> None:
    """Write what a reconstruction should find as a derivative dataset."""
    subject, session, _ = names
    stem = run_stem(*names)
    anat = modality_folder(root, subject, session, "anat")
    fmap = modality_folder(root, subject, session, "fmap")
    scan = {
        "SkullStripped": True,
        "MagneticFieldStrength": b0_tesla,
        "ImagingFrequency": larmor_frequency(b0_tesla) * 1e-6,
    }

    def save(path: Path, numbers: npt.NDArray, **sidecar: object) -> None:
        save_image(path, numbers, affine, {**scan, **sidecar})

    mask = phantom.mask
    save(
        anat / f"{stem}_desc-truth_Chimap",
        np.where(mask, phantom.chi_brain, 0).astype(np.float32),
        Units="ppm",
        Description="True susceptibility relative to water",
    )
    save(
        anat / f"{stem}_R2starmap",
        (np.where(mask, phantom.r2star, 0) * (b0_tesla / 3.0)).astype(np.float32),
        Units="1/s",
        Description="True R2*",
    )
    _write_regions(anat / stem, phantom, affine)
    for name, field in fields.items():
        save(
            fmap / f"{stem}_desc-{name}_fieldmap",
            np.where(mask, field, 0).astype(np.float32),
            Units="Hz",
            Description=f"True {name} field",
        )
    save(
        fmap / f"{stem}_magnitude",
        (phantom.s0 * MAGNITUDE_SCALE).astype(np.int16),
        SkullStripped=False,
        Description="Signal at an echo time of zero without noise",
    )
    description = dataset_description("qsmbids demo head: truth", "derivative")
    description["GeneratedBy"] = [{"Name": "qsmbids", "Description": "qsmbids.io.phantom"}]
    write_json(root / "dataset_description.json", description)


def _write_regions(stem: Path, phantom: Phantom, affine: npt.NDArray[np.float64]) -> None:
    """Write the brain mask and the labels of the tissues."""
    save_image(
        Path(f"{stem}_label-brain_desc-truth_mask"),
        phantom.mask.astype(np.uint8),
        affine,
        {"Type": "Brain", "Description": "Brain with the cerebrospinal fluid around it"},
    )
    save_image(
        Path(f"{stem}_desc-truth_dseg"),
        phantom.labels,
        affine,
        {
            "Description": "Tissue that holds most of each voxel; 0 is air",
            "chi": {"Description": "True susceptibility relative to water", "Units": "ppm"},
        },
    )
    rows = "".join(f"{t.label}\t{t.name}\t{t.chi}\n" for t in TISSUES)
    write_text(f"{stem}_desc-truth_dseg.tsv", "index\tname\tchi\n" + rows)
