"""Deep nuclei of two maps, inside the segmentations that the run brought to its grid.

Nothing is segmented or registered here: ``qsmbids ... --segmentation`` does, and leaves
``*_dseg.nii.gz`` with a table of names in the output. Without one, the nuclei are left out.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.reference.roi_statistics import roi_statistics
from qsmbids.errors import QSMError
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.nifti import read_volume
from qsmbids.io.segmentation_labels import read_regions
from qsmbids.reports.run.record import RunRecord

__all__ = ["Nucleus", "is_nucleus", "measure_nuclei"]

_WORDS = re.compile(
    r"caudate|putamen|pallid|(?<!hypo)thalam|red[ _-]?nucleus|nigra|dentate|accumbens",
    re.IGNORECASE,
)
#: As atlases of the subcortex shorten them (CIT168).
_SHORT = {"pu", "ca", "nac", "gpe", "gpi", "snc", "snr", "rn", "sth"}
#: Fewer voxels say little.
_FEWEST = 5


class Nucleus(NamedTuple):
    """Mean susceptibility [ppm] of one nucleus in both maps, over the same voxels."""

    segmentation: str
    name: str
    n_voxels: int
    published: float
    found: float


def is_nucleus(name: str) -> bool:
    """Tell whether a region is a deep nucleus by its name.

    Examples
    --------
    >>> [is_nucleus(n) for n in ("Left-Pallidum", "SNr_L", "ctx-lh-insula", "hypothalamus")]
    [True, True, False, False]
    """
    if re.search("ctx|cortex", name, re.IGNORECASE):
        return False
    parts = re.split(r"[-_. ]", name.lower())
    return bool(_WORDS.search(name)) or bool(_SHORT & set(parts))


def measure_nuclei(
    record: RunRecord,
    chi: npt.NDArray[np.float32],
    published: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
) -> tuple[list[Nucleus], list[str]]:
    """Return the mean of every deep nucleus in both maps.

    Parameters
    ----------
    record : RunRecord
    found, published : (X, Y, Z) ndarray
        Susceptibility [ppm] on one grid, with one reference.
    mask : (X, Y, Z) ndarray of bool
        Where both are known.
    affine : (4, 4) ndarray
        Of the grid.

    Returns
    -------
    nuclei : list of Nucleus
    notes : list of str
        What was left out, and why.
    """
    nuclei: list[Nucleus] = []
    notes: list[str] = []
    for image in _segmentations(record):
        try:
            volume = read_volume(image, np.int32)
            regions = [r for r in read_regions(_table(image)) if is_nucleus(r.name)]
        except QSMError as error:
            notes.append(f"a segmentation is left out: {error}")
            continue
        if volume.array.shape != mask.shape or not np.allclose(volume.affine, affine, atol=1e-2):
            notes.append(f"{image.name} lies on another grid and is left out")
            continue
        index = [r.label for r in regions]
        own, theirs = (roi_statistics(v, volume.array, mask, index) for v in (chi, published))
        segmentation = image.name.partition("_seg-")[2].partition("_")[0]
        nuclei += [
            Nucleus(segmentation, region.name, int(n), float(b), float(a))
            for region, n, a, b in zip(regions, own.n_mask4, own.mean, theirs.mean, strict=True)
            if n >= _FEWEST
        ]
    if not nuclei and not notes:
        notes.append(
            "deep nuclei are left out: the run has no segmentation that names any"
            " (qsmbids ... --segmentation brings one)"
        )
    return nuclei, notes


def _segmentations(record: RunRecord) -> list[Path]:
    """Return the segmentations that the run wrote."""
    one = derivative_path(
        record.out_dir, record.entities, datatype="anat", suffix="dseg", segmentation="X"
    )
    return sorted(one.parent.glob(one.name.replace("_seg-X", "_seg-*")))


def _table(image: Path) -> Path:
    return image.with_name(image.name.removesuffix(".nii.gz") + ".tsv")
