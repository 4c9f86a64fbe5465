"""The spherical mean value (SMV) that MEDI filters the field and the dipole with."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array
from qsmbids.units import TWO_PI

__all__ = ["smv_kernel"]

#: Points along each side of a voxel, to find which part of it lies in the sphere.
SAMPLES = 20


def smv_kernel(
    shape: tuple[int, int, int], radius_mm: float, voxel_size: npt.ArrayLike
) -> Float32Array:
    """Return the transform of a sphere of unit sum on the half spectrum.

    Voxels that the surface cuts count by the part of them inside, unlike the whole voxels of
    :mod:`qsmbids.core.background.vsharp`: the sphere keeps its size at any resolution.

    Parameters
    ----------
    shape : (3,) tuple of int
        Shape (X, Y, Z) of the real volume.
    radius_mm : float
        Radius [mm].
    voxel_size : (3,) array_like
        [mm], along the array axes.

    Returns
    -------
    (X, Y, Z // 2 + 1) ndarray of float32
        Real and even, 1 at k = 0.

    Raises
    ------
    ValueError
        The radius or the voxel size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> kernel = smv_kernel((16, 16, 16), 5.0, (1, 1, 1))
    >>> ball = np.fft.irfftn(kernel, (16, 16, 16))
    >>> bool(ball.sum().round(5) == 1), round(float(1 / ball[0, 0, 0]))  # 4/3 pi 125 = 523.6
    (True, 524)
    """
    voxel = np.asarray(voxel_size, dtype=float)
    if not (np.isfinite(radius_mm) and radius_mm > 0 and voxel.shape == (3,) and voxel.min() > 0):
        raise ValueError("the radius and the voxel size must be positive")
    part = _octant(radius_mm, voxel)
    for axis, n in enumerate(shape):
        frequency = np.arange(n // 2 + 1 if axis == 2 else n)
        wave = np.cos(TWO_PI / n * np.outer(frequency, np.arange(part.shape[axis])))
        wave[:, 1:] *= 2.0  # the mirrored half
        part = np.moveaxis(np.tensordot(wave, part, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(part / part[0, 0, 0], dtype=np.float32)


def _octant(radius: float, voxel: Float64Array) -> Float64Array:
    """Return the part of each voxel inside a sphere around the first, one octant."""
    inner = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    squares = [
        ((np.arange(int(radius / v + 0.5) + 1)[:, None] + inner) * v) ** 2 for v in voxel
    ]  # (voxel, point) along each axis
    shape = [s.shape[0] for s in squares]
    count = np.zeros(shape)
    for a in squares[0].T:
        for b in squares[1].T:
            left = radius**2 - (a[:, None] + b)
            count += (squares[2] <= left[:, :, None, None]).sum(axis=-1)
    return count / SAMPLES**3
