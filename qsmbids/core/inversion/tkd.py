r"""Thresholded k-space division: the quickest look at susceptibility, for comparison only."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.quick_inversion import QuickInversion, invert_spectrum, symmetric_mean
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask

__all__ = ["tkd"]


def tkd(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    threshold: float = 0.2,
    correct_underestimation: bool = True,
    margin: int | None = 24,
    n_threads: int = 1,
) -> QuickInversion:
    r"""Return the susceptibility [ppm] of a local field [Hz] by truncated division.

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4.
    weights : (X, Y, Z) ndarray
        Voxels of weight 0 count as field 0; a division in k-space knows no other weights.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    threshold : float
        Smallest divisor, above 0 and below 2/3. 0.2 lets noise grow five times at most, which
        is the usual value; less leaves more streaks.
    correct_underestimation : bool
        Divide by the mean of D / D_t over k-space (0.84 at 0.2), the value to which the filter
        shrinks a point source.
    margin : int or None
        Zeros around the bounding box of the mask [voxels]; None keeps the given grid.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    QuickInversion

    Raises
    ------
    ValueError
        A shape or parameter is wrong, the mask is empty, or the field or the weights in it are
        not finite, negative, or all zero.

    Notes
    -----
    .. math:: \chi = F^{-1} \frac{F f}{D_t} \Big/ c, \quad
              D_t = \mathrm{sign}(D) \max(|D|, t), \quad
              c = \langle D / D_t \rangle_k

    Two transforms, about five volumes of memory.

    References
    ----------
    Shmueli K, de Zwart JA, van Gelderen P, Li TQ, Dodd SJ, Duyn JH. Magnetic susceptibility
    mapping of brain tissue in vivo using MRI phase data. Magn Reson Med 2009;62:1510.
    doi:10.1002/mrm.22135

    Schweser F, Deistung A, Sommer K, Reichenbach JR. Toward online reconstruction of quantitative
    susceptibility maps: superfast dipole inversion. Magn Reson Med 2013;69:1581.
    doi:10.1002/mrm.24405 (the correction, from the peak of the point spread function).
    """
    if not 0.0 < threshold < 2.0 / 3.0:
        raise ValueError(f"the threshold must be between 0 and 2/3, not {threshold}")

    def inverse(grid: tuple[int, int, int]) -> Float32Array:
        kernel = dipole_kernel(grid, voxel_size, b0_direction)
        sign = np.where(kernel < 0, np.float32(-1), np.float32(1))
        out = sign / np.maximum(np.abs(kernel), np.float32(threshold))
        out[0, 0, 0] = 0.0
        if correct_underestimation:
            out /= np.float32(symmetric_mean(kernel * out, grid))
        return out.astype(np.float32, copy=False)

    return invert_spectrum(
        local_field, mask, weights, inverse, centre_frequency, margin, n_threads
    )
