r"""Fused loops of the FANSI iterations; every volume is read and written as seldom as possible.

All volumes are periodic (X, Y, Z) float32 on the same grid. Each loop works on the planes
``start`` to ``stop``, of which it alone writes, and keeps sums per plane: any number of threads
gives the same result. (Loops that release the lock compile in a third of the time of numba's own
parallel loops, which matters for the first run on a machine.)

Two pairs of variables are stored as one: with v = grad x + s1, z1 = soft(v, t) and the new dual is
clip(v, -t, t); with u = Lap h + sh, zh = rho u and the new dual is (1 - rho) u.
"""

import numba
import numpy as np

__all__ = [
    "combine_spectra",
    "harmonic_spectrum",
    "mask_and_change",
    "negative_divergence",
    "update_duals",
    "update_fidelity",
    "update_gradient",
]

#: Below this difference two neighbouring weights count as equal.
EDGE_FLOOR = np.float32(1e-3)
ZERO, ONE, TWO, SIX = np.float32(0), np.float32(1), np.float32(2), np.float32(6)
HALF_PI, TWO_PI = np.float32(0.5 * np.pi), np.float32(2.0 * np.pi)
INV_TWO_PI = np.float32(0.5 / np.pi)


@numba.njit(cache=True, fastmath=True, nogil=True)
def mask_and_change(start, stop, x, previous, mask, masked, sums):  # type: ignore[no-untyped-def]
    """Mask ``x`` in place if asked; squared norms of its change and of itself, per plane."""
    for i in range(start, stop):
        change, total = 0.0, 0.0
        for j in range(x.shape[1]):
            new, old, m = x[i, j], previous[i, j], mask[i, j]
            row_change, row_total = ZERO, ZERO
            for k in range(new.size):
                if masked:
                    new[k] *= m[k]
                row_change += (new[k] - old[k]) ** 2
                row_total += new[k] ** 2
            change += float(row_change)
            total += float(row_total)
        sums[i, 0], sums[i, 1] = change, total


@numba.njit(cache=True, fastmath=True, inline="always")
def threshold(w, w_next, scale, flip):  # type: ignore[no-untyped-def]
    """Soft threshold between two voxels; ``flip`` -1 takes the size of the edge, 1 its sign."""
    g = w - w_next
    return scale / max(max(g, flip * g), EDGE_FLOOR)


@numba.njit(cache=True, fastmath=True, inline="always")
def clip(v, t):  # type: ignore[no-untyped-def]
    return min(max(v, -t), t)


@numba.njit(cache=True, fastmath=True, nogil=True)
def update_gradient(start, stop, v, x, w, scale, flip):  # type: ignore[no-untyped-def]
    """Overwrite v by grad x + clip(v, t), for the three axes."""
    nx, ny, nz = x.shape
    for i in range(start, stop):
        for j in range(ny):
            i1, j1 = (i + 1) % nx, (j + 1) % ny
            x0, xi, xj = x[i, j], x[i1, j], x[i, j1]
            w0, wi, wj = w[i, j], w[i1, j], w[i, j1]
            va, vb, vc = v[0, i, j], v[1, i, j], v[2, i, j]
            for k in range(nz):
                va[k] = xi[k] - x0[k] + clip(va[k], threshold(w0[k], wi[k], scale, flip))
                vb[k] = xj[k] - x0[k] + clip(vb[k], threshold(w0[k], wj[k], scale, flip))
            for k in range(nz - 1):
                t = threshold(w0[k], w0[k + 1], scale, flip)
                vc[k] = x0[k + 1] - x0[k] + clip(vc[k], t)
            t = threshold(w0[nz - 1], w0[0], scale, flip)
            vc[nz - 1] = x0[0] - x0[nz - 1] + clip(vc[nz - 1], t)


@numba.njit(cache=True, fastmath=True, inline="always")
def _shrunk(v, w, w_next, scale, flip):  # type: ignore[no-untyped-def]
    """z1 - s1 of one difference."""
    return v - TWO * clip(v, threshold(w, w_next, scale, flip))


