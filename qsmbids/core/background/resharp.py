r"""RESHARP: spherical means of one radius, with the deconvolution as a regularised inverse."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.background.result import BackgroundResult, CroppedField
from qsmbids.core.background.smv import EvenFilter, sphere_support
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.cg import conjugate_gradients

__all__ = ["resharp"]


#: Keeps the deconvolution finite without regularisation.
FLOOR = 1e-6


def resharp(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    radius: float = 4.0,
    tikhonov_weight: float = 1e-4,
    tolerance: float = 1e-4,
    maximum_iterations: int = 50,
    n_threads: int = 1,
) -> BackgroundResult:
    r"""Return local and background field by regularised SHARP.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Total field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Where the field is known (Mask 3).
    voxel_size : (3,) array_like
        [mm], along the array axes.
    radius : float
        Of the sphere, in voxels, or in mm for clearly anisotropic voxels, at least the longest
        side then. A large one costs mask, a small one sees less of the slow local field.
    tikhonov_weight : float
        alpha below, of the size of the local field. Large values shrink the slow part of it.
    tolerance : float
        Stop when the residual of the normal equations is this small relative to their right-hand
        side. The slow part of the local field comes first, and is fitted away again for
        much smaller values.
    maximum_iterations : int
        Most iterations.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    BackgroundResult
        Known where the sphere fits into the mask.

    Raises
    ------
    EmptyMaskError
        The mask is empty, or the sphere does not fit into it.
    ValueError
        A shape, the voxel size, the radius or an option is wrong, or the field is not finite in
        the mask.

    Notes
    -----
    With the spherical mean S and the support M of the result,

    .. math:: l = \arg\min_l \| M (1 - S) (f - l) \|^2 + \alpha \| l \|^2

    by conjugate gradients on :math:`(C^* C + \alpha) l = C^* C f`, :math:`C = M (1 - S)`, with
    the deconvolution :math:`((1 - S)^2 + \alpha)^{-1}` as preconditioner, which is the answer but
    for the rim: five iterations in place of fifty. Six transforms for each; about twelve volumes
    of the bounding box.

    References
    ----------
    Sun H, Wilman AH. Background field removal using spherical mean value filtering and Tikhonov
    regularization. Magn Reson Med 2014;71:1151. doi:10.1002/mrm.24765, Eq. 6

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((20, 20, 20), bool)
    >>> mask[3:17, 3:17, 3:17] = True
    >>> x, y, z = np.indices(mask.shape)
    >>> removed = resharp(x * y, mask, (1, 1, 1), radius=3)
    >>> int(removed.mask.sum()), bool(abs(removed.local_field).max() < 1e-3)
    (512, True)
    """
    if not tikhonov_weight >= 0 or not np.isfinite(tikhonov_weight):
        raise ValueError(f"the regularisation weight {tikhonov_weight} must be finite and >= 0")
    cropped = CroppedField.of(field, mask, (1, 1, 1))
    support, kernel = sphere_support(cropped.mask, voxel_size, radius)
    mean = EvenFilter(cropped.shape, kernel, n_threads)
    inverse = (1.0 / ((1.0 - kernel) ** 2 + max(tikhonov_weight, FLOOR))).astype(np.float32)
    deconvolution = EvenFilter(cropped.shape, inverse, n_threads)

    def squared(volume: Float32Array) -> Float32Array:
        """Return C* C volume; spheres around the support do not leave the mask."""
        difference = (volume - mean(volume)) * support
        return difference - mean(difference)

    def normal(local: Float32Array) -> Float32Array:
        return squared(local) + np.float32(tikhonov_weight) * local

    def precondition(residual: Float32Array) -> Float32Array:
        return deconvolution(residual) * cropped.mask

    solution = conjugate_gradients(
        normal,
        squared(cropped.field),
        precondition=precondition,
        tolerance=tolerance,
        maximum_iterations=maximum_iterations,
    )
    return cropped.result(solution.x, support, solution)
