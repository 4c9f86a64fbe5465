r"""Where the images of a run expect edges of the susceptibility (item 7.b).

Borders of tissues show in the magnitude and in R2*, which have noise of their own. Which of these
borders are of susceptibility no rule says beforehand, so the map itself is asked: the lengths of
its gradients are fitted by those of the images, as they are and a little smoothed,

.. math:: |\nabla x| \approx q = c_0 + \sum_i c_i \, e_i, \qquad c \ge 0,
          \qquad e_i^2 = \max(|\nabla I_i|^2 - n_i^2, 0)

with the mean square n^2 that noise has there. Lengths scatter as much as they are long, so the
squares of the fit count by 1 / q^2. The gradient penalty is multiplied by 1.1 / (q + 0.1), for q
of mean 1: the most probable map has a penalty in inverse proportion to the mean gradient of each
place, which is more on average. An image that is nothing but noise, has other borders, or lies
elsewhere gets a c of almost 0, and the penalty stays as it was. The magnitude is divided by its
smooth part first: what coils do to it is no border.

References
----------
Liu T, Liu J, de Rochefort L, et al. Morphology enabled dipole inversion (MEDI) from a single-angle
acquisition. Magn Reson Med 2011;66:777. doi:10.1002/mrm.22816 (edges of the magnitude).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numba
import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.gradient import gradient_length, with_next
from qsmbids.core.maths.masked import mean_in, scale_in
from qsmbids.core.maths.parallel import planes
from qsmbids.core.maths.robust import NORMAL_MAD
from qsmbids.core.maths.smoothing import LocalMean

__all__ = ["ImageEdges", "even_out", "image_edges"]


#: Standard deviation of the window of the smooth part of a magnitude [mm].
SMOOTH_MM = 12.0
#: Values of an image beyond this part of the voxels are cut off at it [%].
FARTHEST = 99.5
#: Standard deviation of the window of the images that are a little smoothed [voxels].
SMOOTH = 0.6
#: Least part of q, as of the gradients of the map (``adaptive_rule``), and steps of its fit.
FLOOR, FIT_STEPS = 0.1, 4


@dataclass(frozen=True)
class ImageEdges:
    """Lengths of the gradients of images.

    Attributes
    ----------
    lengths : tuple of pairs of ndarray of float32
        Of each image and of the smoothed one, of mean 1 where they count, and 1 elsewhere; 0 where
        they would count but there is nothing but noise.
    mask : ndarray of bool
        Where the map is wanted.
    inner : ndarray of bool
        Where they count: voxels whose next ones along the axes are in the mask, too.
    n_threads : int
        Threads of the loops; results do not depend on them.
    """

    lengths: tuple[tuple[Float32Array, Float32Array], ...]
    mask: Mask
    inner: Mask
    n_threads: int = 1

    def expected(
        self, x: Float32Array, steps: Float32Array
    ) -> tuple[Float32Array, tuple[float, ...]]:
        """Return q, of mean 1 where it is known, and the share of it that each image has.

        Parameters
        ----------
        x : ndarray of float32
            Map [ppm].
        steps : (3,) ndarray of float32
            Factors of the three differences.
        """
        length = gradient_length(x, steps, self.n_threads)
        mean = mean_in(length, self.inner, self.n_threads)
        if not mean > 0:
            return np.ones_like(x), (0.0,) * len(self.lengths)
        length /= np.float32(mean)
        volumes = tuple(volume for pair in self.lengths for volume in pair)
        found = _fitted(volumes, length, self.inner, self.n_threads)
        total = found.sum()
        q = np.empty_like(x)
        with planes(x.shape[0], self.n_threads) as run:
            run(_fill_fit, q, volumes, self.inner, (found / total).astype(np.float32))
        shares = np.reshape(found[1:], (-1, 2)).sum(axis=1) / total
        return q, tuple(float(s) for s in shares)

    def penalty(
        self, x: Float32Array, steps: Float32Array
    ) -> tuple[Float32Array, tuple[float, ...]]:
        """Return what lambda is multiplied by, 1 where q is, and the shares.

        Lambda is in proportion to 1 / q at each place. On average that is the more above 1 the
        more the images tell: what has few edges of its own is smoothed the more surely.
        """
        q, shares = self.expected(x, steps)
        with planes(x.shape[0], self.n_threads) as run:
            run(_penalty_of, q, self.mask)
        return q, shares


def image_edges(
    images: Sequence[FloatArray], mask: Mask, steps: Float32Array, n_threads: int = 1
) -> ImageEdges:
    """Return the edges of images; values that are not finite count as the median of the others."""
    inner = with_next(mask)
    if not images:
        return ImageEdges((), mask, inner, n_threads)
    found: list[tuple[Float32Array, Float32Array]] = [None] * len(images)  # type: ignore[list-item]
    side_by_side = len(images) > 1 and n_threads > 1
    each = 1 if side_by_side else n_threads
    mean_around = LocalMean(mask, SMOOTH, each, 1e-2)

    def some(start: int, stop: int) -> None:
        for number in range(start, stop):
            found[number] = _lengths_of(images[number], mask, inner, steps, mean_around, each)

    with planes(len(images), n_threads if side_by_side else 1) as run:
        run(some)
    return ImageEdges(tuple(found), mask, inner, n_threads)


def _lengths_of(
    image: FloatArray,
    mask: Mask,
    inner: Mask,
    steps: Float32Array,
    mean_around: LocalMean,
    n_threads: int,
) -> tuple[Float32Array, Float32Array]:
    """Return what the gradients of an image and of the smoothed one have above its noise."""
    finite = mask & np.isfinite(image)
    if not finite.any() or not inner.any():
        return np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    low, middle, high = np.percentile(image[finite], [100 - FARTHEST, 50, FARTHEST])
    filled = np.where(finite, np.clip(image, low, high), middle).astype(np.float32)
    smooth = mean_around(filled * mask)
    noise = _noise(filled, mask, n_threads) * float(np.sqrt(2 * (steps.astype(float) ** 2).sum()))
    sharp, smooth = (gradient_length(v, steps, n_threads) for v in (filled, smooth))
    _keep_above(sharp, noise, inner, n_threads)
    _keep_above(smooth, noise * _noise_left(), inner, n_threads)
    return sharp, smooth


def _keep_above(length: Float32Array, noise: float, inner: Mask, n_threads: int) -> None:
    """Leave of lengths what they have above noise, of mean 1 where they count and 1 elsewhere."""
    with planes(length.shape[0], n_threads) as run:
        run(_above, length, np.float32(noise), inner)
    mean = mean_in(length, inner, n_threads)
    if mean > 0:
        scale_in(length, 1 / mean, inner, n_threads)


def _noise(image: Float32Array, mask: Mask, n_threads: int = 1) -> float:
    """Return the standard deviation of the noise of an image, from its second differences."""
    counts = np.zeros(image.shape[0], dtype=np.int64)
    bends = np.empty(0, dtype=np.float32)
    with planes(image.shape[0], n_threads) as run:
        run(_bends, image, mask, np.zeros_like(counts), counts, bends)
        bends = np.empty(counts.sum(), dtype=np.float32)
        run(_bends, image, mask, np.cumsum(counts) - counts, counts, bends)
    return float(np.median(bends)) / NORMAL_MAD / float(np.sqrt(6)) if bends.size else 0.0


@cache
def _noise_left() -> float:
    """Return by what the smoothing of images multiplies differences of noise."""
    delta = np.zeros(33)
    delta[16] = 1
    window = ndi.gaussian_filter1d(delta, SMOOTH, truncate=3.0)
    same, next_one = (float(np.vdot(window, np.roll(window, n))) for n in (0, 1))
    return float(np.sqrt((same - next_one) * same**2))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _above(start, stop, length, noise, inner):  # type: ignore[no-untyped-def]
    """Overwrite lengths by what their squares have above that of noise, by 1 where none counts."""
    zero, one = np.float32(0), np.float32(1)
    for i in range(start, stop):
        for j in range(length.shape[1]):
            row, known = length[i, j], inner[i, j]
            for k in range(row.size):
                above = np.sqrt(max(row[k] * row[k] - noise * noise, zero))
                row[k] = above if known[k] else one


@numba.njit(cache=True, nogil=True)
def _bends(start, stop, image, mask, first, counts, out):  # type: ignore[no-untyped-def]
    """Fill out from ``first`` on by the sizes of second differences in the mask, per plane.

    Without room in out they are counted alone.
    """
    nx, ny, nz = image.shape
    two, fill = np.float32(2), out.size > 0
    for i in range(start, stop):
        at, ia, ib = first[i], (i + 1) % nx, i - 1
        for j in range(ny):
            ja, jb = (j + 1) % ny, j - 1
            for k in range(nz):
                if not mask[i, j, k]:
                    continue
                ka, kb, middle = (k + 1) % nz, k - 1, two * image[i, j, k]
                if mask[ia, j, k] and mask[ib, j, k]:
                    if fill:
                        out[at] = abs(image[ia, j, k] + image[ib, j, k] - middle)
                    at += 1
                if mask[i, ja, k] and mask[i, jb, k]:
                    if fill:
                        out[at] = abs(image[i, ja, k] + image[i, jb, k] - middle)
                    at += 1
                if mask[i, j, ka] and mask[i, j, kb]:
                    if fill:
                        out[at] = abs(image[i, j, ka] + image[i, j, kb] - middle)
                    at += 1
        counts[i] = at - first[i]


def even_out(
    magnitude: FloatArray, mask: Mask, voxel_size: npt.ArrayLike, n_threads: int = 1
) -> Float32Array:
    """Return a magnitude over its smooth part; 1 outside the mask and where that is not > 0."""
    width = SMOOTH_MM / np.asarray(voxel_size, dtype=np.float64)
    known = mask & np.isfinite(magnitude)
    values = np.where(known, magnitude, 0).astype(np.float32)
    smooth = LocalMean(known, width, n_threads)(values)
    usable = known & (smooth > 0)
    return np.where(usable, values / np.where(usable, smooth, 1), 1).astype(np.float32)


def _fitted(
    volumes: tuple[Float32Array, ...], wanted: Float32Array, inner: Mask, n_threads: int = 1
) -> Float64Array:
    """Return the c, of a constant and of volumes, whose fit has a scatter in proportion to it."""
    n = 1 + len(volumes)
    found, sums = np.zeros(n), np.empty((wanted.shape[0], n, n + 1))
    with planes(wanted.shape[0], n_threads) as run:
        for step in range(FIT_STEPS):
            run(
                _normal_equations, volumes, wanted, inner, found.astype(np.float32), step > 0,
                sums,
            )  # fmt: skip
            total = sums.sum(axis=0)
            found = _non_negative(total[:, :n], total[:, n])
    return found


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _normal_equations(start, stop, volumes, wanted, inner, found, weighted, sums):  # type: ignore[no-untyped-def]
    """Fill sums by the normal equations of each plane; squares count by 1 / (fit + floor)^2."""
    n, length = found.size, wanted.shape[2]
    rows = np.ones((n + 1, length), np.float32)
    held, w = np.empty((n, length), np.float32), np.empty(length, np.float32)
    zero, one, floor = np.float32(0), np.float32(1), np.float32(FLOOR)
    for i in range(start, stop):
        sums[i, :, :] = 0
        for j in range(wanted.shape[1]):
            known = inner[i, j]
            if not known.any():
                continue
            w[:] = floor + found[0]
            for a in range(1, n):
                row, v, c = rows[a], volumes[a - 1][i, j], found[a]
                for k in range(length):
                    row[k] = v[k]
                    w[k] += c * v[k]
            for k in range(length):
                counts = one / (w[k] * w[k]) if weighted else one
                w[k] = counts if known[k] else zero
                rows[n, k] = wanted[i, j, k] if known[k] else zero
            for a in range(n):
                for k in range(length):
                    held[a, k] = w[k] * rows[a, k]
            for a in range(n):
                for b in range(a, n + 1):
                    total = zero
                    for k in range(length):
                        total += held[a, k] * rows[b, k]
                    sums[i, a, b] += total
        for a in range(n):
            for b in range(a):
                sums[i, a, b] = sums[i, b, a]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _fill_fit(start, stop, out, volumes, inner, found):  # type: ignore[no-untyped-def]
    """Fill out by the fit where it is known, and by 1."""
    one = np.float32(1)
    for i in range(start, stop):
        for j in range(out.shape[1]):
            o, known = out[i, j], inner[i, j]
            if not known.any():
                o[:] = one
                continue
            o[:] = found[0]
            for a in range(1, found.size):
                c, v = found[a], volumes[a - 1][i, j]
                for k in range(o.size):
                    o[k] += c * v[k]
            for k in range(o.size):
                o[k] = o[k] if known[k] else one


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _penalty_of(start, stop, q, mask):  # type: ignore[no-untyped-def]
    """Overwrite q by (1 + floor) / (q + floor) in the mask, and by 1."""
    one, floor = np.float32(1), np.float32(FLOOR)
    for i in range(start, stop):
        for j in range(q.shape[1]):
            row, m = q[i, j], mask[i, j]
            for k in range(row.size):
                row[k] = (one + floor) / (row[k] + floor) if m[k] else one


def _non_negative(gram: Float64Array, right: Float64Array) -> Float64Array:
    """Return the least squares solution of normal equations among vectors without a negative.

    There are few unknowns, so every set of those that are not 0 is tried.
    """
    best, least = np.zeros_like(right), 0.0
    for chosen in product((True, False), repeat=right.size):
        used = np.flatnonzero(chosen)
        if used.size == 0:
            continue
        part = gram[np.ix_(used, used)]
        found = np.linalg.lstsq(part, right[used], rcond=1e-10)[0]
        if (found < 0).any():
            continue
        cost = float(found @ part @ found / 2 - found @ right[used])
        if cost < least:
            best, least = np.zeros_like(right), cost
            best[used] = found
    return best
