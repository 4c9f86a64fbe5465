r"""Multigrid for the Laplace operator inside a mask, zero on its outside.

One V-cycle is a nearly exact, symmetric inverse for masks of any topology, and so makes
conjugate gradients converge in about ten steps whatever the number of voxels.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.fft import pad_to

__all__ = ["PoissonMultigrid"]

Factors = tuple[int, int, int]

#: Axes with voxels up to this multiple of the shortest side are halved in the next level, so that
#: coarse voxels become isotropic.
HALVED = 1.5
#: No coarser than this number of voxels along an axis.
COARSEST = 4
#: Gauss-Seidel sweeps before and after each correction, and on the coarsest level.
SWEEPS, COARSEST_SWEEPS = 2, 16


@dataclass(frozen=True)
class _Level:
    active: Mask
    stencil: Float32Array  # 1 / h^2 along the axes
    factors: Factors  # to the next level


class PoissonMultigrid:
    """The operator -Laplace (seven points) on the voxels of a mask, and its approximate inverse.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        Unknowns; everything else is held at zero.
    voxel_size : (3,) array_like
        [mm], along the array axes.

    Notes
    -----
    Levels of half the resolution, of which a voxel is unknown where at least half of its parts
    are; linear interpolation and its transpose; red-black Gauss-Seidel, black before red on the
    way up, which makes the cycle symmetric.

    References
    ----------
    Briggs WL, Henson VE, McCormick SF. A multigrid tutorial, 2nd ed. SIAM 2000.
    """

    def __init__(self, mask: Mask, voxel_size: npt.ArrayLike) -> None:
        size = np.asarray(voxel_size, dtype=float)
        plan = _plan(mask.shape, size)
        total = np.prod([(1, 1, 1), *plan], axis=0)
        # a border of zeros saves the loops from looking for the end of an axis
        x, y, z = (int(-(-(n + 2) // t) * t) for n, t in zip(mask.shape, total, strict=True))
        self.shape = mask.shape
        active = pad_to(mask, (x, y, z), (1, 1, 1))
        self._levels = []
        for factors in [*plan, (1, 1, 1)]:
            stencil = (1.0 / size**2).astype(np.float32)
            self._levels.append(_Level(active, stencil, factors))
            size = size * factors
            active = _clear_border(_blocks(active, factors).mean(axis=(1, 3, 5)) >= 0.5)

    def pad(self, volume: Float32Array) -> Float32Array:
        """Put a volume on the grid of the solver."""
        return pad_to(volume, self._levels[0].active.shape, (1, 1, 1))

    def unpad(self, volume: Float32Array) -> Float32Array:
        """Undo :meth:`pad`."""
        x, y, z = self.shape
        return volume[1 : x + 1, 1 : y + 1, 1 : z + 1].copy()

    def operator(self, u: Float32Array) -> Float32Array:
        """Return -Laplace u on the mask, zero elsewhere, of a padded volume."""
        level = self._levels[0]
        out = np.zeros_like(u)
        _negative_laplace(u, level.active, level.stencil, out)
        return out

    def precondition(self, rhs: Float32Array) -> Float32Array:
        """Return about the inverse of :meth:`operator`: one V-cycle from zero."""
        return self._cycle(rhs, 0)

    def _cycle(self, rhs: Float32Array, depth: int) -> Float32Array:
        level = self._levels[depth]
        u = np.zeros_like(rhs)
        args = (u, rhs, level.active, level.stencil)
        if depth + 1 == len(self._levels):
            for colours in (0, 1), (1, 0):
                _relax(*args, *colours, COARSEST_SWEEPS)
            return u
        _relax(*args, 0, 1, SWEEPS)
        residual = np.zeros_like(u)
        _negative_laplace(u, level.active, level.stencil, residual)
        np.subtract(rhs, residual, out=residual)
        coarse = _restrict(residual, level.factors)
        coarse *= self._levels[depth + 1].active
        correction = _interpolate(self._cycle(coarse, depth + 1), level.factors)
        correction *= level.active
        u += correction
        _relax(*args, 1, 0, SWEEPS)
        return u


def _plan(shape: tuple[int, ...], size: Float64Array) -> list[Factors]:
    """Return by what each level is coarser than the one before."""
    n, plan = np.array(shape), list[Factors]()
    while True:
        x, y, z = (
            2 if v <= HALVED * size.min() and m >= 2 * COARSEST else 1
            for v, m in zip(size, n, strict=True)
        )
        if x * y * z == 1:
            return plan
        plan.append((x, y, z))
        n, size = -(-n // (x, y, z)), size * (x, y, z)


def _clear_border(mask: Mask) -> Mask:
    inner = (slice(1, -1),) * 3
    out = np.zeros_like(mask)
    out[inner] = mask[inner]
    return out


def _blocks(volume: npt.NDArray, factors: Factors) -> npt.NDArray:
    (a, x), (b, y), (c, z) = ((f, n // f) for f, n in zip(factors, volume.shape, strict=True))
    return volume.reshape(x, a, y, b, z, c)


def _interpolate(coarse: Float32Array, factors: Factors) -> Float32Array:
    """Interpolate linearly to the halves of each voxel: 3/4 its own, 1/4 the nearer value."""
    for axis in (2, 1, 0):  # the largest volume last, in its contiguous direction
        if factors[axis] == 1:
            continue
        c = np.moveaxis(coarse, axis, 0)
        shape = list(coarse.shape)
        shape[axis] *= 2
        fine = np.empty(shape, dtype=np.float32)
        f = np.moveaxis(fine, axis, 0)
        f[0::2] = 0.75 * c
        f[1::2] = f[0::2]
        f[2::2] += 0.25 * c[:-1]
        f[1:-1:2] += 0.25 * c[1:]
        coarse = fine
    return coarse


def _restrict(fine: Float32Array, factors: Factors) -> Float32Array:
    """Transpose of :func:`_interpolate`, scaled to keep a constant."""
    for axis in (0, 1, 2):
        if factors[axis] == 1:
            continue
        f = np.moveaxis(fine, axis, 0)
        even, odd = f[0::2], f[1::2]
        c = np.float32(0.375) * (even + odd)
        c[:-1] += np.float32(0.125) * even[1:]
        c[1:] += np.float32(0.125) * odd[:-1]
        fine = np.ascontiguousarray(np.moveaxis(c, 0, axis))
    return fine


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _negative_laplace(u, active, stencil, out):  # type: ignore[no-untyped-def]
    wx, wy, wz = stencil
    centre = np.float32(2) * (wx + wy + wz)
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            c, o, a = u[i, j], out[i, j], active[i, j]
            xl, xr, yl, yr = u[i - 1, j], u[i + 1, j], u[i, j - 1], u[i, j + 1]
            for k in range(1, c.size - 1):
                if a[k]:
                    o[k] = (
                        centre * c[k]
                        - wx * (xl[k] + xr[k])
                        - wy * (yl[k] + yr[k])
                        - wz * (c[k - 1] + c[k + 1])
                    )


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _relax(u, rhs, active, stencil, first, second, sweeps):  # type: ignore[no-untyped-def]
    """Gauss-Seidel on one colour of the checkerboard, then on the other."""
    wx, wy, wz = stencil
    inverse = np.float32(1) / (np.float32(2) * (wx + wy + wz))
    for sweep in range(2 * sweeps):
        colour = first if sweep % 2 == 0 else second
        for i in range(1, u.shape[0] - 1):
            for j in range(1, u.shape[1] - 1):
                c, f, a = u[i, j], rhs[i, j], active[i, j]
                xl, xr, yl, yr = u[i - 1, j], u[i + 1, j], u[i, j - 1], u[i, j + 1]
                for k in range(1 + (i + j + 1 + colour) % 2, c.size - 1, 2):
                    if a[k]:
                        c[k] = inverse * (
                            f[k]
                            + wx * (xl[k] + xr[k])
                            + wy * (yl[k] + yr[k])
                            + wz * (c[k - 1] + c[k + 1])
                        )
