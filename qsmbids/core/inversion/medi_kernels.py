r"""Fused loops of the MEDI iterations; every volume is read and written as seldom as possible.

Volumes are (X, Y, Z) float32 on one grid. Each loop works on the planes ``start`` to ``stop``, of
which it alone writes, and keeps sums per plane: any number of threads gives the same result.

The penalty is :math:`G^T V G` with G the forward differences and V one number for each difference,
zero where the penalty is off, and across the border of the grid (no flux).
"""

import numba
import numpy as np

__all__ = [
    "add_penalty",
    "difference_weights",
    "inverse_root_diagonal",
    "inverse_symbol",
    "multiply",
    "next_direction",
    "scale",
    "scale_back",
    "step",
]

ZERO, ONE = np.float32(0), np.float32(1)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def multiply(start, stop, volume, factor):  # type: ignore[no-untyped-def]
    """Multiply a volume or half spectrum in place by a real one of the same shape."""
    for i in range(start, stop):
        for j in range(volume.shape[1]):
            v, f = volume[i, j], factor[i, j]
            for k in range(v.size):
                v[k] *= f[k]


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _weight(there, here, scale, penalised, smoothing):  # type: ignore[no-untyped-def]
    """Weight of one difference: 1 / |difference|, both per mm."""
    g = (there - here) * scale
    return scale * scale / np.sqrt(g * g + smoothing) if penalised else ZERO


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def difference_weights(start, stop, x, penalised, inverse_size, smoothing, v):  # type: ignore[no-untyped-def]
    """Fill V for the current x: reweighted least squares of the sum of |difference|."""
    nx, ny, nz = x.shape
    sx, sy, sz = inverse_size
    for i in range(start, stop):
        for j in range(ny):
            i1, j1 = min(i + 1, nx - 1), min(j + 1, ny - 1)
            x0, xi, xj = x[i, j], x[i1, j], x[i, j1]
            pa, pb, pc = penalised[0, i, j], penalised[1, i, j], penalised[2, i, j]
            va, vb, vc = v[0, i, j], v[1, i, j], v[2, i, j]
            for k in range(nz):
                va[k] = _weight(xi[k], x0[k], sx, pa[k] and i1 > i, smoothing)
                vb[k] = _weight(xj[k], x0[k], sy, pb[k] and j1 > j, smoothing)
            for k in range(nz - 1):
                vc[k] = _weight(x0[k + 1], x0[k], sz, pc[k], smoothing)
            vc[nz - 1] = ZERO


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def inverse_root_diagonal(start, stop, v, data, least, out):  # type: ignore[no-untyped-def]
    """Fill out by 1 / sqrt(diagonal) of the operator, of which ``data`` is the data term's."""
    ny, nz = out.shape[1:]
    for i in range(start, stop):
        for j in range(ny):
            va, vb, vc, w, o = v[0, i, j], v[1, i, j], v[2, i, j], data[i, j], out[i, j]
            va_, vb_ = v[0, max(i - 1, 0), j], v[1, i, max(j - 1, 0)]
            before = ZERO
            for k in range(nz):
                total = va[k] + vb[k] + vc[k] + before
                total += (va_[k] if i > 0 else ZERO) + (vb_[k] if j > 0 else ZERO)
                o[k] = ONE / np.sqrt(total + max(w[k], ZERO) + least)
                before = vc[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def inverse_symbol(  # type: ignore[no-untyped-def]
    start, stop, kernel, lx, ly, lz, of_penalty, of_data, floor, out
):
    """Fill out by 1 / (of_penalty L + of_data D^2 + floor), on the half spectrum."""
    for i in range(start, stop):
        for j in range(out.shape[1]):
            d, o = kernel[i, j], out[i, j]
            lxy = lx[i] + ly[j]
            for k in range(d.size):
                o[k] = ONE / (of_penalty * (lxy + lz[k]) + of_data * d[k] * d[k] + floor)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def scale(start, stop, volume, factor, out):  # type: ignore[no-untyped-def]
    """Fill out by a volume times another."""
    for i in range(start, stop):
        for j in range(out.shape[1]):
            v, f, o = volume[i, j], factor[i, j], out[i, j]
            for k in range(o.size):
                o[k] = f[k] * v[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def scale_back(start, stop, z, factor, r, sums):  # type: ignore[no-untyped-def]
    """Multiply z in place; the products of z and r, per plane."""
    for i in range(start, stop):
        total = 0.0
        for j in range(z.shape[1]):
            zz, f, rr = z[i, j], factor[i, j], r[i, j]
            row = ZERO
            for k in range(zz.size):
                zz[k] *= f[k]
                row += zz[k] * rr[k]
            total += float(row)
        sums[i] = total


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def add_penalty(start, stop, p, v, y, sums):  # type: ignore[no-untyped-def]
    """Add the penalty's operator on p to y; the products of p and y, per plane."""
    nx, ny, nz = p.shape
    for i in range(start, stop):
        total = 0.0
        for j in range(ny):
            i0, i1, j0, j1 = max(i - 1, 0), min(i + 1, nx - 1), max(j - 1, 0), min(j + 1, ny - 1)
            p0, pi, pi_, pj, pj_ = p[i, j], p[i1, j], p[i0, j], p[i, j1], p[i, j0]
            va, va_, vb, vb_ = v[0, i, j], v[0, i0, j], v[1, i, j], v[1, i, j0]
            vc, out = v[2, i, j], y[i, j]
            for k in range(nz):  # at the border p equals its neighbour: no flux
                out[k] += (
                    va[k] * (p0[k] - pi[k])
                    + va_[k] * (p0[k] - pi_[k])
                    + vb[k] * (p0[k] - pj[k])
                    + vb_[k] * (p0[k] - pj_[k])
                )
            for k in range(1, nz):
                out[k] += vc[k - 1] * (p0[k] - p0[k - 1])
            row = ZERO
            for k in range(nz - 1):
                out[k] += vc[k] * (p0[k] - p0[k + 1])
                row += out[k] * p0[k]
            total += float(row) + float(out[nz - 1] * p0[nz - 1])
        sums[i] = total


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def step(start, stop, x, r, p, y, length, sums):  # type: ignore[no-untyped-def]
    """Go along p: x += length p, r -= length y; r . r, per plane."""
    for i in range(start, stop):
        total = 0.0
        for j in range(x.shape[1]):
            xx, rr, pp, yy = x[i, j], r[i, j], p[i, j], y[i, j]
            row = ZERO
            for k in range(xx.size):
                xx[k] += length * pp[k]
                rr[k] -= length * yy[k]
                row += rr[k] * rr[k]
            total += float(row)
        sums[i] = total


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def next_direction(start, stop, p, z, keep):  # type: ignore[no-untyped-def]
    """Overwrite p by z + keep p."""
    for i in range(start, stop):
        for j in range(p.shape[1]):
            pp, zz = p[i, j], z[i, j]
            for k in range(pp.size):
                pp[k] = zz[k] + keep * pp[k]
