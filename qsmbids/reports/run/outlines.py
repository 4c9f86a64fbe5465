"""Regions as one volume of codes, whose outlines the viewer draws over the maps."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qsmbids.errors import QSMError
from qsmbids.io.nifti import read_volume
from qsmbids.io.segmentation_labels import read_regions
from qsmbids.reports.paper.geometry import DisplayGrid

__all__ = ["Outlines", "read_outlines"]

#: Outlines of these lie everywhere, and hide what is under them.
_EVERYWHERE = re.compile(r"white[-_ .]?matter|cortex|ctx|(^|[-_ .])wm([-_ .]|$)", re.IGNORECASE)
#: A voxel has a byte.
_MOST = 255


@dataclass(frozen=True)
class Outlines:
    """Regions of all segmentations of a run.

    Attributes
    ----------
    codes : (X, Y, Z) ndarray of uint8
        On the display grid; 0 where there is no region.
    names : tuple of str
        That of code 1 first.
    """

    codes: npt.NDArray[np.uint8]
    names: tuple[str, ...]


def read_outlines(paths: Mapping[str, Path], grid: DisplayGrid) -> Outlines | None:
    """Read the segmentations of a run; None where there is none that can be shown.

    Parameters
    ----------
    paths : mapping
        Images by their ``seg`` label; where they overlap, the last one is shown.
    grid : DisplayGrid
    """
    codes: npt.NDArray[np.uint8] | None = None
    names: list[str] = []
    for path in paths.values():
        table = path.with_name(path.name.removesuffix(".nii.gz") + ".tsv")
        try:
            volume = read_volume(path, np.int32)
            if not np.allclose(volume.affine, grid.affine, atol=1e-2):
                continue
            labels = grid.display(volume.array)
            known = {r.label: r.name for r in read_regions(table)} if table.is_file() else {}
        except (QSMError, ValueError):
            continue
        if codes is None:
            codes = np.zeros(labels.shape, dtype=np.uint8)
        for label in np.unique(labels).tolist():
            name = known.get(label, f"label{label}")
            if label and not _EVERYWHERE.search(name) and len(names) < _MOST:
                names.append(name)
                codes[labels == label] = len(names)
    if codes is None or not names:
        return None
    return Outlines(codes, tuple(names))
