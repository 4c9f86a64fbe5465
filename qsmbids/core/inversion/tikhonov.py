r"""Iterative Tikhonov inversion: least squares with the weights of the data, and a small map."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.inversion_input import check_inversion
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.cg import conjugate_gradients
from qsmbids.core.maths.fft import crop, irfft, rfft, uncrop

__all__ = ["TikhonovResult", "iterative_tikhonov"]


@dataclass(frozen=True)
class TikhonovResult:
    """What :func:`iterative_tikhonov` returns.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility [ppm], unreferenced, zero outside the mask.
    n_iterations : int
        Of the conjugate gradients.
    relative_residual : float
        Of the normal equations, at their end.
    converged : bool
        Whether that was small enough.
    """

    chi: Float32Array
    n_iterations: int
    relative_residual: float
    converged: bool


def iterative_tikhonov(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    size_penalty: float = 0.01,
    tolerance: float = 1e-2,
    maximum_iterations: int = 100,
    margin: int = 24,
    n_threads: int = 1,
) -> TikhonovResult:
    r"""Return the smallest susceptibility [ppm] that explains a local field [Hz].

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4.
    weights : (X, Y, Z) ndarray
        Of the data; only their ratios count.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    size_penalty : float
        lambda below, relative to the mean squared weight. Default: the least error on the built-in
        head of 3 mm at 3 T and a signal-to-noise ratio of 50.
    tolerance : float
        Relative residual of the normal equations.
    maximum_iterations : int
        Upper limit; fewer iterations give a smoother map.
    margin : int
        Zeros around the bounding box of the mask [voxels].
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    TikhonovResult

    Raises
    ------
    ValueError
        A shape or parameter is wrong, the mask is empty, or the field or the weights in it are
        not finite, negative, or all zero.

    Notes
    -----
    .. math:: \min_\chi \| W (D\chi - f) \|^2 + \lambda \overline{W^2} \|\chi\|^2
              \quad\Rightarrow\quad
              (D W^2 D + \lambda \overline{W^2}) \chi = D W^2 f

    by conjugate gradients of four transforms each, about nine volumes of memory. A quadratic
    penalty on the size takes about as much of a nucleus as of the noise: contrasts are too small.

    References
    ----------
    Karsa A, Punwani S, Shmueli K. An optimized and highly repeatable MRI acquisition and
    processing pipeline for quantitative susceptibility mapping in the head-and-neck region. Magn
    Reson Med 2020;84:3206. doi:10.1002/mrm.28377.
    """
    mask = np.asarray(mask, dtype=bool)
    check_inversion(local_field, mask, weights)
    if not (np.isfinite(size_penalty) and size_penalty > 0):
        raise ValueError(f"the penalty must be > 0, not {size_penalty}")
    if not (np.isfinite(centre_frequency) and centre_frequency > 0):
        raise ValueError("the centre frequency must be > 0")
    box, pad = bounding_box(mask), (margin, margin, margin)
    inside = crop(mask, box, pad)
    field = crop(np.where(mask, local_field, 0).astype(np.float32), box, pad)
    field /= np.float32(1e-6 * centre_frequency)
    squared = crop(np.where(mask, weights, 0).astype(np.float32), box, pad) ** 2
    squared /= np.float32(squared[inside].mean(dtype=np.float64))
    grid = (field.shape[0], field.shape[1], field.shape[2])
    kernel = dipole_kernel(grid, voxel_size, b0_direction)

    def dipole(x: Float32Array) -> Float32Array:
        product = rfft(x, n_threads)
        product *= kernel
        return irfft(product, grid, n_threads, overwrite=True)  # type: ignore[return-value]

    def normal(x: Float32Array) -> Float32Array:
        image = dipole(squared * dipole(x))
        image += np.float32(size_penalty) * x
        return image

    solution = conjugate_gradients(
        normal,
        dipole(squared * field),
        tolerance=tolerance,
        maximum_iterations=maximum_iterations,
    )
    chi = uncrop(np.where(inside, solution.x, np.float32(0)), local_field.shape, box, pad)
    return TikhonovResult(
        chi, solution.n_iterations, solution.relative_residual, solution.converged
    )
