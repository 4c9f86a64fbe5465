r"""Where the images of a run expect edges of the susceptibility (item 7.b).

Borders of tissues show in the magnitude and in R2*, which have noise of their own. Which of these
borders are of susceptibility no rule says beforehand, so the map itself is asked: the lengths of
its gradients are fitted by those of the images,

.. math:: |\nabla x| \approx c_0 + \sum_i c_i \, |\nabla I_i|, \qquad c \ge 0,

by least squares over the mask, and the gradient penalty is multiplied by

.. math:: \frac{1}{q + 0.1}, \qquad
          q = \frac{c_0 + \sum_i c_i |\nabla I_i|}{\overline{|\nabla x|}}

for the most probable map has a penalty in inverse proportion to the mean gradient of each place.
An image that is nothing but noise, has other borders, or lies elsewhere gets a c of almost 0, and
the penalty stays as it was; noise beside borders has its share in c_0. The magnitude is divided by
its smooth part first: what coils do to it is no border.

References
----------
Liu T, Liu J, de Rochefort L, et al. Morphology enabled dipole inversion (MEDI) from a single-angle
acquisition. Magn Reson Med 2011;66:777. doi:10.1002/mrm.22816 (edges of the magnitude).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.gradient import difference

__all__ = ["ImageEdges", "even_out", "gradient_length", "image_edges"]


#: Standard deviation of the window of the smooth part of a magnitude [mm].
SMOOTH_MM = 12.0
#: Values of an image beyond this part of the voxels are cut off at it [%].
FARTHEST = 99.5
#: Least part of q, as of the gradients of the map (``adaptive_rule``).
FLOOR = 0.1


@dataclass(frozen=True)
class ImageEdges:
    """Lengths of the gradients of images.

    Attributes
    ----------
    lengths : tuple of ndarray of float32
        One volume per image, of mean 1 where they count, and 1 elsewhere; 0 where an image has no
        gradient at all.
    mask : ndarray of bool
        Where the map is wanted.
    inner : ndarray of bool
        Where they count: voxels whose next ones along the axes are in the mask, too.
    """

    lengths: tuple[Float32Array, ...]
    mask: Mask
    inner: Mask

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
        inner = self.inner
        columns = [np.ones(np.count_nonzero(inner), dtype=np.float32)]
        columns += [length[inner] for length in self.lengths]
        length = gradient_length(x, steps)[inner]
        if not length.any():
            return np.ones_like(x), (0.0,) * len(self.lengths)
        right = np.array([np.vdot(c, length) for c in columns], dtype=np.float64)
        gram = np.array([[np.vdot(a, b) for b in columns] for a in columns], dtype=np.float64)
        constant, *shares = _non_negative(gram, right)
        q = np.full_like(x, constant)
        for share, volume in zip(shares, self.lengths, strict=True):
            q += np.float32(share) * volume
        total = constant + sum(shares)
        q /= np.float32(total)
        return np.where(inner, q, 1).astype(np.float32), tuple(float(s / total) for s in shares)

    def penalty(
        self, x: Float32Array, steps: Float32Array
    ) -> tuple[Float32Array, tuple[float, ...]]:
        """Return what lambda is multiplied by, 1 on average in the mask, and the shares."""
        q, shares = self.expected(x, steps)
        factor = 1 / (q + np.float32(FLOOR))
        factor /= factor[self.mask].mean(dtype=np.float64)
        return np.where(self.mask, factor, 1).astype(np.float32), shares


def image_edges(images: Sequence[FloatArray], mask: Mask, steps: Float32Array) -> ImageEdges:
    """Return the edges of images; values that are not finite count as the median of the others."""
    inner = mask.copy()
    for axis in range(3):
        inner &= np.roll(mask, -1, axis)
    lengths = []
    for image in images:
        finite = mask & np.isfinite(image)
        if not finite.any() or not inner.any():
            lengths.append(np.zeros(mask.shape, dtype=np.float32))
            continue
        low, middle, high = np.percentile(image[finite], [100 - FARTHEST, 50, FARTHEST])
        filled = np.where(finite, np.clip(image, low, high), middle).astype(np.float32)
        length = gradient_length(filled, steps)
        mean = float(length[inner].mean(dtype=np.float64))
        lengths.append(np.where(inner, length / np.float32(mean), 1) if mean > 0 else 0 * length)
    return ImageEdges(tuple(lengths), mask, inner)


def gradient_length(x: Float32Array, steps: Float32Array) -> Float32Array:
    """Return the length of the gradient: differences of the penalty, to the next voxels."""
    square = np.zeros_like(x)
    for axis in range(3):
        square += (steps[axis] * difference(x, axis)) ** 2
    return np.sqrt(square)


def even_out(magnitude: FloatArray, mask: Mask, voxel_size: npt.ArrayLike) -> Float32Array:
    """Return a magnitude over its smooth part; 1 outside the mask and where that is not > 0."""
    width = SMOOTH_MM / np.asarray(voxel_size, dtype=np.float64)
    known = mask & np.isfinite(magnitude)
    near = ndi.gaussian_filter(known.astype(np.float32), width, truncate=3.0)
    values = np.where(known, magnitude, 0).astype(np.float32)
    smooth = ndi.gaussian_filter(values, width, truncate=3.0) / np.maximum(near, 1e-3)
    usable = known & (smooth > 0)
    return np.where(usable, values / np.where(usable, smooth, 1), 1).astype(np.float32)


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
