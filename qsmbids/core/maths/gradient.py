r"""Periodic forward differences, their adjoint and their symbol in k-space.

The k-space symbol of ``adjoint(gradient(x))`` is the sum over the axes of
:math:`2 - 2\cos(2\pi k_d / N_d)`: minus the seven-point Laplacian.
"""

import numba
import numpy as np

from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.parallel import planes
from qsmbids.units import TWO_PI

__all__ = [
    "difference",
    "difference_adjoint",
    "gradient",
    "gradient_adjoint",
    "gradient_length",
    "laplacian_symbols",
    "with_next",
]


def difference(volume: FloatArray, axis: int) -> FloatArray:
    """Return ``x[i + 1] - x[i]`` along one axis, periodic, per voxel (not per mm)."""
    return np.roll(volume, -1, axis) - volume


def difference_adjoint(volume: FloatArray, axis: int) -> FloatArray:
    """Return the adjoint of :func:`difference`: ``x[i - 1] - x[i]``, periodic."""
    return np.roll(volume, 1, axis) - volume


def gradient(volume: FloatArray) -> FloatArray:
    """Return the three forward differences of an (X, Y, Z) volume as (3, X, Y, Z)."""
    return np.stack([difference(volume, axis) for axis in range(3)])


def gradient_adjoint(vectors: FloatArray) -> FloatArray:
    """Return the adjoint of :func:`gradient`, minus the divergence, of a (3, X, Y, Z) field."""
    total = difference_adjoint(vectors[0], 0)
    for axis in (1, 2):
        total += difference_adjoint(vectors[axis], axis)
    return total


def laplacian_symbols(
    shape: tuple[int, int, int],
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return the symbol of ``adjoint(gradient)`` along each axis of the half spectrum.

    The symbol at (i, j, k) is the sum of the three; the last axis has ``Z // 2 + 1`` samples.
    """
    x, y, z = ((2.0 - 2.0 * np.cos(TWO_PI * np.arange(n) / n)).astype(np.float32) for n in shape)
    return x, y, z[: shape[2] // 2 + 1]


def gradient_length(volume: Float32Array, steps: Float32Array, n_threads: int = 1) -> Float32Array:
    """Return the length of the gradient; differences are multiplied by ``steps`` of their axis."""
    out = np.empty_like(volume)
    with planes(volume.shape[0], n_threads) as run:
        run(_lengths, out, volume, steps)
    return out


def with_next(mask: Mask) -> Mask:
    """Return the voxels of a mask whose next ones along all axes are in it, too (periodic)."""
    inner = mask.copy()
    for axis in range(3):
        inner &= np.roll(mask, -1, axis)
    return inner


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _lengths(start, stop, out, x, steps):  # type: ignore[no-untyped-def]
    """Fill out by the length of the gradient, periodic."""
    nx, ny, nz = x.shape
    for i in range(start, stop):
        for j in range(ny):
            o, x0, xi, xj = out[i, j], x[i, j], x[(i + 1) % nx, j], x[i, (j + 1) % ny]
            for k in range(nz):
                a = steps[0] * (xi[k] - x0[k])
                b = steps[1] * (xj[k] - x0[k])
                c = steps[2] * ((x0[k + 1] if k + 1 < nz else x0[0]) - x0[k])
                o[k] = np.sqrt(a * a + b * b + c * c)
