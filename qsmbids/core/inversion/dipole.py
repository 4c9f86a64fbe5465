r"""Unit dipole kernel.

The field of a susceptibility distribution is a convolution with the unit dipole (consensus
Eq. 1), which in k-space is a product with

.. math:: D(k) = 1/3 - (k \cdot b)^2 / |k|^2, \qquad D(0) = 0.
"""

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray
from qsmbids.core.maths.fft import fast_shape, irfft, pad_to, rfft

__all__ = ["dipole_field", "dipole_kernel"]


def dipole_kernel(
    shape: tuple[int, int, int], voxel_size: npt.ArrayLike, b0_direction: npt.ArrayLike
) -> Float32Array:
    """Return the k-space unit dipole on the half spectrum.

    Parameters
    ----------
    shape : (3,) tuple of int
        Shape (X, Y, Z) of the real volume.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.

    Returns
    -------
    (X, Y, Z // 2 + 1) ndarray of float32
        Dimensionless, -2/3 to 1/3, 0 at k = 0.

    Notes
    -----
    A tilted B0 makes the sampled kernel non-Hermitian on the Nyquist planes, where k and -k are
    the same sample. D(k) and D(-k) are averaged there, else the field shows ripples.
    """
    voxel = np.asarray(voxel_size, dtype=float)
    b = np.asarray(b0_direction, dtype=float)
    b = b / np.linalg.norm(b)
    kernel = _sampled_dipole(shape, voxel, b, flip=False)
    if np.count_nonzero(np.abs(b) > 1e-9) > 1:
        kernel += _sampled_dipole(shape, voxel, b, flip=True)
        kernel *= 0.5
    return kernel


def _sampled_dipole(
    shape: tuple[int, int, int],
    voxel: Float64Array,
    b: Float64Array,
    flip: bool,
) -> Float32Array:
    """Sample D(k), with the Nyquist sample of every axis taken as -n/2 or (``flip``) as +n/2."""
    k = [np.fft.fftfreq(n, v) for n, v in zip(shape, voxel, strict=True)]
    for axis, n in enumerate(shape):
        if n % 2 == 0 and flip:
            k[axis][n // 2] *= -1
    k[2] = k[2][: shape[2] // 2 + 1]
    kx, ky, kz = np.meshgrid(*(a.astype(np.float32) for a in k), indexing="ij", sparse=True)
    k2 = kx**2 + ky**2 + kz**2
    k2[0, 0, 0] = 1.0
    along = kx * np.float32(b[0]) + ky * np.float32(b[1]) + kz * np.float32(b[2])
    kernel = np.float32(1.0 / 3.0) - along**2 / k2
    kernel[0, 0, 0] = 0.0
    return kernel.astype(np.float32, copy=False)


def dipole_field(
    chi: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    n_threads: int = 1,
) -> Float32Array:
    """Return the relative field [ppm] of a susceptibility map [ppm].

    The map is taken to be zero outside its array, which is padded to twice its size so that the
    periodic images stay away.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility [ppm] relative to the surroundings.
    voxel_size : (3,) array_like
        [mm].
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    n_threads : int
        Threads of the transforms.

    Returns
    -------
    (X, Y, Z) ndarray of float32

    Examples
    --------
    The field inside a sphere is zero:

    >>> import numpy as np
    >>> r = np.indices((48, 48, 48)) - 23.5
    >>> sphere = ((r**2).sum(axis=0) < 8**2).astype(np.float32)
    >>> bool(abs(dipole_field(sphere, (1, 1, 1), (0, 0, 1))[20:28, 20:28, 20:28]).max() < 0.01)
    True
    """
    x, y, z = chi.shape
    shape = fast_shape((2 * x, 2 * y, 2 * z))
    spectrum = rfft(pad_to(chi.astype(np.float32, copy=False), shape, (0, 0, 0)), n_threads)
    spectrum *= dipole_kernel(shape, voxel_size, b0_direction)
    field = irfft(spectrum, shape, n_threads, overwrite=True)
    return np.ascontiguousarray(field[:x, :y, :z])
