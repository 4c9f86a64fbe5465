r"""Loops that both ways of minimising FANSI share; every volume is read and written seldom.

All volumes are periodic (X, Y, Z) float32 on the same grid. Each loop works on the planes
``start`` to ``stop``, of which it alone writes, and keeps sums per plane: any number of threads
gives the same result. (Loops that release the lock compile in a third of the time of numba's own
parallel loops, which matters for the first run on a machine.)

Two pairs of variables are stored as one: with v = grad x + s1, z1 = soft(v, t) and the new dual is
clip(v, -t, t); with u = Lap h + sh, zh = rho u and the new dual is (1 - rho) u.
"""

import numba
import numpy as np

from qsmbids.units import TWO_PI

__all__ = [
    "change_and_size",
    "fit_row",
    "negative_divergence",
    "span",
    "update_gradient",
]

#: Below this difference two neighbouring weights count as equal.
EDGE_FLOOR = np.float32(1e-3)
ZERO, ONE, TWO, SIX = np.float32(0), np.float32(1), np.float32(2), np.float32(6)
#: Whole turns of the phase in single precision [rad].
TURN, QUARTER_TURN, PER_TURN = (np.float32(v) for v in (TWO_PI, TWO_PI / 4, 1 / TWO_PI))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def change_and_size(start, stop, x, previous, mask, sums):  # type: ignore[no-untyped-def]
    """Squared norms of the change of ``x`` in the mask and of itself, per plane."""
    for i in range(start, stop):
        change, total = 0.0, 0.0
        for j in range(x.shape[1]):
            new, old, m = x[i, j], previous[i, j], mask[i, j]
            row_change, row_total = ZERO, ZERO
            for k in range(new.size):
                if m[k]:
                    row_change += (new[k] - old[k]) ** 2
                    row_total += new[k] ** 2
            change += float(row_change)
            total += float(row_total)
        sums[i, 0], sums[i, 1] = change, total


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def threshold(w, w_next, scale, flip):  # type: ignore[no-untyped-def]
    """Soft threshold between two voxels; ``flip`` -1 takes the size of the edge, 1 its sign."""
    g = w - w_next
    return scale / max(max(g, flip * g), EDGE_FLOOR)


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def clip(v, t):  # type: ignore[no-untyped-def]
    return min(max(v, -t), t)


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _relaxed(step, v, t, relax):  # type: ignore[no-untyped-def]
    """Return the next grad x + s1; clip(v) is the old s1, and the rest of v the old z1."""
    dual = clip(v, t)
    return relax * step + (ONE - relax) * (v - dual) + dual


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def update_gradient(start, stop, v, x, w, scale, flip, relax):  # type: ignore[no-untyped-def]
    """Overwrite v by relax grad x + (1 - relax) z1 + s1, for the three axes."""
    nx, ny, nz = x.shape
    for i in range(start, stop):
        for j in range(ny):
            i1, j1 = (i + 1) % nx, (j + 1) % ny
            x0, xi, xj = x[i, j], x[i1, j], x[i, j1]
            w0, wi, wj = w[i, j], w[i1, j], w[i, j1]
            va, vb, vc = v[0, i, j], v[1, i, j], v[2, i, j]
            for k in range(nz):
                va[k] = _relaxed(xi[k] - x0[k], va[k], threshold(w0[k], wi[k], scale, flip), relax)
                vb[k] = _relaxed(xj[k] - x0[k], vb[k], threshold(w0[k], wj[k], scale, flip), relax)
            for k in range(nz - 1):
                t = threshold(w0[k], w0[k + 1], scale, flip)
                vc[k] = _relaxed(x0[k + 1] - x0[k], vc[k], t, relax)
            t = threshold(w0[nz - 1], w0[0], scale, flip)
            vc[nz - 1] = _relaxed(x0[0] - x0[nz - 1], vc[nz - 1], t, relax)


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _shrunk(v, w, w_next, scale, flip):  # type: ignore[no-untyped-def]
    """z1 - s1 of one difference."""
    return v - TWO * clip(v, threshold(w, w_next, scale, flip))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
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
            around = _shrunk(vc[nz - 1], w0[nz - 1], w0[0], scale, flip)
            before = around
            for k in range(nz - 1):
                here = _shrunk(vc[k], w0[k], w0[k + 1], scale, flip)
                o[k] += before - here
                before = here
            o[nz - 1] += before - around


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _sine_cosine(angle):  # type: ignore[no-untyped-def]
    """Sine and cosine to 1e-6 by Taylor series of the half angle; unlike libm's, it vectorises."""
    half = np.float32(0.5) * (angle - TURN * np.rint(angle * PER_TURN))
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


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def span(w):  # type: ignore[no-untyped-def]
    """Return where the first weight of a row that is not zero is, and the end after the last."""
    first, last = 0, w.size
    while first < last and w[first] == ZERO:
        first += 1
    while last > first and w[last - 1] == ZERO:
        last -= 1
    return first, last


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def fit_row(phase, misfit, w, w_scale, mu2, n_newton):  # type: ignore[no-untyped-def]
    """Fill phase by z2 - y, for misfit = Dx + h + s2 - y, of a row of voxels.

    It starts from the solution for a small misfit, up to whole turns; without Newton steps the
    data are linear and that is the answer.
    """
    per_turn = PER_TURN if n_newton > 0 else ZERO
    for k in range(misfit.size):
        weight = (w_scale * w[k]) ** 2
        turns = TURN * np.rint(misfit[k] * per_turn)
        phase[k] = turns + mu2 * (misfit[k] - turns) / (weight + mu2)
    for _ in range(n_newton):
        for k in range(misfit.size):
            weight = (w_scale * w[k]) ** 2
            sine, cosine = _sine_cosine(phase[k])
            slope = max(weight * cosine + mu2, EDGE_FLOOR)
            step = (weight * sine + mu2 * (phase[k] - misfit[k])) / slope
            phase[k] -= clip(step, QUARTER_TURN)
