r"""Loops of the adaptive inversion; every volume is read and written once for each iteration.

All volumes are periodic (X, Y, Z) float32 on the same grid. Each loop works on the planes
``start`` to ``stop``, of which it alone writes, and keeps sums per plane, so that any number of
threads gives the same result. Divisions are numpy's: one that looks for a zero keeps a loop from
being vectorised, and makes it three times as slow.

Each split variable z and its scaled dual s are stored as their sum, which tells both: of the
gradient v, s = share v with share = min(bend, limit / |v|); of the field p,
s = m (p - f) / (m + mu); of the map y, s = y t / (nu + t); of the Laplacian u of the harmonic
field, which has half of the grid, z = rho u in the mask and u, held by nothing, outside.
"""

import numba
import numpy as np

__all__ = [
    "change_data",
    "edge_factor",
    "field_source",
    "hold_map",
    "map_source",
    "product_and_sums",
    "scale_gradient_dual",
    "solve",
    "spared",
    "squares_in_mask",
    "start_gradient",
    "update_field",
    "update_harmonic",
    "update_map",
]

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
TINY = np.float32(1e-20)


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _dual_share(a, b, c, q, limit, bend):  # type: ignore[no-untyped-def]
    """Part of the vector (a, b, c) that is the dual of q times Huber's function of its length."""
    return q * min(ONE / (q + bend), limit / (np.sqrt(a * a + b * b + c * c) + TINY))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def start_gradient(start, stop, v, share, x, steps, limit, bend):  # type: ignore[no-untyped-def]
    """Fill v and its share with those of a minimum at x."""
    nx, ny, nz = x.shape
    width = limit * bend  # of Huber's function
    for i in range(start, stop):
        for j in range(ny):
            x0, xi, xj = x[i, j], x[(i + 1) % nx, j], x[i, (j + 1) % ny]
            va, vb, vc, s = v[0, i, j], v[1, i, j], v[2, i, j], share[i, j]
            for k in range(nz):
                a = steps[0] * (xi[k] - x0[k])
                b = steps[1] * (xj[k] - x0[k])
                c = steps[2] * (x0[(k + 1) % nz] - x0[k])
                size = np.sqrt(a * a + b * b + c * c)
                grow = ONE + (limit / size if size > width else ONE / bend)
                va[k], vb[k], vc[k] = grow * a, grow * b, grow * c
                s[k] = _dual_share(va[k], vb[k], vc[k], ONE, limit, bend)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def scale_gradient_dual(start, stop, v, share, before, local, factor, limit, bend):  # type: ignore[no-untyped-def]
    """Multiply the dual within v by factor local / before, and let z stay."""
    for i in range(start, stop):
        for j in range(share.shape[1]):
            va, vb, vc, s = v[0, i, j], v[1, i, j], v[2, i, j], share[i, j]
            p, q = before[i, j], local[i, j]
            for k in range(s.size):
                grow = ONE - s[k] + s[k] * factor * q[k] / p[k]
                a, b, c = grow * va[k], grow * vb[k], grow * vc[k]
                va[k], vb[k], vc[k] = a, b, c
                s[k] = _dual_share(a, b, c, q[k], limit, bend)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _update_row(va, vb, vc, s, x0, xi, xj, q, steps, limit, bend, relax):  # type: ignore[no-untyped-def]
    """Overwrite a row of v by relax grad x + (1 - relax) z + s, and its share."""
    for k in range(s.size):
        old = (ONE - relax) * (ONE - s[k]) + s[k]
        after = x0[k + 1] if k + 1 < s.size else x0[0]
        a = relax * steps[0] * (xi[k] - x0[k]) + old * va[k]
        b = relax * steps[1] * (xj[k] - x0[k]) + old * vb[k]
        c = relax * steps[2] * (after - x0[k]) + old * vc[k]
        va[k], vb[k], vc[k] = a, b, c
        s[k] = _dual_share(a, b, c, q[k], limit, bend)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _source_row(o, v, share, i, ib, j, jb, sa, sb, sc, y, t, nu):  # type: ignore[no-untyped-def]
    """Fill a row by mu1 times the adjoint gradient of z - s, plus nu times z - s of the map."""
    va, vb, vc, s = v[0, i, j], v[1, i, j], v[2, i, j], share[i, j]
    vi, vj, si, sj = v[0, ib, j], v[1, i, jb], share[ib, j], share[i, jb]
    for k in range(o.size):
        keep = ONE - TWO * s[k]
        o[k] = (
            sa * ((ONE - TWO * si[k]) * vi[k] - keep * va[k])
            + sb * ((ONE - TWO * sj[k]) * vj[k] - keep * vb[k])
            - sc * keep * vc[k]
            + nu * y[k] * (nu - t[k]) / (nu + t[k])
        )
    before = sc * (ONE - TWO * s[o.size - 1]) * vc[o.size - 1]
    for k in range(o.size):
        o[k] += before
        before = sc * (ONE - TWO * s[k]) * vc[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def map_source(start, stop, out, v, share, steps, mu1, y, ridge, nu, first):  # type: ignore[no-untyped-def]
    """Fill out by what x is drawn to; with ``first`` its first plane alone."""
    nx, ny, _ = out.shape
    sa, sb, sc = mu1 * steps[0], mu1 * steps[1], mu1 * steps[2]
    for i in range(start, min(start + 1, stop) if first else stop):
        ib = (i + nx - 1) % nx
        for j in range(ny):
            jb = (j + ny - 1) % ny
            _source_row(out[i, j], v, share, i, ib, j, jb, sa, sb, sc, y[i, j], ridge[i, j], nu)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def update_map(  # type: ignore[no-untyped-def]
    start, stop, out, v, share, x, local, y, ridge, steps, mu1, nu, limit, bend, relax
):
    """Overwrite v and y by relax times what x has, (1 - relax) z and s, and out by ``map_source``.

    All planes of out but the first, which needs the v of the plane before.
    """
    nx, ny, nz = x.shape
    sa, sb, sc = mu1 * steps[0], mu1 * steps[1], mu1 * steps[2]
    for i in range(start, stop):
        for j in range(ny):
            x0, xi, xj = x[i, j], x[(i + 1) % nx, j], x[i, (j + 1) % ny]
            va, vb, vc, s = v[0, i, j], v[1, i, j], v[2, i, j], share[i, j]
            _update_row(va, vb, vc, s, x0, xi, xj, local[i, j], steps, limit, bend, relax)
            yy, t = y[i, j], ridge[i, j]
            for k in range(nz):
                kept = yy[k] * t[k] / (nu + t[k])
                yy[k] = relax * x0[k] + (ONE - relax) * (yy[k] - kept) + kept
            if i > start and j > 0:
                _source_row(out[i, j], v, share, i, i - 1, j, j - 1, sa, sb, sc, yy, t, nu)
        if i > start:
            last = ny - 1
            _source_row(
                out[i, 0], v, share, i, i - 1, 0, last, sa, sb, sc, y[i, 0], ridge[i, 0], nu
            )


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def field_source(start, stop, out, p, field, weight, mu):  # type: ignore[no-untyped-def]
    """Fill out by z - s of the field."""
    for i in range(start, stop):
        for j in range(out.shape[1]):
            o, pp, f, m = out[i, j], p[i, j], field[i, j], weight[i, j]
            for k in range(o.size):
                o[k] = pp[k] - TWO * m[k] * (pp[k] - f[k]) / (m[k] + mu)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def update_field(start, stop, out, p, dx, field, weight, mu, relax):  # type: ignore[no-untyped-def]
    """Overwrite p by relax Dx + (1 - relax) z + s, and out by ``field_source``."""
    for i in range(start, stop):
        for j in range(p.shape[1]):
            o, pp, d, f, m = out[i, j], p[i, j], dx[i, j], field[i, j], weight[i, j]
            for k in range(pp.size):
                share = m[k] / (m[k] + mu)
                s = share * (pp[k] - f[k])
                after = relax * d[k] + (ONE - relax) * (pp[k] - s) + s
                pp[k] = after
                o[k] = after - TWO * share * (after - f[k])


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def change_data(start, stop, p, field, weight, new_field, new_weight, mu):  # type: ignore[no-untyped-def]
    """Go on with other data: the dual within p is that of these, and z stays."""
    for i in range(start, stop):
        for j in range(p.shape[1]):
            pp, f, m, g, n = p[i, j], field[i, j], weight[i, j], new_field[i, j], new_weight[i, j]
            for k in range(pp.size):
                z = pp[k] - m[k] * (pp[k] - f[k]) / (m[k] + mu)
                pp[k] = z + n[k] * (z - g[k]) / mu


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def hold_map(start, stop, y, ridge, factor, t, nu):  # type: ignore[no-untyped-def]
    """Go on with t times a factor by place for ridge: the dual within y is its, and z stays."""
    for i in range(start, stop):
        for j in range(y.shape[1]):
            yy, r, f = y[i, j], ridge[i, j], factor[i, j]
            for k in range(yy.size):
                yy[k] *= (nu + t * f[k]) / (nu + r[k])
                r[k] = t * f[k]


@numba.njit(cache=True, inline="always", error_model="numpy")
def _of_half(i, n, m):  # type: ignore[no-untyped-def]
    """Place of frequency i of n in m < n samples of lower ones, -1 where it is not among them."""
    low = min(m // 2, n // 2)
    if i < low:
        return i
    return i - n + m if i > n - low else -1


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def solve(  # type: ignore[no-untyped-def]
    start, stop, source, data, bend, kernel, low, lx, ly, lz, mu1, mu2, nu, muh, size, ratio, depth
):
    """Overwrite source by x, data by Dx + h and bend by Lap h.

    h = (mu2 (data - Dx) + muh L bend) / (mu2 + e) with e = muh L^2 + size, put into that of x.
    ``bend`` lies on the half grid, ``depth`` frequencies along the last axis, and its spectrum is
    ``ratio`` times as large; h has no other frequencies.
    ``low`` is what the spectrum of x is held by, for bands that are split off and at high
    frequencies.
    """
    for i in range(start, stop):
        at_i = _of_half(i, data.shape[0], bend.shape[0])
        for j in range(data.shape[1]):
            at_j = _of_half(j, data.shape[1], bend.shape[1])
            g, f, d = source[i, j], data[i, j], kernel[i, j]
            b = bend[max(at_i, 0), max(at_j, 0)]
            held_low = low[i, j]
            lxy = lx[i] + ly[j]
            with_harmonic = depth if at_i >= 0 and at_j >= 0 else 0
            for k in range(with_harmonic):
                lap = lxy + lz[k]
                held = muh * lap * lap + size
                inverse = ONE / (mu2 + held)
                pull = mu2 * d[k] * inverse
                bent = muh * lap * b[k] / ratio
                scale = ONE / (mu1 * lap + pull * d[k] * held + nu + held_low[k])
                x = scale * (g[k] + pull * (held * f[k] - bent))
                dx = d[k] * x
                h = inverse * (mu2 * (f[k] - dx) + bent)
                g[k] = x
                f[k] = dx + h
                b[k] = ratio * lap * h
            for k in range(with_harmonic, d.size):
                pull = mu2 * d[k]
                lap = lxy + lz[k]
                x = (g[k] + pull * f[k]) / (mu1 * lap + pull * d[k] + nu + held_low[k])
                g[k] = x
                f[k] = d[k] * x


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def update_harmonic(start, stop, bend, u, mask, rho, relax):  # type: ignore[no-untyped-def]
    """Overwrite u by relax Lap h + (1 - relax) z + s, and Lap h by z - s."""
    keep = (ONE - relax) * rho + ONE - rho
    inner = TWO * rho - ONE
    for i in range(start, stop):
        for j in range(bend.shape[1]):
            b, uu, m = bend[i, j], u[i, j], mask[i, j]
            for k in range(b.size):
                uu[k] = relax * b[k] + (keep if m[k] else ONE - relax) * uu[k]
                b[k] = (inner if m[k] else ONE) * uu[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def squares_in_mask(start, stop, out, x, mask, steps):  # type: ignore[no-untyped-def]
    """Fill out by the mean of the squared differences to both sides, sum of the three axes.

    A difference counts where both of its voxels are in the mask.
    """
    nx, ny, nz = x.shape
    half = np.float32(0.5)
    sa, sb, sc = half * steps[0] ** 2, half * steps[1] ** 2, half * steps[2] ** 2
    for i in range(start, stop):
        ia, ib = (i + 1) % nx, (i + nx - 1) % nx
        for j in range(ny):
            ja, jb = (j + 1) % ny, (j + ny - 1) % ny
            o, x0, m = out[i, j], x[i, j], mask[i, j]
            xa, xb, xc, xd = x[ia, j], x[ib, j], x[i, ja], x[i, jb]
            ma, mb, mc, md = mask[ia, j], mask[ib, j], mask[i, ja], mask[i, jb]
            for k in range(nz):
                total = ZERO
                if m[k]:
                    total += sa * (xa[k] - x0[k]) ** 2 if ma[k] else ZERO
                    total += sa * (x0[k] - xb[k]) ** 2 if mb[k] else ZERO
                    total += sb * (xc[k] - x0[k]) ** 2 if mc[k] else ZERO
                    total += sb * (x0[k] - xd[k]) ** 2 if md[k] else ZERO
                    after, before = (k + 1) % nz, (k + nz - 1) % nz
                    total += sc * (x0[after] - x0[k]) ** 2 if m[after] else ZERO
                    total += sc * (x0[k] - x0[before]) ** 2 if m[before] else ZERO
                o[k] = total


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def edge_factor(start, stop, square, mask, typical, floor):  # type: ignore[no-untyped-def]
    """Overwrite mean squares by (square / typical + floor)^(-1/4), by 1 outside the mask."""
    for i in range(start, stop):
        for j in range(square.shape[1]):
            s, m = square[i, j], mask[i, j]
            for k in range(s.size):
                factor = ONE / np.sqrt(np.sqrt(s[k] / typical + floor))
                s[k] = factor if m[k] else ONE


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def spared(start, stop, square, mask, typical, floor):  # type: ignore[no-untyped-def]
    """Overwrite mean squares by (typical / square)^(3/2), floor to 1, by 1 outside the mask."""
    for i in range(start, stop):
        for j in range(square.shape[1]):
            s, m = square[i, j], mask[i, j]
            for k in range(s.size):
                ratio = typical / max(s[k], TINY)
                factor = min(max(ratio * np.sqrt(ratio), floor), ONE)
                s[k] = factor if m[k] else ONE


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def product_and_sums(start, stop, out, a, b, sums):  # type: ignore[no-untyped-def]
    """Fill out by a product, and sums by those of its first factor and of itself, per plane."""
    for i in range(start, stop):
        before, after = 0.0, 0.0
        for j in range(out.shape[1]):
            o, x, y, row_before, row_after = out[i, j], a[i, j], b[i, j], ZERO, ZERO
            for k in range(o.size):
                o[k] = x[k] * y[k]
                row_before += x[k]
                row_after += o[k]
            before += float(row_before)
            after += float(row_after)
        sums[i, 0], sums[i, 1] = before, after
