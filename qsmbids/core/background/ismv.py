r"""iSMV: the background is the field that equals its own spherical means."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.background.result import BackgroundResult, CroppedField
from qsmbids.core.background.smv import EvenFilter, sphere_support
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.cg import conjugate_gradients

__all__ = ["ismv"]


#: Keeps the deconvolution finite where the sphere does not filter; any small value will do.
FLOOR = np.float32(0.03)


def ismv(
    field: FloatArray,
    mask: Mask,
    voxel_size: npt.ArrayLike,
    *,
    radius: float = 4.0,
    tolerance: float = 1e-3,
    maximum_iterations: int = 50,
    n_threads: int = 1,
) -> BackgroundResult:
    r"""Return local and background field by iterated spherical mean values.

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
        side then. A large one costs mask, a small one is nearer to LBV.
    tolerance : float
        Stop when the background differs from its spherical means by this little, relative to
        the total field's difference.
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
    The published iteration replaces the field by its spherical means S where the sphere fits
    (M), and leaves it as it is in the rim, until nothing changes. That limit is the solution of

    .. math:: M (1 - S) M l = M (1 - S) f, \qquad b = f - l ,

    symmetric and positive definite, for which conjugate gradients with the deconvolution
    :math:`(1 - S)^{-1}` as preconditioner take about five steps in place of hundreds. Four
    transforms for each; about ten volumes of the bounding box.

    References
    ----------
    Wen Y, Zhou D, Liu T, Spincemaille P, Wang Y. An iterative spherical mean value method for
    background field removal in MRI. Magn Reson Med 2014;72:1065. doi:10.1002/mrm.24998

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.zeros((20, 20, 20), bool)
    >>> mask[3:17, 3:17, 3:17] = True
    >>> x, y, z = np.indices(mask.shape)
    >>> removed = ismv(x * y, mask, (1, 1, 1), radius=3)
    >>> int(removed.mask.sum()), bool(abs(removed.local_field).max() < 1e-3)
    (512, True)
    """
    cropped = CroppedField.of(field, mask, (1, 1, 1))
    support, kernel = sphere_support(cropped.mask, voxel_size, radius)
    mean = EvenFilter(cropped.shape, kernel, n_threads)
    deconvolution = EvenFilter(cropped.shape, 1.0 / (1.0 - kernel + FLOOR), n_threads)

    def difference(volume: Float32Array) -> Float32Array:
        """Return M (1 - S) volume; spheres around the support do not leave the mask."""
        return (volume - mean(volume)) * support

    solution = conjugate_gradients(
        difference,
        difference(cropped.field),
        precondition=lambda residual: deconvolution(residual) * support,
        tolerance=tolerance,
        maximum_iterations=maximum_iterations,
    )
    return cropped.result(solution.x, support, solution)
