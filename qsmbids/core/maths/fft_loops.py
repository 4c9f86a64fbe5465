"""Loops of the transforms: sixteen lines side by side, after Stockham, through a small buffer.

A volume (X, Y, Z) is transformed plane by plane along Z and Y and then along X, so that it passes
through memory twice. Along Z, sixteen pairs of rows are taken as complex ones.

Which lines go together does not depend on the threads: any number gives the same result.

References
----------
Van Loan C. Computational Frameworks for the Fast Fourier Transform. SIAM, 1992.
doi:10.1137/1.9781611970999 (the autosort framework, and pairs of real transforms).
"""

import numba
import numpy as np

from qsmbids.core.maths.fft_lanes import (
    LANES,
    butterfly,
    join,
    move,
    pack,
    split,
    transpose,
    unpack,
)

#: Lines side by side begin at, and go on after, so much: typed, else they are compiled anew.
START, APART = np.int64(0), np.int64(LANES)
TWO, FOUR = np.int64(2), np.int64(4)

__all__ = ["columns", "forward_planes", "inverse_planes"]

_two, _three, _four, _five = (butterfly(radix) for radix in (2, 3, 4, 5))


@numba.njit(cache=True, nogil=True)
def _room(rows, n):  # type: ignore[no-untyped-def]
    """Return zeros for ``rows`` times n lanes; a vector that straddles cache lines costs twice."""
    room = np.zeros((rows * n + 1) * LANES, np.float32)
    first = -room.ctypes.data % (4 * LANES) // 4
    return room[first : first + rows * n * LANES].reshape((rows, n * LANES))


@numba.njit(cache=True, nogil=True)
def transform(re, im, offset, stride, buffer, radices, cos, sin):  # type: ignore[no-untyped-def]
    """Transform the lines whose samples are ``stride`` apart; return the two parts.

    They come back in two rows of ``buffer`` (4, samples x lanes). A radix takes the sample from
    ``stride`` in the first pass, and from the rows of the buffer in those that follow.
    """
    done, n = 1, cos.size
    for step in range(radices.size):
        radix = radices[step]
        part, width = n // radix, done * LANES
        if step % 2:
            br, bi = buffer[2], buffer[3]
        else:
            br, bi = buffer[0], buffer[1]
        for p in range(part):
            i, o, di = offset + p * done * stride, p * radix * width, part * done * stride
            for q in range(0, width, LANES):
                if radix == 4:
                    _four(re, im, br, bi, cos, sin, i + q, di, o + q, width, p * done)
                elif radix == 3:
                    _three(re, im, br, bi, cos, sin, i + q, di, o + q, width, p * done)
                elif radix == 2:
                    _two(re, im, br, bi, cos, sin, i + q, di, o + q, width, p * done)
                else:
                    _five(re, im, br, bi, cos, sin, i + q, di, o + q, width, p * done)
        re, im, offset, stride = br, bi, 0, LANES
        done, n = done * radix, part
    return re, im


@numba.njit(cache=True, nogil=True)
def columns(start, stop, spectrum, total, inverse, radices, cos, sin):  # type: ignore[no-untyped-def]
    """Transform along the first axis, of ``total`` samples apart, blocks ``start`` to ``stop``."""
    n = cos.size
    lines, buffer = _room(TWO, n), _room(FOUR, n)
    re, im = lines[int(inverse)], lines[1 - int(inverse)]
    for block in range(start, stop):
        first = block * LANES
        inside = min(LANES, total - first)
        for i in range(n):
            at = 2 * (i * total + first)
            if inside == LANES:
                split(spectrum, at, re, im, i * LANES)
            else:
                for k in range(inside):
                    re[i * LANES + k] = spectrum[at + 2 * k]
                    im[i * LANES + k] = spectrum[at + 2 * k + 1]
        # with the two parts exchanged, before and after, it is the inverse
        a, b = transform(lines[0], lines[1], START, APART, buffer, radices, cos, sin)
        if inverse:
            a, b = b, a
        for i in range(n):
            at = 2 * (i * total + first)
            if inside == LANES:
                join(a, b, i * LANES, spectrum, at)
            else:
                for k in range(inside):
                    spectrum[at + 2 * k] = a[i * LANES + k]
                    spectrum[at + 2 * k + 1] = b[i * LANES + k]


@numba.njit(cache=True, nogil=True)
def _rows(volume, first, inside, n, out):  # type: ignore[no-untyped-def]
    """Put sixteen rows of n samples, of which some are inside, side by side."""
    whole = n // LANES * LANES if inside == LANES else 0
    for k in range(0, whole, LANES):
        transpose(volume, first + k, n, out, k * LANES, LANES)
    for k in range(whole, n):
        for row in range(inside):
            out[k * LANES + row] = volume[first + row * n + k]
        for row in range(inside, LANES):
            out[k * LANES + row] = 0.0


