"""Volumes and displacements between grids."""

from contextlib import AbstractContextManager

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array
from qsmbids.core.maths.parallel import Run, planes

__all__ = [
    "compose",
    "enlarge",
    "in_planes",
    "invert",
    "jacobian",
    "pull",
    "resample_affine",
    "trilinear",
]

#: Voxels below which a second thread is not worth its start.
_SMALL = 50_000


def resample_affine(
    volume: Float32Array, matrix: Float64Array, shape: tuple[int, int, int], outside: float
) -> Float32Array:
    """Return the volume on a grid whose voxels ``matrix`` takes to voxels of the volume.

    Beyond the border the value is ``outside``, or that of the last voxel where this is NaN.
    """
    out = np.empty(shape, dtype=np.float32)
    whole = np.ascontiguousarray(volume, dtype=np.float32)
    affine = np.ascontiguousarray(matrix, dtype=np.float64)
    with in_planes(out) as run:
        run(_sample, whole, affine, float(outside), out)
    return out


def pull(
    volume: Float32Array, shift: Float32Array, matrix: Float64Array | None = None
) -> Float32Array:
    """Return ``volume(x + shift(x))``, or of ``matrix`` x; the shift (3, X, Y, Z) is in voxels."""
    out = np.empty(shift.shape[1:], dtype=np.float32)
    whole = np.ascontiguousarray(volume, dtype=np.float32)
    affine = np.eye(4) if matrix is None else np.ascontiguousarray(matrix, dtype=np.float64)
    _pull(whole, affine, np.ascontiguousarray(shift), out)
    return out


def in_planes(volume: npt.NDArray) -> AbstractContextManager[Run]:
    """Give a function that runs a loop over the planes of a volume on the threads granted."""
    return planes(len(volume), numba.get_num_threads() if volume.size > _SMALL else 1)


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def trilinear(volume: Float32Array, x: float, y: float, z: float) -> float:
    """Interpolate between eight voxels; beyond the border the last one counts."""
    nx, ny, nz = volume.shape
    x, y, z = min(max(x, 0.0), nx - 1.0), min(max(y, 0.0), ny - 1.0), min(max(z, 0.0), nz - 1.0)
    i, j, k = min(int(x), max(nx - 2, 0)), min(int(y), max(ny - 2, 0)), min(int(z), max(nz - 2, 0))
    u, v, w = x - i, y - j, z - k
    a, b, c = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
    low = (volume[i, j, k] * (1 - u) + volume[a, j, k] * u) * (1 - v)
    low += (volume[i, b, k] * (1 - u) + volume[a, b, k] * u) * v
    high = (volume[i, j, c] * (1 - u) + volume[a, j, c] * u) * (1 - v)
    high += (volume[i, b, c] * (1 - u) + volume[a, b, c] * u) * v
    return low * (1 - w) + high * w


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sample(
    start: int,
    stop: int,
    volume: Float32Array,
    matrix: Float64Array,
    outside: float,
    out: Float32Array,
) -> None:
    """Fill planes."""
    nx, ny, nz = volume.shape
    always = outside != outside
    dx, dy, dz = matrix[0, 2], matrix[1, 2], matrix[2, 2]
    for i in range(start, stop):
        for j in range(out.shape[1]):
            x0 = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            y0 = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            z0 = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            for k in range(out.shape[2]):
                x, y, z = x0 + dx * k, y0 + dy * k, z0 + dz * k
                inside = -0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5 and -0.5 <= z <= nz - 0.5
                out[i, j, k] = trilinear(volume, x, y, z) if inside or always else outside


@numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def _pull(
    volume: Float32Array, matrix: Float64Array, shift: Float32Array, out: Float32Array
) -> None:
    """Fill a volume; as one of numba's parallel loops, which alone becomes a vector loop here."""
    for i in numba.prange(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                out[i, j, k] = trilinear(
                    volume, x + shift[0, i, j, k], y + shift[1, i, j, k], z + shift[2, i, j, k]
                )


def enlarge(volume: Float32Array, n: int, shape: tuple[int, int, int]) -> Float32Array:
    """Return a volume with n voxels for each along every axis; the first centres are the same."""
    out = np.empty(shape, dtype=np.float32)
    row = np.empty(volume.shape[2] + 1, dtype=np.float32)
    _enlarge(np.ascontiguousarray(volume, dtype=np.float32), n, row, out)
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _enlarge(volume: Float32Array, n: int, row: Float32Array, out: Float32Array) -> None:
    nx, ny, nz = volume.shape
    for i in range(out.shape[0]):
        low, high = min(i // n, nx - 1), min(i // n + 1, nx - 1)
        u = np.float32((i % n) / n)
        for j in range(out.shape[1]):
            front, back = min(j // n, ny - 1), min(j // n + 1, ny - 1)
            v = np.float32((j % n) / n)
            a, b = volume[low, front], volume[high, front]
            c, d = volume[low, back], volume[high, back]
            for k in range(nz):
                near = a[k] + u * (b[k] - a[k])
                row[k] = near + v * (c[k] + u * (d[k] - c[k]) - near)
            row[nz] = row[nz - 1]
            for part in range(n):
                w = np.float32(part / n)
                for k in range((out.shape[2] - part + n - 1) // n):
                    at = min(k, nz - 1)
                    out[i, j, k * n + part] = row[at] + w * (row[at + 1] - row[at])


def compose(first: Float32Array, second: Float32Array) -> Float32Array:
    """Return the shift of ``x -> (id + first)((id + second)(x))``, in voxels.

    Examples
    --------
    >>> one = np.ones((3, 4, 4, 4), dtype=np.float32)
    >>> bool((compose(one, one) == 2).all())
    True
    """
    return second + np.stack([pull(c, second) for c in first])


def invert(shift: Float32Array, *, n_iter: int = 20) -> Float32Array:
    """Return the shift that undoes a smooth one, by fixed-point iteration, in voxels."""
    inverse = np.zeros_like(shift)
    for _ in range(n_iter):
        inverse = -np.stack([pull(c, inverse) for c in shift])
    return inverse


def jacobian(shift: Float32Array) -> Float32Array:
    """Return the change of volume of ``x -> x + shift(x)``; where positive, nothing folds."""
    rows = np.stack([np.stack(np.gradient(c)) for c in shift])
    for axis in range(3):
        rows[axis, axis] += 1
    determinant = np.linalg.det(np.moveaxis(rows, (0, 1), (-2, -1)))
    return np.asarray(determinant, dtype=np.float32)
