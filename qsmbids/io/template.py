"""The template that comes with the package."""

import csv
from functools import cache
from importlib.resources import as_file, files

import nibabel as nib
import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.template import Region, Template

__all__ = ["load_template"]


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


def _shares(image: nib.Nifti1Image) -> npt.NDArray[np.float32]:
    return np.asarray(np.asarray(image.dataobj, dtype=np.float32) / 255, dtype=np.float32)
