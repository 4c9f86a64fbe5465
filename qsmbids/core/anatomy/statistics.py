"""What a map shows in a region: partial volume, spread, and how sure the mean is (S1.6)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, find_objects

from qsmbids.core.maths.arrays import FloatArray, Mask

__all__ = ["RegionValues", "region_values", "standard_error"]


#: Fewest voxels that an eroded region must keep to be measured instead of the whole one.
ENOUGH = 20


class RegionValues(NamedTuple):
    """One region; NaN where no voxel counts."""

    volume_mm3: float
    n_voxels: int
    n_eroded: int
    """Left after one voxel is taken off all around."""
    eroded: bool
    """Whether the values below are of the eroded region."""
    share_outside: float
    """Of the region, outside the support (Mask 4)."""
    n_used: int
    mean: float
    std: float
    median: float
    iqr: float
    standard_error: float
    """Of the mean; neighbours in a map are not independent."""


def region_values(
    values: FloatArray,
    labels: npt.NDArray[np.integer],
    support: Mask,
    index: int,
    voxel_size: npt.ArrayLike,
    *,
    erode: bool = True,
) -> RegionValues:
    """Describe a map over one region.

    Parameters
    ----------
    values, labels, support : (X, Y, Z) ndarray
        A map, the region of every voxel, and where the map is known.
    index : int
        Label of the region.
    voxel_size : (3,) array_like
        [mm].
    erode : bool
        Leave out the outermost voxels, which hold other tissue too, if at least ``ENOUGH`` and a
        tenth of the region are left.

    Examples
    --------
    >>> labels = np.zeros((9, 9, 9), dtype=np.uint8)
    >>> labels[2:7, 2:7, 2:7] = 3
    >>> found = region_values(labels * 0.01, labels, labels < 9, 3, (1, 1, 2))
    >>> found.n_voxels, found.n_eroded, found.volume_mm3, round(found.mean, 3)
    (125, 27, 250.0, 0.03)
    """
    if not values.shape == labels.shape == support.shape:
        raise ValueError(
            f"map {values.shape}, labels {labels.shape} and support {support.shape} differ"
        )
    voxel = np.asarray(voxel_size, dtype=np.float64)
    region = labels == index
    n_voxels = int(np.count_nonzero(region))
    if n_voxels == 0:
        return RegionValues(0.0, 0, 0, False, np.nan, 0, *([np.nan] * 5))
    box = _around(region)
    region, known, values = region[box], support[box], values[box]
    inner = binary_erosion(region)
    n_eroded = int(np.count_nonzero(inner))
    eroded = erode and n_eroded >= max(ENOUGH, n_voxels // 10)
    used = (inner if eroded else region) & known
    outside = float(np.count_nonzero(region & ~known)) / n_voxels
    volume = float(n_voxels * voxel.prod())
    found = values[used].astype(np.float64)
    if found.size == 0:
        return RegionValues(volume, n_voxels, n_eroded, eroded, outside, 0, *([np.nan] * 5))
    low, median, high = np.percentile(found, (25, 50, 75))
    return RegionValues(
        volume_mm3=volume,
        n_voxels=n_voxels,
        n_eroded=n_eroded,
        eroded=eroded,
        share_outside=outside,
        n_used=int(found.size),
        mean=float(found.mean()),
        std=float(found.std()),
        median=float(median),
        iqr=float(high - low),
        standard_error=standard_error(values, used),
    )


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


def _around(region: Mask) -> tuple[slice, ...]:
    """Return the box of a region with one voxel to spare, so that the border erodes too."""
    (box,) = find_objects(region.astype(np.uint8))
    return tuple(
        slice(max(0, s.start - 1), min(n, s.stop + 1))
        for s, n in zip(box, region.shape, strict=True)
    )
