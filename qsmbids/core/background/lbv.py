r"""LBV: remove the background field as the solution of a Laplacian boundary value problem."""

import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.background.multigrid import PoissonMultigrid
from qsmbids.core.background.result import BackgroundResult, CroppedField
from qsmbids.core.maths.arrays import EmptyMaskError, FloatArray, Mask
from qsmbids.core.maths.cg import conjugate_gradients
from qsmbids.core.phantom.analytic_fields import checked_vector

__all__ = ["lbv"]


def lbv(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    peel: int = 1,
    tolerance: float = 1e-4,
    maximum_iterations: int = 100,
) -> BackgroundResult:
    r"""Return local and background field by solving Laplace's equation inside the mask.

    Parameters
    ----------
    field : (X, Y, Z) ndarray
        Total field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Where the field is known (Mask 3); holes, channels and separate parts are allowed.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    peel : int
        Layers taken off the mask first. The field of the outermost layer that is left is taken
        for pure background, so that errors there spread inwards.
    tolerance : float
        Stop when the residual of Laplace's equation is this small.
    maximum_iterations : int
        Most iterations; about six are needed.

    Returns
    -------
    BackgroundResult
        Known in the mask less ``peel`` + 1 layers.

    Raises
    ------
    EmptyMaskError
        The mask is empty, or nothing is left inside its boundary.
    ValueError
        A shape, the voxel size or an option is wrong, or the field is not finite in the mask.

    Notes
    -----
    The background is harmonic, so with the seven-point Laplacian the local field is

    .. math:: \nabla^2 l = \nabla^2 f \text{ inside}, \qquad l = 0 \text{ on the boundary layer},

    found by conjugate gradients with a multigrid preconditioner on one thread: no Fourier
    transforms, about eight volumes of the bounding box.

    References
    ----------
    Zhou D, Liu T, Spincemaille P, Wang Y. Background field removal by solving the Laplacian
    boundary value problem. NMR Biomed 2014;27:312. doi:10.1002/nbm.3064

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((16, 16, 16), bool)
    >>> mask[3:13, 3:13, 3:13] = True
    >>> x, y, z = np.indices(mask.shape)
    >>> removed = lbv(x * y, mask, (1, 1, 1))
    >>> int(removed.mask.sum()), bool(abs(removed.local_field).max() < 1e-3)
    (216, True)
    """
    voxel = checked_vector(voxel_size, "voxel size")
    if peel < 0:
        raise ValueError(f"{peel} layers cannot be taken off")
    cropped = CroppedField.of(field, mask, (1, 1, 1))
    kept = ndi.binary_erosion(cropped.mask, iterations=peel) if peel else cropped.mask
    interior = ndi.binary_erosion(kept)
    if not interior.any():
        raise EmptyMaskError("the mask is too thin: nothing is left inside its boundary")
    solver = PoissonMultigrid(interior, voxel)
    solution = conjugate_gradients(
        solver.operator,
        solver.operator(solver.pad(cropped.field)),
        precondition=solver.precondition,
        tolerance=tolerance,
        maximum_iterations=maximum_iterations,
    )
    return cropped.result(solver.unpad(solution.x), interior, solution)