@numba.njit(cache=True, fastmath=True, nogil=True)
def negative_divergence(start, stop, v, w, scale, flip, out):  # type: ignore[no-untyped-def]
    """Adjoint of the forward differences, applied to z1 - s1."""
    nx, ny, nz = out.shape
    for i in range(start, stop):
        for j in range(ny):
            w0, wi, wj = w[i, j], w[(i + 1) % nx, j], w[i, (j + 1) % ny]
            wi_, wj_ = w[(i + nx - 1) % nx, j], w[i, (j + ny - 1) % ny]
            va, vb, vc = v[0, i, j], v[1, i, j], v[2, i, j]
            va_, vb_ = v[0, (i + nx - 1) % nx, j], v[1, i, (j + ny - 1) % ny]
            o = out[i, j]
            for k in range(nz):
                o[k] = (
                    _shrunk(va_[k], wi_[k], w0[k], scale, flip)
                    - _shrunk(va[k], w0[k], wi[k], scale, flip)
                    + _shrunk(vb_[k], wj_[k], w0[k], scale, flip)
                    - _shrunk(vb[k], w0[k], wj[k], scale, flip)
                )
            before = _shrunk(vc[nz - 1], w0[nz - 1], w0[0], scale, flip)
            for k in range(nz):
                here = _shrunk(vc[k], w0[k], w0[(k + 1) % nz], scale, flip)
                o[k] += before - here
                before = here


@numba.njit(cache=True, fastmath=True, inline="always")
def _sine_cosine(angle):  # type: ignore[no-untyped-def]
    """Sine and cosine to 1e-6 by Taylor series of the half angle; unlike libm's, it vectorises."""
    half = np.float32(0.5) * (angle - TWO_PI * np.rint(angle * INV_TWO_PI))
    q = half * half
    s = np.float32(-1 / 39916800)
    s = s * q + np.float32(1 / 362880)
    s = s * q + np.float32(-1 / 5040)
    s = s * q + np.float32(1 / 120)
    s = s * q + np.float32(-1 / 6)
    s = half + half * q * s
    c = np.float32(1 / 479001600)
    c = c * q + np.float32(-1 / 3628800)
    c = c * q + np.float32(1 / 40320)
    c = c * q + np.float32(-1 / 720)
    c = c * q + np.float32(1 / 24)
    c = c * q + np.float32(-1 / 2)
    c = ONE + q * c
    return TWO * s * c, ONE - TWO * s * s


@numba.njit(cache=True, fastmath=True, nogil=True)
def update_fidelity(  # type: ignore[no-untyped-def]
    start, stop, source, dx, h, s2, y, w, u, mask, w_scale, mu2, rho, mu_h, n_newton
):
    """Fit z2 to the data; overwrite s2 by z2 and dx by b = z2 - s2 - dx; fill the source of h.

    The source is mu2 b + muh Lap(zh - sh). z2 starts from the solution for a small misfit, up to
    whole turns; without Newton steps the data are linear and that is the answer.
    """
    nx, ny, nz = dx.shape
    inner = TWO * rho - ONE
    per_turn = INV_TWO_PI if n_newton > 0 else ZERO
    for i in range(start, stop):
        phase = np.empty(nz + 2, dtype=np.float32)
        for j in range(ny):
            d, hh, s, yy, ww = dx[i, j], h[i, j], s2[i, j], y[i, j], w[i, j]
            for k in range(nz):
                weight = (w_scale * ww[k]) ** 2
                misfit = d[k] + hh[k] + s[k] - yy[k]
                turns = TWO_PI * np.rint(misfit * per_turn)
                phase[k] = turns + mu2 * (misfit - turns) / (weight + mu2)
            for _ in range(n_newton):
                for k in range(nz):
                    weight = (w_scale * ww[k]) ** 2
                    misfit = d[k] + hh[k] + s[k] - yy[k]
                    sine, cosine = _sine_cosine(phase[k])
                    slope = max(weight * cosine + mu2, EDGE_FLOOR)
                    step = (weight * sine + mu2 * (phase[k] - misfit)) / slope
                    phase[k] -= clip(step, HALF_PI)
            for k in range(nz):
                z = yy[k] + phase[k]
                d[k] = z - s[k] - d[k]
                s[k] = z

            u0, ui, ui_ = u[i, j], u[(i + 1) % nx, j], u[(i + nx - 1) % nx, j]
            uj, uj_ = u[i, (j + 1) % ny], u[i, (j + ny - 1) % ny]
            m0, mi, mi_ = mask[i, j], mask[(i + 1) % nx, j], mask[(i + nx - 1) % nx, j]
            mj, mj_ = mask[i, (j + 1) % ny], mask[i, (j + ny - 1) % ny]
            for k in range(nz):
                phase[k + 1] = u0[k] * (inner if m0[k] else ONE)
            phase[0], phase[nz + 1] = phase[nz], phase[1]
            o = source[i, j]
            for k in range(nz):
                o[k] = mu2 * d[k] + mu_h * (
                    SIX * phase[k + 1]
                    - phase[k]
                    - phase[k + 2]
                    - ui[k] * (inner if mi[k] else ONE)
                    - ui_[k] * (inner if mi_[k] else ONE)
                    - uj[k] * (inner if mj[k] else ONE)
                    - uj_[k] * (inner if mj_[k] else ONE)
                )


