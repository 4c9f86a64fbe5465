r"""How sure the mean of a region is, from the errors of twins (``standard_error``).

Three things are unknown of the mean of a region, less that of the reference. What noise does, the
twins show: s, the spread of their means. What the map always lacks there they show in part: B,
their mean error. A twin is made of the map, which has lost it already, so the error of the map is
F times as large (:func:`~qsmbids.core.inversion.standard_error.factor_of_twins`). That holds for
the contrast of tissues that part the brain between them, white and grey matter. In a region within
one of them, such as a nucleus, twins have a bias of 1 to 4 ppb besides that the map does not have,
smooth and alike in all of the depth, and the less they lose, the larger is its part in B. So with
phi the share of all voxels that a region has, and B relative to their mean,

.. math:: b = B \left(a F h + \min(c F (F - 1), 1.4) (1 - h)\right),
          \qquad h = \left(4 \varphi (1 - \varphi)\right)^2,

less that of the reference; h is the same for a region and for all the rest of the head. What
twins lack altogether is smooth for the most part and alike everywhere, as what background removal
leaves, and about as large as what they have,

.. math:: s_m^2 = s^2 (1 + 1/N) + (d h F B)^2 + \sum_{ij} u_i u_j
          \left(p\, v_i v_j \rho_{ij} + q\, \overline{v^2} \varrho_{ij}\right),
          \qquad u = 1_{region} / n - 1_{reference} / m,

with d the doubt of that bias, v the size of the errors of twins in a voxel, rho their
correlation, which is measured between neighbours, and varrho one of 12.5 mm. The interval lies
about the mean less its bias, as that of any bootstrap does. a, c and q are those of the largest
likelihood in half of the simulated heads; p, which it would have at 0, and d keep regions of few
voxels and heads unlike them. 1.4 is what heads have whose F is above 2.2: 1.0 to 1.5.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.inversion.standard_error import HALF_95
from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.boxes import bounding_box

__all__ = ["ErrorOfMeans", "MeanError"]


#: Bias of the mean of a region over F times that of twins: where it parts the brain in two, and
#: the doubt of that; inside one tissue over F - 1, and the most of it, over that of twins.
WIDE, UNSURE = 1.15, 0.1
DEEP, MOST_DEEP = 0.54, 1.4
#: Of what twins lack, that as in their errors; the smooth part, and the reach of its correlation
#: [mm].
NEAR, SMOOTH, SMOOTH_MM = 0.5, 0.7, 12.5
#: Where a correlation is cut off [standard deviations], and blocks to one at which it is summed.
FAR, BLOCKS = 4.0, 3
#: Correlation of neighbours of errors: none, and most.
LEAST_CORRELATION, MOST_CORRELATION = 1e-6, 0.99

_Box = tuple[slice, slice, slice]


class MeanError(NamedTuple):
    """Error of the mean of a region.

    Attributes
    ----------
    standard_error : float
        Of the mean less its bias [ppm].
    bias : float
        Estimated mean of the map less the true one [ppm].
    """

    standard_error: float
    bias: float

    def interval(self, mean: float) -> tuple[float, float]:
        """Return the ends of the interval that holds the true mean in 95 % of cases."""
        middle = mean - self.bias
        return middle - HALF_95 * self.standard_error, middle + HALF_95 * self.standard_error


class ErrorOfMeans:
    """Errors of the means of regions, relative to the mean of all voxels.

    Parameters
    ----------
    errors : (N, X, Y, Z) ndarray
        Of :func:`~qsmbids.core.inversion.standard_error.standard_error`.
    factor : float
        F, of the same.
    voxel_size : (3,) array_like
        [mm].
    """

    def __init__(self, errors: Float32Array, factor: float, voxel_size: npt.ArrayLike) -> None:
        known: Mask = np.any(errors, axis=0)
        self._n_known = int(np.count_nonzero(known))
        self._errors = errors
        bias = errors.mean(axis=0)[known]
        self._factor = factor
        self._middle = float(bias.mean(dtype=np.float64)) if known.any() else 0.0
        self._size = np.sqrt(np.mean(errors**2, axis=0, dtype=np.float32))
        self._reach = _reach(errors, known)
        voxel = np.asarray(voxel_size, dtype=np.float64)
        self._block = [max(1, int(n)) for n in SMOOTH_MM / BLOCKS / voxel]
        self._smooth_reach = SMOOTH_MM / voxel / self._block
        self._smooth_square = float(np.mean(self._size[known] ** 2)) if known.any() else 0.0
        self._set_zero(known)

    def relative_to(self, reference: Mask) -> "ErrorOfMeans":
        """Return the errors relative to the mean of a reference, (X, Y, Z) of bool.

        Its own error counts, less what it has in common with that of a region.
        """
        other = object.__new__(ErrorOfMeans)
        vars(other).update(vars(self))  # what does not depend on the reference is shared
        other._set_zero(reference)
        return other

    def _set_zero(self, reference: Mask) -> None:
        self._zero = reference
        self._n_zero = int(np.count_nonzero(reference))
        if not self._n_zero:
            return
        box = bounding_box(reference)
        self._zero_means = _means(self._errors, reference, box)
        self._zero_bias = self._bias(self._zero_means, self._n_zero)
        share = self._share(reference, box, self._n_zero)
        self._zero_alone = float((share * _spread(share, self._reach)).sum())
        self._zero_blocks = _in_blocks(reference, self._block) / self._n_zero

    def of(self, region: Mask) -> MeanError:
        """Return the error of the mean of a region, NaN where there is no voxel of it."""
        n = int(np.count_nonzero(region))
        if not n or not self._n_zero:
            return MeanError(float("nan"), float("nan"))
        box = bounding_box(region)
        means = _means(self._errors, region, box) - self._zero_means
        chance = float(means.var(ddof=1)) * (1 + 1 / len(means))
        bias, unsure = self._bias(means + self._zero_means, n) - self._zero_bias
        lacking = NEAR * self._near(region, box, n) + SMOOTH * self._smooth(region, n)
        return MeanError(float(np.sqrt(chance + unsure**2 + lacking)), float(bias))

    def _bias(self, means: Float64Array, n: int) -> Float64Array:
        """Return the bias of the mean of n voxels, relative to all, and the doubt of it."""
        share = min(n / max(self._n_known, 1), 1.0)
        wide = (4 * share * (1 - share)) ** 2
        deep = min(DEEP * (self._factor - 1), MOST_DEEP / self._factor)
        lost = self._factor * (float(means.mean()) - self._middle)
        return lost * np.array([WIDE * wide + deep * (1 - wide), UNSURE * wide])

    def _near(self, region: Mask, box: _Box, n: int) -> float:
        """Return the variance of the mean for errors of the size and correlation of twins."""
        share = self._share(region, box, n)
        margin = int(np.ceil(FAR * self._reach))
        around = tuple(
            slice(max(b.start - margin, 0), min(b.stop + margin, length))
            for b, length in zip(box, self._size.shape, strict=True)
        )
        inner = tuple(
            slice(b.start - a.start, b.stop - a.start) for a, b in zip(around, box, strict=True)
        )
        zero = _spread(self._share(self._zero, around, self._n_zero), self._reach)[inner]
        own = float((share * _spread(share, self._reach)).sum())
        return max(own - 2 * float((share * zero).sum()) + self._zero_alone, 0.0)

    def _smooth(self, region: Mask, n: int) -> float:
        """Return the same for smooth errors that are alike everywhere."""
        share = _in_blocks(region, self._block) / n - self._zero_blocks
        alone = float((share * _spread(share, self._smooth_reach)).sum())
        return self._smooth_square * max(alone, 0.0)

    def _share(self, where: Mask, box: tuple[slice, ...], n: int) -> Float64Array:
        return np.where(where[box], self._size[box], 0) / float(n)


def _means(errors: Float32Array, where: Mask, box: _Box) -> Float64Array:
    """Return the mean of each twin in a region."""
    inside = where[box]
    return np.array([error[box][inside].mean(dtype=np.float64) for error in errors])


def _spread(share: Float64Array, reach: npt.ArrayLike) -> Float64Array:
    """Return the sum of shares by their correlation with each voxel."""
    reaches = np.broadcast_to(np.asarray(reach, dtype=np.float64), 3)
    if not reaches.all():
        return share
    peak = 1.0
    for one in reaches.tolist():
        steps = np.arange(int(FAR * one + 0.5)) + 1.0
        peak *= 1 + 2 * float(np.exp(-0.5 * (steps / one) ** 2).sum())
    near: Float64Array = ndi.gaussian_filter(share, reaches, mode="constant", truncate=FAR)
    return peak * near


def _in_blocks(where: Mask, block: list[int]) -> Float64Array:
    """Return how many voxels lie in each block."""
    out = where.astype(np.float64)
    for axis, size in enumerate(block):
        out = np.add.reduceat(out, np.arange(0, out.shape[axis], size), axis=axis)
    return out


def _reach(errors: Float32Array, known: Mask) -> float:
    """Return the standard deviation [voxels] of a Gaussian that neighbours correlate by."""
    correlations = []
    for axis in range(3):
        pairs = np.moveaxis(known, axis, 0)
        both = pairs[1:] & pairs[:-1]
        power = product = 0.0
        for error in errors:
            volume = np.moveaxis(error, axis, 0)
            one, other = volume[1:][both], volume[:-1][both]
            power += float((one**2 + other**2).sum(dtype=np.float64)) / 2
            product += float((one * other).sum(dtype=np.float64))
        correlations.append(product / power if power > 0 else 0.0)
    correlation = float(np.mean(correlations))
    if correlation <= LEAST_CORRELATION:
        return 0.0
    return float(np.sqrt(-0.5 / np.log(min(correlation, MOST_CORRELATION))))
