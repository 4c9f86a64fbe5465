"""The template that comes with the package."""

import csv
from dataclasses import asdict
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.registration import Registration
from qsmbids.core.anatomy.template import Region, Template
from qsmbids.io import segmentation_labels

__all__ = ["load_template", "read_fit", "template_regions", "write_fit"]


@cache
def load_template() -> Template:
    """Read the template; its images, their making and their licences lie in one folder."""
    with as_file(files("qsmbids") / "data" / "template") as folder:
        t1, grey, white, brain, regions = (
            nib.load(folder / f"{name}.nii.gz")
            for name in ("icbm152_t1", "icbm152_gm", "icbm152_wm", "brain_mask", "regions")
        )
        table = csv.DictReader(
            (folder / "regions.tsv").read_text("utf-8").splitlines(), delimiter="\t"
        )
        return Template(
            t1=np.asarray(t1.dataobj, dtype=np.float32),
            grey=_shares(grey),
            white=_shares(white),
            grid=np.asarray(t1.affine, dtype=np.float64),
            brain=np.asarray(brain.dataobj) > 0,
            regions=np.asarray(regions.dataobj, dtype=np.uint8),
            fine_grid=np.asarray(regions.affine, dtype=np.float64),
            table=tuple(Region(int(r["index"]), r["name"], r["side"]) for r in table),
        )


def template_regions() -> list[segmentation_labels.Region]:
    """Return the names of the template's labels, as tables of labels have them."""
    sides = {"left": "L", "right": "R"}
    return [
        segmentation_labels.Region(r.index, f"{r.name}-{r.side}", sides[r.side])
        for r in load_template().table
    ]


def write_fit(path: Path, fit: Registration) -> Path:
    """Keep where the template lies in a run, for a later step to go on from."""
    with path.open("wb") as file:
        np.savez(file, **{**asdict(fit), "channels": np.array(fit.channels, dtype=str)})
    return path


def read_fit(path: str | Path) -> Registration:
    """Read what :func:`write_fit` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        return Registration(
            affine=kept["affine"],
            run_affine=kept["run_affine"],
            shift=kept["shift"],
            information=float(kept["information"]),
            lead=float(kept["lead"]),
            size=float(kept["size"]),
            coverage=float(kept["coverage"]),
            least_jacobian=float(kept["least_jacobian"]),
            channels=tuple(str(name) for name in kept["channels"]),
        )


def _shares(image: nib.Nifti1Image) -> npt.NDArray[np.float32]:
    return np.asarray(np.asarray(image.dataobj, dtype=np.float32) / 255, dtype=np.float32)
