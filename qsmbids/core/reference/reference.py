"""Reference susceptibility to a region and describe regions (consensus section 8)."""

from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask

__all__ = ["RegionStatistics", "apply_reference", "reference_value", "region_statistics"]


class RegionStatistics(NamedTuple):
    """Values of a map over a region, in the unit of the map."""

    n_voxels: int
    mean: float
    std: float
    """Of the population, 0 for one voxel."""
    median: float
    percentile_5: float
    percentile_95: float


def reference_value(chi: FloatArray, region: Mask) -> float:
    """Return the mean susceptibility [ppm] of a reference region.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        [ppm].
    region : (X, Y, Z) ndarray of bool
        Must lie inside the support of ``chi``: zeros of the eroded rim would dilute the mean. For
        the whole brain it is Mask 4 without holes.

    Returns
    -------
    float
        [ppm], summed in double precision.

    Raises
    ------
    ValueError
        Shapes differ, the region is empty, or a value in it is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> chi = np.array([[[0.0, 0.1, 0.3]]])
    >>> round(reference_value(chi, chi > 0), 3)
    0.2
    """
    return float(_region_values(chi, region).mean())


def apply_reference(chi: FloatArray, mask: Mask, value: float) -> Float32Array:
    """Subtract a reference value [ppm] inside the mask.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        [ppm].
    mask : (X, Y, Z) ndarray of bool
        Support of the map (Mask 4).
    value : float
        Of :func:`reference_value` [ppm].

    Returns
    -------
    (X, Y, Z) ndarray of float32
        [ppm]; exactly 0 outside the mask.

    Raises
    ------
    ValueError
        Shapes differ or the value is not finite.
    """
    _check_shapes(chi, mask)
    if not np.isfinite(value):
        raise ValueError(f"the reference value is {value}")
    referenced = np.zeros(chi.shape, dtype=np.float32)
    # in double precision, because float32 would add a rounding error to the mean
    referenced[mask] = chi[mask].astype(np.float64) - value
    return referenced


def region_statistics(chi: FloatArray, region: Mask) -> RegionStatistics:
    """Describe a map over a region.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Any map.
    region : (X, Y, Z) ndarray of bool
        Must lie inside the support of the map.

    Returns
    -------
    RegionStatistics
        In the unit of the map.

    Raises
    ------
    ValueError
        Shapes differ, the region is empty, or a value in it is not finite.
    """
    values = _region_values(chi, region)
    low, median, high = np.percentile(values, (5, 50, 95))
    return RegionStatistics(
        n_voxels=values.size,
        mean=float(values.mean()),
        std=float(values.std()),
        median=float(median),
        percentile_5=float(low),
        percentile_95=float(high),
    )


def _region_values(chi: FloatArray, region: Mask) -> Float64Array:
    _check_shapes(chi, region)
    values = chi[region].astype(np.float64)
    if values.size == 0:
        raise ValueError("the region is empty")
    if not np.isfinite(values).all():
        raise ValueError("the map is not finite everywhere in the region")
    return values


def _check_shapes(chi: FloatArray, mask: Mask) -> None:
    if chi.shape != mask.shape:
        raise ValueError(f"map {chi.shape} and mask {mask.shape} differ in shape")
