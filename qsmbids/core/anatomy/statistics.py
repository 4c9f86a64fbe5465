"""What a map shows in a region: partial volume, spread, and how sure the mean is (S1.6)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, find_objects

from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["Eroded", "eroded_regions", "standard_error", "standard_errors"]

#: Fewest voxels, and least share of them, that an eroded region must keep to be measured instead
#: of the whole one.
ENOUGH, LEAST_SHARE = 20, 0.1


class Eroded(NamedTuple):
    """Regions without their outermost voxels."""

    labels: npt.NDArray[np.integer]
    """0 where a voxel was taken off."""
    n_inner: dict[int, int]
    """Of every region, the voxels that are left after one is taken off all around."""
    eroded: frozenset[int]
    """The regions that were."""


def eroded_regions(
    labels: npt.NDArray[np.integer], index: Sequence[int], thick: Sequence[int] = ()
) -> Eroded:
    """Take the outermost voxels, which hold other tissue too, off regions that are thick enough.

    Parameters
    ----------
    labels : (X, Y, Z) ndarray of int
    index : sequence of int
        Regions whose inner voxels are counted.
    thick : sequence of int
        Those of them that are eroded if ``ENOUGH`` voxels and a tenth are left.

    Examples
    --------
    >>> labels = np.zeros((9, 9, 9), dtype=np.uint8)
    >>> labels[2:7, 2:7, 2:7] = 3
    >>> found = eroded_regions(labels, [3], [3])
    >>> found.n_inner, int(np.count_nonzero(found.labels))
    ({3: 27}, 27)
    """
    out = labels.copy()
    boxes = find_objects(labels)
    counts, eroded = {}, set()
    for number in index:
        box = boxes[number - 1] if 0 < number <= len(boxes) else None
        if box is None:
            counts[number] = 0
            continue
        # with a voxel to spare, so that the rim of the volume erodes too
        region = np.pad(labels[box] == number, 1)
        inner = binary_erosion(region)[1:-1, 1:-1, 1:-1]
        counts[number] = n = int(np.count_nonzero(inner))
        if number in thick and n >= max(ENOUGH, LEAST_SHARE * np.count_nonzero(region)):
            part = out[box]
            part[(part == number) & ~inner] = 0
            eroded.add(number)
    return Eroded(out, counts, frozenset(eroded))


def standard_errors(
    values: FloatArray, labels: npt.NDArray[np.integer], support: Mask, index: Sequence[int]
) -> list[float]:
    """Return the standard error of the mean of every region, NaN where there is none.

    Parameters
    ----------
    values, labels, support : (X, Y, Z) ndarray
        A map, the region of every voxel, and where the map is known.
    index : sequence of int
    """
    boxes = find_objects(labels)
    errors = []
    for number in index:
        box = boxes[number - 1] if 0 < number <= len(boxes) else None
        if box is None:
            errors.append(float("nan"))
        else:
            errors.append(standard_error(values[box], (labels[box] == number) & support[box]))
    return errors


def standard_error(values: FloatArray, region: Mask) -> float:
    r"""Return the standard error of the mean over a region whose voxels correlate.

    Notes
    -----
    The variance of the mean is :math:`\sum_h N(h) C(h) / n^2`, with the number of pairs
    :math:`N(h)` and the covariance :math:`C(h)` at distance h. The covariance is measured along
    the three axes up to where it first is not positive, and taken as the product of the three,
    so that n independent voxels give :math:`\sigma / \sqrt n`.
    """
    n = int(np.count_nonzero(region))
    if n < 2:
        return float("nan")
    rest = np.where(region, values, 0.0) - np.where(region, values[region].mean(), 0.0)
    variance = float((rest[region] ** 2).sum()) / (n - 1)
    if variance == 0:
        return 0.0
    stretch = 1.0
    for axis in range(3):
        stretch *= _stretch(rest, region, axis, variance)
    return float(np.sqrt(variance * min(stretch, n) / n))


def _stretch(rest: FloatArray, region: Mask, axis: int, variance: float) -> float:
    """Return how many voxels along an axis count as one."""
    rest, region = np.moveaxis(rest, axis, 0), np.moveaxis(region, axis, 0)
    n = np.count_nonzero(region)
    total = 1.0
    for lag in range(1, region.shape[0]):
        pairs = region[lag:] & region[:-lag]
        count = np.count_nonzero(pairs)
        if count < 8:
            break
        correlation = float((rest[lag:] * rest[:-lag])[pairs].sum()) / (count * variance)
        if correlation <= 2.0 / np.sqrt(count):  # no more than chance
            break
        total += 2.0 * correlation * count / n
    return total
