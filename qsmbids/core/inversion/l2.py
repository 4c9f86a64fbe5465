r"""Closed-form inversion with a quadratic penalty on the gradient: smooth, in one step."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.quick_inversion import QuickInversion, invert_spectrum
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.gradient import laplacian_symbols

__all__ = ["closed_form_l2"]


def closed_form_l2(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    gradient_l2_penalty: float = 1e-2,
    margin: int | None = 24,
    n_threads: int = 1,
) -> QuickInversion:
    r"""Return the susceptibility [ppm] of a local field [Hz] that a smoothness penalty selects.

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
    gradient_l2_penalty : float
        lambda below, of the squared differences between voxels relative to the squared field in
        ppm. Default: the least error on a head phantom at field noise of 0.06 to 0.3 Hz and 3 to
        7 T; contrasts are then a third too small, the price of a quadratic penalty.
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
    .. math:: \min_\chi \|D\chi - f\|^2 + \lambda \|\nabla\chi\|^2
              \quad\Rightarrow\quad F\chi = \frac{D\,Ff}{D^2 + \lambda \sum_d |E_d|^2}

    with E_d the symbols of the forward differences. Two transforms, about five volumes of memory.

    References
    ----------
    Bilgic B, Chatnuntawech I, Fan AP, et al. Fast image reconstruction with L2-regularization.
    J Magn Reson Imaging 2014;40:181. doi:10.1002/jmri.24365 (Equation 3).
    """
    if not (np.isfinite(gradient_l2_penalty) and gradient_l2_penalty > 0):
        raise ValueError(f"the gradient penalty must be > 0, not {gradient_l2_penalty}")

    def inverse(grid: tuple[int, int, int]) -> Float32Array:
        kernel = dipole_kernel(grid, voxel_size, b0_direction)
        lx, ly, lz = laplacian_symbols(grid)
        penalty = np.float32(gradient_l2_penalty) * (lx[:, None, None] + ly[:, None] + lz)
        penalty[0, 0, 0] = 1.0
        return (kernel / (kernel**2 + penalty)).astype(np.float32, copy=False)

    return invert_spectrum(
        local_field, mask, weights, inverse, centre_frequency, margin, n_threads
    )
