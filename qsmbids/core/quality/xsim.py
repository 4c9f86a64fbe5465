r"""XSIM: the structural similarity index with constants that fit susceptibility maps."""

import numpy as np
import scipy.ndimage as ndi

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["xsim", "xsim_map"]


#: Constants of the index: C1 = (K1 L)^2, C2 = (K2 L)^2 with L = 1 ppm.
K1, K2, DYNAMIC_RANGE = 0.01, 0.001, 1.0
#: Standard deviation of the Gaussian window and where it is cut off [voxels]: three to a side, as
#: in the authors' software.
SIGMA, RADIUS = 1.5, 1


def xsim(chi: FloatArray, truth: FloatArray, mask: Mask) -> float:
    """Return the mean structural similarity of two susceptibility maps inside a mask.

    Parameters
    ----------
    chi, truth : (X, Y, Z) ndarray
        Susceptibility [ppm] with the same reference; symmetric in the two. Values outside the
        mask count as 0.
    mask : (X, Y, Z) ndarray of bool
        Where to compare.

    Returns
    -------
    float
        1 for equal maps, near 0 for unrelated ones; may be negative.

    Raises
    ------
    ValueError
        The shapes differ, the mask is empty, or a value in it is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.random.default_rng(0).normal(0, 0.05, (12, 12, 12))
    >>> mask = np.ones(truth.shape, bool)
    >>> xsim(truth, truth, mask), bool(xsim(truth[::-1], truth, mask) < 0.3)
    (1.0, True)
    """
    return float(xsim_map(chi, truth, mask)[mask].mean(dtype=np.float64))


def xsim_map(chi: FloatArray, truth: FloatArray, mask: Mask) -> Float32Array:
    r"""Return the structural similarity around each voxel.

    Parameters
    ----------
    chi, truth, mask
        See :func:`xsim`.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        -1 to 1, 0 outside the mask.

    Raises
    ------
    ValueError
        See :func:`xsim`.

    Notes
    -----
    .. math:: \frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
                   {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)}

    with means, variances and covariance under a Gaussian window, C1 = 1e-4 and C2 = 1e-6 ppm^2.
    The common choice K2 = 0.03 with maps rescaled to 0..255 makes C2 outweigh the variance of
    brain tissue, so that noise and streaks go unnoticed.

    References
    ----------
    Milovic C, Tejos C, Silva J, Shmueli K, Irarrazaval P. XSIM: a structural similarity index
    measure optimized for MRI QSM. Magn Reson Med 2025;93:411. doi:10.1002/mrm.30271

    Wang Z, Bovik AC, Sheikh HR, Simoncelli EP. Image quality assessment: from error visibility
    to structural similarity. IEEE Trans Image Process 2004;13:600. doi:10.1109/TIP.2003.819861
    (the index and its window).
    """
    mask = np.asarray(mask, dtype=bool)
    if chi.ndim != 3 or not chi.shape == truth.shape == mask.shape:
        raise ValueError("the maps and the mask must be the same 3-D volume")
    box = bounding_box(mask)
    inside = mask[box]
    a, b = (np.where(inside, v[box], 0.0).astype(np.float64) for v in (chi, truth))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("the maps must be finite in the mask")

    def mean(volume: FloatArray) -> FloatArray:
        return ndi.gaussian_filter(volume, SIGMA, mode="constant", radius=RADIUS)

    c1, c2 = (K1 * DYNAMIC_RANGE) ** 2, (K2 * DYNAMIC_RANGE) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variance = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    index = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    index /= (mean_a**2 + mean_b**2 + c1) * (variance + c2)
    out = np.zeros(chi.shape, dtype=np.float32)
    out[box] = np.where(inside, index, 0.0)
    return out