@numba.njit(cache=True, fastmath=True, nogil=True)
def update_duals(start, stop, h, z2, b, u, mask, rho):  # type: ignore[no-untyped-def]
    """Overwrite b by s2, z2 by z2 - s2 - h (the next data), and u by Lap h + sh."""
    nx, ny, nz = h.shape
    keep = ONE - rho
    for i in range(start, stop):
        row = np.empty(nz + 2, dtype=np.float32)
        for j in range(ny):
            h0, hi, hi_ = h[i, j], h[(i + 1) % nx, j], h[(i + nx - 1) % nx, j]
            hj, hj_ = h[i, (j + 1) % ny], h[i, (j + ny - 1) % ny]
            z, bb, uu, m = z2[i, j], b[i, j], u[i, j], mask[i, j]
            for k in range(nz):
                z[k] += bb[k] - TWO * h0[k]
                bb[k] = h0[k] - bb[k]
            for k in range(nz):
                row[k + 1] = h0[k]
            row[0], row[nz + 1] = h0[nz - 1], h0[0]
            for k in range(nz):
                lap = SIX * row[k + 1] - row[k] - row[k + 2] - hi[k] - hi_[k] - hj[k] - hj_[k]
                uu[k] = lap + (keep * uu[k] if m[k] else ZERO)


@numba.njit(cache=True, fastmath=True, nogil=True)
def combine_spectra(start, stop, divergence, data, kernel, lx, ly, lz, mu1, mu2):  # type: ignore[no-untyped-def]
    """Overwrite data by the new x, (mu1 divergence + mu2 D data) / (mu1 L + mu2 D^2)."""
    for i in range(start, stop):
        for j in range(data.shape[1]):
            g, f, d = divergence[i, j], data[i, j], kernel[i, j]
            lxy = lx[i] + ly[j]
            for k in range(d.size):
                scale = ONE / (mu1 * (lxy + lz[k]) + mu2 * d[k] * d[k] + np.float32(1e-12))
                f[k] = (mu1 * scale) * g[k] + (mu2 * d[k] * scale) * f[k]
    if start == 0:
        data[0, 0, 0] = 0.0


@numba.njit(cache=True, fastmath=True, nogil=True)
def harmonic_spectrum(start, stop, source, lx, ly, lz, mu2, mu_h):  # type: ignore[no-untyped-def]
    """Overwrite source by the new h, source / (mu2 + muh L^2)."""
    for i in range(start, stop):
        for j in range(source.shape[1]):
            f = source[i, j]
            lxy = lx[i] + ly[j]
            for k in range(f.size):
                lap = lxy + lz[k]
                f[k] *= ONE / (mu2 + mu_h * lap * lap)
