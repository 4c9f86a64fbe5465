"""How much one image tells about another: the quality of a registration."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float64Array, FloatArray, Mask

__all__ = ["dice", "information_of_shares", "normalised_mutual_information"]


def normalised_mutual_information(
    first: FloatArray,
    second: FloatArray,
    mask: Mask,
    *,
    n_bins: int = 32,
) -> float:
    """Return (H(A) + H(B)) / H(A, B), 1 for unrelated images and 2 for one that gives the other.

    Parameters
    ----------
    first, second : (X, Y, Z) ndarray
        Of any scale; each is cut at the 1st and 99th percentile.
    mask : (X, Y, Z) ndarray of bool
        Voxels that count.
    n_bins : int
        Of equal width, per image.

    Raises
    ------
    ValueError
        Shapes differ, or there are fewer than 100 voxels.

    References
    ----------
    Studholme C, Hill DLG, Hawkes DJ. An overlap invariant entropy measure of 3D medical image
    alignment. Pattern Recognition 1999;32:71-86. doi:10.1016/S0031-3203(98)00091-0, equation 4
    """
    if not first.shape == second.shape == mask.shape:
        raise ValueError(f"{first.shape}, {second.shape} and {mask.shape} differ in shape")
    if np.count_nonzero(mask) < 100:
        raise ValueError("the images have fewer than 100 voxels in common")
    pair = _binned(first[mask], n_bins) * n_bins + _binned(second[mask], n_bins)
    joint = np.bincount(pair, minlength=n_bins**2).reshape(n_bins, n_bins) / pair.size
    return information_of_shares(joint)


def information_of_shares(joint: Float64Array) -> float:
    """Return (H(A) + H(B)) / H(A, B) from the share of voxels with each pair of values.

    Parameters
    ----------
    joint : (A, B) ndarray
        Histogram of both images, of sum 1.

    Examples
    --------
    >>> information_of_shares(np.eye(4) / 4)
    2.0
    """
    together = _entropy(joint.ravel())
    if together == 0.0:  # both are constant
        return 1.0
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together


def dice(first: Mask, second: Mask) -> float:
    """Return the overlap of two masks, 0 to 1; 0 where both are empty.

    Examples
    --------
    >>> round(dice(np.array([True, True, False]), np.array([True, False, False])), 3)
    0.667
    """
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2.0 * np.count_nonzero(first & second) / total) if total else 0.0


def _binned(values: npt.NDArray, n_bins: int) -> npt.NDArray[np.intp]:
    low, high = np.percentile(values.astype(np.float64), (1, 99))
    scaled = (values - low) / max(high - low, np.finfo(float).tiny)
    return np.clip(scaled * n_bins, 0, n_bins - 1).astype(np.intp)


def _entropy(probability: Float64Array) -> float:
    known = probability[probability > 0]
    return float(-(known * np.log(known)).sum())
