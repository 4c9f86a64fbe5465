"""How close a map of the demo phantom comes to the truth."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from qsmbids.core.phantom.head import TISSUES
from qsmbids.io.nifti import read_volume

__all__ = ["NUCLEI", "Comparison", "compare_with_truth"]


#: Structures that the comparison with the truth lists.
NUCLEI = ("caudate", "putamen", "pallidum", "rednucleus", "nigra", "dentate")


class Comparison(NamedTuple):
    """Mean susceptibility [ppm] of one structure, over the same voxels and reference."""

    name: str
    true: float
    value: float


def compare_with_truth(bids_dir: Path, chi_file: Path) -> tuple[list[Comparison], float]:
    """Compare a susceptibility map of the phantom with the truth beside it.

    Parameters
    ----------
    bids_dir : Path
        Dataset of :func:`write_phantom_dataset`, written with its truth.
    chi_file : Path
        Map [ppm] of one of its runs, 0 outside its support.

    Returns
    -------
    rows : list of Comparison
        Both maps have the mean of the support as zero; a structure without a voxel in the
        support is left out.
    slope : float
        Of the means in the map on the true ones.

    Raises
    ------
    InputError
        A file is missing.
    """
    stem = chi_file.name.partition("_desc-")[0]
    root = chi_file.parents[3 if "_ses-" in stem else 2]
    anat = bids_dir / "derivatives" / "truth" / chi_file.parent.relative_to(root)
    chi = read_volume(chi_file).array
    true = read_volume(anat / f"{stem}_desc-truth_Chimap.nii.gz").array
    labels = read_volume(anat / f"{stem}_desc-truth_dseg.nii.gz", np.uint8).array
    support = chi != 0
    zero = [float(v[support].mean(dtype=np.float64)) for v in (true, chi)]
    rows = []
    for tissue in TISSUES:
        region = support & (labels == tissue.label)
        if tissue.name in NUCLEI and region.any():
            mean = [float(v[region].mean(dtype=np.float64)) for v in (true, chi)]
            rows.append(Comparison(tissue.name, mean[0] - zero[0], mean[1] - zero[1]))
    slope = np.polyfit([r.true for r in rows], [r.value for r in rows], 1)[0]
    return rows, float(slope)
