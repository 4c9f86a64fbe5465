r"""Smooth phase by local linear regression in a mask.

A Gaussian average is biased wherever the mask is not symmetric about a voxel: at the rim it looks
to one side only, and a slope becomes an error. Around every point :math:`x` the phase is therefore
fitted by a plane :math:`a + b \cdot (x_j - x)`, with Gaussian weights over the voxels of the mask
[1]_, and :math:`a` is the result. With :math:`\langle\cdot\rangle` the weighted mean around
:math:`x`,

.. math::

   a = \langle y \rangle + b \cdot (x - \langle x_j \rangle), \qquad
   b = \left[\langle x_j x_j^T \rangle - \langle x_j \rangle \langle x_j^T \rangle\right]^{-1}
       \left[\langle x_j y \rangle - \langle x_j \rangle \langle y \rangle\right] .

What curvature leaves is fitted again and added (twicing [3]_).

References
----------
.. [1] Knutsson H, Westin CF. Normalized and differential convolution. Proc IEEE CVPR 1993:515-523.
   doi:10.1109/CVPR.1993.341081
.. [2] Cleveland WS. Robust locally weighted regression and smoothing scatterplots. J Am Stat
   Assoc 1979;74:829-836. doi:10.1080/01621459.1979.10481038
.. [3] Tukey JW. Exploratory Data Analysis. Addison-Wesley 1977, chapter 16 (twicing).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.parallel import Run, planes
from qsmbids.core.maths.robust import robust_std
from qsmbids.core.maths.smoothing import (
    block_sums,
    block_widths,
    convolve_blocks,
    convolve_complex,
    plane_interpolator,
    smooth_complex,
)
from qsmbids.core.phase.phase_plane import mean_advance

__all__ = ["phase_factors", "smooth_phase"]


#: Added to the variance of the positions [sigma^2], which is 0 across a thin sheet or around a
#: single voxel: there the fit turns into the average.
_RIDGE = 3e-3
#: Rounding of the moments, relative to the squared size of the volume.
_ROUNDING = 1e-6
#: Misfit [rad] of an outlier ...
_OUTLIER = 0.3
#: ... unless this many standard deviations are more.
_OUTLIER_DEVIATIONS = 4.0
#: Refinements before outliers are looked for.
_BEFORE_OUTLIERS = 2
#: Planes that are worked on at a time: whole blocks, whatever their width.
_SLAB = 12


def smooth_phase(
    signal: npt.NDArray[np.complex64],
    sigma: Float64Array,
    *,
    refinements: int = 8,
    n_threads: int = 1,
) -> Float32Array:
    """Smooth a phase up to the rim of its support.

    Parameters
    ----------
    signal : (X, Y, Z) ndarray of complex64
        Phase factors (of length 1); 0 outside the support.
    sigma : (3,) ndarray
        Standard deviation [voxels] of the Gaussian weights.
    refinements : int
        0 is the phase of the Gaussian average. Otherwise that is taken of what the mean slope
        leaves, to get rid of the wraps, and every refinement fits what is still missed by local
        planes (see the module) and adds it. Voxels far off after two of them are left out, as in
        ref. [2]_: where unwrapping failed, whole patches are wrong by the same amount.
    n_threads : int
        Threads of the convolutions.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Smoothed phase [rad], -pi to pi, in the support; meaningless beyond it.

    Notes
    -----
    The planes are fitted to blocks of voxels, each as one point at the centroid of its voxels of
    the support, weighted by the length of their summed phase factors. So a plane is still
    reproduced exactly, in partly filled blocks as well.
    """
    if refinements == 0:
        average: Float32Array = np.angle(phase_factors(smooth_complex(signal, sigma, n_threads)))
        return average
    ramp = _ramp(signal)
    support = signal != 0
    rounds = [min(refinements, _BEFORE_OUTLIERS), refinements - _BEFORE_OUTLIERS]
    with planes(-(-signal.shape[0] // _SLAB), n_threads) as run:
        fit = _Smoothing(sigma, support, n_threads, run)
        signal = fit.by_slabs(lambda part: signal[part] * ramp(part).conj())
        unit = fit.refined(signal, fit.average(signal), rounds[:1])
        if refinements > _BEFORE_OUTLIERS:
            outliers = _outliers(fit.by_slabs(lambda part: _misfit(signal[part], unit[part])))
            if outliers.any():  # start again, as they have reached their surroundings
                signal[outliers] = 0
                unit = fit.refined(signal, fit.average(signal), rounds)
            else:
                unit = fit.refined(signal, unit, rounds[1:])
        return fit.by_slabs(lambda part: np.angle(unit[part] * ramp(part)))


def _ramp(signal: npt.NDArray[np.complex64]) -> Callable[[slice], npt.NDArray[np.complex64]]:
    """Return phase factors that advance evenly along each axis, as the signal does on average."""
    x, y, z = (
        np.exp(1j * slope * np.arange(length)).astype(np.complex64)
        for slope, length in zip(mean_advance(signal), signal.shape, strict=True)
    )
    return lambda part: x[part, None, None] * (y[:, None] * z)


def phase_factors(volume: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """Return the phase factors of a volume, 1 where it is zero."""
    size = np.abs(volume)
    size[size == 0] = 1
    unit = np.asarray(volume / size, dtype=np.complex64)
    unit[volume == 0] = 1
    return unit


def _misfit(signal: npt.NDArray[np.complex64], unit: npt.NDArray[np.complex64]) -> Float32Array:
    """Return how far [rad] phase factors are from a signal; 0 beyond its support."""
    far: Float32Array = np.abs(np.angle(signal * unit.conj()))
    far[signal == 0] = 0  # and not pi, the angle of -0
    return far


def _outliers(misfit: Float32Array) -> Mask:
    """Return where phase factors are far from the signal."""
    inside = misfit[misfit != 0]
    spread = robust_std(inside) if inside.size else 0.0
    far: Mask = misfit > max(_OUTLIER, _OUTLIER_DEVIATIONS * spread)
    return far


@dataclass(frozen=True)
class _Smoothing:
    """The smoothing of one support, slab after slab: what lies between stays in the cache."""

    sigma: Float64Array  # [voxels]
    support: Mask
    n_threads: int
    run: Run

    def by_slabs(self, make: Callable[[slice], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return a volume, of which ``make`` gives the planes."""
        out = np.empty(self.support.shape, dtype=make(slice(0, 1)).dtype)

        def fill(start: int, stop: int) -> None:
            for k in range(start, stop):
                part = slice(k * _SLAB, (k + 1) * _SLAB)
                out[part] = make(part)

        self.run(fill)
        return out

    def sums(
        self, widths: list[int], make: Callable[[slice], npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """Return the sums over blocks of such a volume."""
        parts: list[Any] = [None] * -(-self.support.shape[0] // _SLAB)

        def add(start: int, stop: int) -> None:
            for k in range(start, stop):  # a slab is of whole blocks
                parts[k] = block_sums(make(slice(k * _SLAB, (k + 1) * _SLAB)), widths)

        self.run(add)
        return np.concatenate(parts)

    def average(self, signal: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
        """Return the phase factors of the Gaussian average."""
        widths = block_widths(self.sigma)
        sums = self.sums(widths, lambda part: signal[part])
        smooth = convolve_complex(sums, self.sigma / widths, self.n_threads)
        planes_of = plane_interpolator(smooth, widths, signal.shape)
        return self.by_slabs(lambda part: phase_factors(planes_of(part)))

    def _products(
        self,
        widths: list[int],
        signal: npt.NDArray[np.complex64],
        unit: npt.NDArray[np.complex64],
    ) -> npt.NDArray[np.complex64]:
        """Sum over blocks what phase factors miss of a signal."""
        return self.sums(widths, lambda part: signal[part] * unit[part].conj())

    def _turned(
        self,
        unit: npt.NDArray[np.complex64],
        angle: Callable[[slice], Float32Array],
    ) -> npt.NDArray[np.complex64]:
        """Turn phase factors by an angle [rad]."""
        return self.by_slabs(lambda part: unit[part] * _turn(angle(part)))

    def refined(
        self,
        signal: npt.NDArray[np.complex64],
        unit: npt.NDArray[np.complex64],
        rounds: list[int],
    ) -> npt.NDArray[np.complex64]:
        """Add to the phase factors ``unit`` what they miss of the signal.

        Every round fits so many times what is left on the blocks, and ends with the voxels, which
        show the next round what the blocks did not resolve.
        """
        widths = _block_widths(self.sigma)
        local = None
        for passes in rounds:
            sums = self._products(widths, signal, unit)
            if local is None:
                usable, weight = signal != 0, np.abs(sums)
                local = _LocalPlanes.of(usable, self.support, weight, self.sigma, self.n_threads)
            residual = np.angle(sums)
            total = np.zeros(residual.shape, dtype=np.float32)
            for _ in range(passes):
                at_nodes, at_centroids = local.fit(residual, self.n_threads)
                total[local.needed] += at_nodes
                residual[local.needed] -= at_centroids
            unit = self._turned(
                unit, plane_interpolator(total, widths, signal.shape, extrapolate=True)
            )
        return unit


def _turn(angle: Float32Array) -> npt.NDArray[np.complex64]:
    """Return phase factors of an angle [rad]."""
    out = np.empty(angle.shape, dtype=np.complex64)
    np.cos(angle, out=out.real)
    np.sin(angle, out=out.imag)
    return out


def _block_widths(sigma: Float64Array) -> list[int]:
    """Return the voxels per block: half of sigma, 1 to 4, as a plane follows a slope inside."""
    return [int(np.clip(width / 2, 1, 4)) for width in sigma]


@dataclass(frozen=True)
class _LocalPlanes:
    """Weighted regression on a plane around every node, a block's geometric centre.

    Positions are in sigma from the centre of the volume; arrays of N are over the needed nodes.
    """

    needed: Mask  # (X, Y, Z): blocks of the support and their neighbours
    points: Float32Array  # (X, Y, Z, 4): weight times 1, x, y, z of the centroid of the support
    width: Float64Array  # (3,) of the Gaussian [blocks]
    mass: Float64Array  # (N,)
    mean: Float64Array  # (3, N) position
    node_lever: Float64Array  # (3, N): value at the node per covariance of position and value
    centroid_lever: Float64Array  # (3, N): the same at the centroid, 0 in empty blocks

    @classmethod
    def of(
        cls,
        usable: Mask,
        support: Mask,
        weight: Float32Array,
        sigma: Float64Array,
        n_threads: int,
    ) -> "_LocalPlanes":
        """Compute the moments at the nodes.

        ``usable`` and ``support`` are of voxels: those that count, and those where the fit is
        needed; ``weight`` is of blocks.
        """
        widths, shape = _block_widths(sigma), usable.shape
        one = usable.astype(np.float32)
        filled = block_sums(one, widths)
        nodes, centroids = [], []
        for axis, (size, width) in enumerate(zip(widths, sigma, strict=True)):
            along = [1, 1, 1]
            along[axis] = -1
            middle = (shape[axis] - 1) / 2
            x = ((np.arange(shape[axis]) - middle) / width).astype(np.float32)
            node = (np.arange(filled.shape[axis]) * size + (size - 1) / 2 - middle) / width
            first = block_sums(one * x.reshape(along), widths)
            nodes.append(np.broadcast_to(node.reshape(along), filled.shape))
            centroids.append(first / np.maximum(filled, 1))

        linear = [weight] + [weight * c for c in centroids]
        square = [linear[1 + i] * centroids[j] for i, j in _UPPER]
        moments = convolve_blocks(np.stack(linear + square, -1), sigma / widths, n_threads)
        inside = block_sums(support.astype(np.float32), widths) > 0
        needed = (maximum_filter(inside.view(np.uint8), 3) > 0) & (moments[..., 0] > 0)
        mass, *rest = moments[needed].astype(np.float64).T
        mean, second = np.array(rest[:3]) / mass, np.array(rest[3:]) / mass
        covariance = np.empty((3, 3, mass.size))
        for (i, j), product in zip(_UPPER, second, strict=True):
            covariance[i, j] = covariance[j, i] = product - mean[i] * mean[j]
        extent = np.max(np.array(shape) / sigma)
        for i in range(3):
            covariance[i, i] = np.maximum(covariance[i, i], 0)
            covariance[i, i] += max(_RIDGE, _ROUNDING * extent**2)
        inverse = _inverse(covariance)
        at_node = np.array([n[needed] for n in nodes]) - mean
        at_centroid = np.array([c[needed] for c in centroids]) - mean
        return cls(
            needed,
            np.stack(linear, -1),
            sigma / widths,
            mass,
            mean,
            np.einsum("ijn,jn->in", inverse, at_node),
            np.einsum("ijn,jn->in", inverse, at_centroid) * (filled > 0)[needed],
        )

    def fit(self, values: Float32Array, n_threads: int) -> tuple[Float64Array, Float64Array]:
        """Return the fit (N,) to the values of the blocks at their nodes and centroids."""
        sums = convolve_blocks(self.points * values[..., None], self.width, n_threads)
        average, *first = sums[self.needed].T / self.mass
        covariance = np.array(first) - self.mean * average
        at_nodes = average + np.einsum("in,in->n", self.node_lever, covariance)
        at_centroids = average + np.einsum("in,in->n", self.centroid_lever, covariance)
        return at_nodes, at_centroids


#: Elements of a symmetric matrix.
_UPPER = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


def _inverse(matrix: Float64Array) -> Float64Array:
    """Invert symmetric (3, 3, N) matrices."""
    a, b, c = matrix
    adjugate = np.array([np.cross(*pair, axis=0) for pair in ((b, c), (c, a), (a, b))])
    inverse: Float64Array = adjugate / np.einsum("in,in->n", a, adjugate[0])
    return inverse
