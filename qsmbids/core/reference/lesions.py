"""What a map shows in and around lesions, one by one."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_dilation,
    binary_erosion,
    find_objects,
    generate_binary_structure,
    label,
)

from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["Lesion", "describe_lesions", "separate_lesions"]

#: Voxels beside a lesion that are left out of its surroundings, and those that are them.
_GAP, _WIDTH = 1, 2
_TOUCHING = generate_binary_structure(3, 3)


class Lesion(NamedTuple):
    """One lesion; NaN where no voxel counts. Shares and means are of the voxels inside the map."""

    index: int  # type: ignore[assignment]  # a tuple has a method of this name
    n_voxels: int
    n_inside: int
    """Where the map is known; all that follows is about them."""
    mean: float
    std: float
    median: float
    rim_mean: float
    """Of the outermost voxels."""
    core_mean: float
    """Of the others; NaN of a lesion that is all rim."""
    rim_minus_core: float
    surroundings_mean: float
    """Of a shell of two voxels, one voxel away, without other lesions."""
    paramagnetic_share: float
    """Of voxels above zero, which is the reference of the map."""
    diamagnetic_share: float


def separate_lesions(labels: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], bool]:
    """Give the pieces of a mask, which has one value, numbers; labels stay as they are.

    Returns
    -------
    labels : ndarray of int32
    separated : bool
        Whether the lesions were the pieces of a mask. Voxels that touch at a corner belong
        together.
    """
    values = np.unique(labels[labels != 0])
    if values.size != 1:
        return labels.astype(np.int32), False
    pieces, n = label(labels != 0, structure=_TOUCHING)
    return np.asarray(pieces, dtype=np.int32), n > 1


def describe_lesions(
    chi: FloatArray, labels: npt.NDArray[np.integer], support: Mask
) -> list[Lesion]:
    """Describe a map over every lesion.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        [ppm].
    labels : (X, Y, Z) ndarray of int
        Lesion of every voxel, 0 where there is none.
    support : (X, Y, Z) ndarray of bool
        Where the map is known.

    Examples
    --------
    >>> labels = np.zeros((11, 11, 11), dtype=int)
    >>> labels[3:8, 3:8, 3:8] = 1
    >>> chi = np.where(labels, 0.1, -0.02)
    >>> chi[4:7, 4:7, 4:7] = -0.05
    >>> (one,) = describe_lesions(chi, labels, labels < 2)
    >>> round(one.rim_minus_core, 3), round(one.paramagnetic_share, 3)
    (0.15, 0.784)
    """
    if not chi.shape == labels.shape == support.shape:
        raise ValueError(
            f"map {chi.shape}, lesions {labels.shape}, support {support.shape} differ"
        )
    margin = _GAP + _WIDTH + 1
    found = []
    for index, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        wide = tuple(
            slice(max(0, s.start - margin), min(n, s.stop + margin))
            for s, n in zip(box, labels.shape, strict=True)
        )
        part = np.pad(labels[wide], 1)
        known, values = np.pad(support[wide], 1), np.pad(chi[wide].astype(np.float64), 1)
        found.append(_describe(index, part, known, values))
    return found


def _describe(
    index: int, labels: npt.NDArray[np.integer], known: Mask, values: npt.NDArray[np.float64]
) -> Lesion:
    lesion = labels == index
    core = binary_erosion(lesion)
    near = binary_dilation(lesion, _TOUCHING, iterations=_GAP)
    shell = binary_dilation(near, _TOUCHING, iterations=_WIDTH) & ~near & (labels == 0)
    inside = values[lesion & known]
    rim, middle = _mean(values[lesion & ~core & known]), _mean(values[core & known])
    n = inside.size
    return Lesion(
        index=index,
        n_voxels=int(np.count_nonzero(lesion)),
        n_inside=n,
        mean=_mean(inside),
        std=float(inside.std()) if n else float("nan"),
        median=float(np.median(inside)) if n else float("nan"),
        rim_mean=rim,
        core_mean=middle,
        rim_minus_core=rim - middle,
        surroundings_mean=_mean(values[shell & known]),
        paramagnetic_share=float(np.count_nonzero(inside > 0)) / n if n else float("nan"),
        diamagnetic_share=float(np.count_nonzero(inside < 0)) / n if n else float("nan"),
    )


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
