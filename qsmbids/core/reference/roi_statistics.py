"""Statistics of a map over every region of a segmentation at once (consensus section 8)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float64Array, FloatArray, Mask

__all__ = ["RoiStatistics", "roi_statistics"]


class RoiStatistics(NamedTuple):
    """One value per region; NaN where a region has no voxel that counts."""

    n_voxels: npt.NDArray[np.int64]
    """Of the segmentation."""
    n_mask4: npt.NDArray[np.int64]
    """Of these, inside the support; all that follows is about them."""
    fraction_excluded: Float64Array
    mean: Float64Array
    std: Float64Array
    """Of the population, 0 for one voxel."""
    median: Float64Array
    iqr: Float64Array
    """75th less 25th percentile."""
    mad: Float64Array
    """Median absolute deviation from the median, not scaled."""
    p05: Float64Array
    p95: Float64Array


def roi_statistics(
    chi: FloatArray,
    labels: npt.NDArray[np.integer],
    support: Mask,
    index: npt.ArrayLike,
) -> RoiStatistics:
    """Describe a map over the regions of a segmentation.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Any map, here [ppm].
    labels : (X, Y, Z) ndarray of int
        Region of every voxel, so that regions cannot overlap.
    support : (X, Y, Z) ndarray of bool
        Where the map is known: Mask 4 without holes (8.b). Nothing else counts, for zeros of
        the eroded rim would dilute a region.
    index : (R,) array_like of int
        Labels wanted, each once; one that the segmentation lacks gives an empty region.

    Returns
    -------
    RoiStatistics
        Of arrays (R,) in the order of ``index``, in the unit of the map.

    Raises
    ------
    ValueError
        Shapes differ, the labels are no integers, one is wanted twice, or a value of the map
        that counts is not finite.

    Notes
    -----
    The voxels are sorted by region and value once; sums and percentiles (linear between order
    statistics, as in :func:`numpy.percentile`) are then taken of all regions together.

    Examples
    --------
    >>> chi = np.array([[[0.1, 0.2, 0.6, 9.0]]])
    >>> labels = np.array([[[5, 5, 5, 5]]])
    >>> table = roi_statistics(chi, labels, chi < 1, [5])
    >>> round(float(table.mean[0]), 6), float(table.median[0]), float(table.fraction_excluded[0])
    (0.3, 0.2, 0.25)
    """
    wanted = _check(chi, labels, support, index)
    order = np.argsort(wanted)
    if wanted.size == 0:
        return RoiStatistics(wanted, wanted, *(np.zeros(0) for _ in range(8)))
    # most voxels have no label at all, and need not be looked up
    labelled = np.ones(labels.shape, dtype=bool) if 0 in wanted else labels != 0
    in_all = _region_numbers(labels[labelled], wanted, order)
    n_voxels = np.bincount(in_all[in_all >= 0], minlength=wanted.size)

    known = labelled & support
    region = _region_numbers(labels[known], wanted, order)
    values = chi[known][region >= 0].astype(np.float64)
    region = region[region >= 0]
    if not np.isfinite(values).all():
        raise ValueError("the map is not finite everywhere in the regions")
    n = np.bincount(region, minlength=wanted.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(region, values, wanted.size) / n
        variance = np.bincount(region, (values - mean[region]) ** 2, wanted.size) / n
        excluded = 1.0 - n / n_voxels
    excluded[n_voxels == 0] = np.nan
    p05, p25, median, p75, p95 = _percentiles(values, region, n, (5, 25, 50, 75, 95))
    (mad,) = _percentiles(np.abs(values - median[region]), region, n, (50,))
    return RoiStatistics(
        n_voxels=n_voxels,
        n_mask4=n,
        fraction_excluded=excluded,
        mean=mean,
        std=np.sqrt(variance),
        median=median,
        iqr=p75 - p25,
        mad=mad,
        p05=p05,
        p95=p95,
    )


def _check(
    chi: npt.NDArray, labels: npt.NDArray, support: npt.NDArray, index: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Refuse what cannot be measured; return the labels wanted."""
    if not chi.shape == labels.shape == support.shape:
        raise ValueError(
            f"map {chi.shape}, labels {labels.shape} and support {support.shape} differ in shape"
        )
    if labels.dtype.kind not in "iu" or support.dtype.kind != "b":
        raise ValueError("labels must be integers, and the support boolean")
    wanted = np.asarray(index, dtype=np.int64).reshape(-1)
    if np.unique(wanted).size != wanted.size:
        raise ValueError("a label is wanted twice")
    return wanted


def _region_numbers(
    labels: npt.NDArray, wanted: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the place of each voxel's label among those wanted, -1 where it is none of them."""
    place = np.minimum(np.searchsorted(wanted[order], labels), wanted.size - 1)
    number = order[place]
    return np.where(wanted[number] == labels, number, -1)


def _percentiles(
    values: Float64Array, region: npt.NDArray[np.int64], n: npt.NDArray[np.int64], percents: tuple
) -> list[Float64Array]:
    """Return percentiles of every region, NaN of an empty one."""
    ordered = values[np.lexsort((values, region))]
    start = np.cumsum(n) - n
    filled = n > 0
    results = []
    for percent in percents:
        position = percent / 100.0 * (n[filled] - 1)
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, n[filled] - 1)
        low, high = ordered[start[filled] + below], ordered[start[filled] + above]
        result = np.full(n.size, np.nan)
        result[filled] = low + (high - low) * (position - below)
        results.append(result)
    return results