@numba.njit(cache=True, nogil=True)
def _unrows(lines, first, inside, n, volume):  # type: ignore[no-untyped-def]
    """Put lines side by side back into rows."""
    whole = n // LANES * LANES if inside == LANES else 0
    for k in range(0, whole, LANES):
        transpose(lines, k * LANES, LANES, volume, first + k, n)
    for k in range(whole, n):
        for row in range(inside):
            volume[first + row * n + k] = lines[k * LANES + row]


@numba.njit(cache=True, nogil=True)
def forward_planes(start, stop, volume, out, plan_y, plan_z):  # type: ignore[no-untyped-def]
    """Transform planes along both axes to their half spectra, which are stored as real pairs."""
    ny, nz = plan_y[1].size, plan_z[1].size
    half = nz // 2 + 1
    whole = half // LANES * LANES
    wide, high = (half + LANES - 1) // LANES * LANES, (ny + 2 * LANES - 1) // (2 * LANES)
    lines, buffer = _room(TWO, nz), _room(FOUR, max(ny, nz))
    parts, plane = _room(FOUR, wide), _room(TWO, high * 2 * wide)
    for i in range(start, stop):
        for block in range(high):
            j = block * 2 * LANES
            for pair in range(2):
                row = j + pair * LANES
                _rows(volume, (i * ny + row) * nz, max(0, min(LANES, ny - row)), nz, lines[pair])
            a, b = transform(lines[0], lines[1], START, APART, buffer, *plan_z)
            for k in range(half):
                mirrored = (nz - k) % nz * LANES
                unpack(a, b, k * LANES, mirrored, parts[0], parts[1], parts[2], parts[3])
            for part in range(4):
                o = (j + part // 2 * LANES) * wide
                for k in range(0, wide, LANES):
                    transpose(parts[part], k * LANES, LANES, plane[part % 2], o + k, wide)
        for k in range(0, wide, LANES):
            a, b = transform(plane[0], plane[1], k, wide, buffer, *plan_y)
            for j in range(ny):
                move(a, j * LANES, plane[0], j * wide + k)
                move(b, j * LANES, plane[1], j * wide + k)
        for j in range(ny):
            at = 2 * (i * ny + j) * half
            for k in range(0, whole, LANES):
                join(plane[0], plane[1], j * wide + k, out, at + 2 * k)
            for k in range(whole, half):
                out[at + 2 * k] = plane[0, j * wide + k]
                out[at + 2 * k + 1] = plane[1, j * wide + k]


@numba.njit(cache=True, nogil=True)
def inverse_planes(start, stop, spectrum, volume, scale, plan_y, plan_z):  # type: ignore[no-untyped-def]
    """Transform half spectra of planes back, times a number."""
    ny, nz = plan_y[1].size, plan_z[1].size
    half = nz // 2 + 1
    whole = half // LANES * LANES
    wide, high = (half + LANES - 1) // LANES * LANES, (ny + 2 * LANES - 1) // (2 * LANES)
    lines, buffer = _room(TWO, max(ny, nz)), _room(FOUR, max(ny, nz))
    parts, plane = _room(FOUR, wide), _room(TWO, high * 2 * wide)
    re, im = lines[0], lines[1]
    for i in range(start, stop):
        for k in range(0, wide, LANES):
            for j in range(ny):
                at = 2 * ((i * ny + j) * half + k)
                if k < whole:
                    split(spectrum, at, re, im, j * LANES)
                else:
                    for lane in range(half - k):
                        re[j * LANES + lane] = spectrum[at + 2 * lane]
                        im[j * LANES + lane] = spectrum[at + 2 * lane + 1]
            b, a = transform(im, re, START, APART, buffer, *plan_y)
            for j in range(ny):
                move(a, j * LANES, plane[0], j * wide + k)
                move(b, j * LANES, plane[1], j * wide + k)
        for block in range(high):
            j = block * 2 * LANES
            for part in range(4):
                at = (j + part // 2 * LANES) * wide
                for k in range(0, wide, LANES):
                    transpose(plane[part % 2], at + k, wide, parts[part], k * LANES, LANES)
            for k in range(half):
                if 2 * k % nz == 0:  # real, whatever rounding says
                    parts[1, k * LANES : (k + 1) * LANES] = 0.0
                    parts[3, k * LANES : (k + 1) * LANES] = 0.0
                mirrored = (nz - k) % nz * LANES
                pack(parts[0], parts[1], parts[2], parts[3], k * LANES, scale, re, im, mirrored)
            b, a = transform(im, re, START, APART, buffer, *plan_z)
            for pair in range(2):
                row = j + pair * LANES
                inside = max(0, min(LANES, ny - row))
                _unrows(a if pair == 0 else b, (i * ny + row) * nz, inside, nz, volume)
