"""The phase that is linear in space and agrees best with a complex volume."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array
from qsmbids.units import TWO_PI

__all__ = ["PhasePlane", "fit_phase_plane", "mean_advance"]

#: Voxels that are enough to fit a plane.
_ENOUGH_VOXELS = 200_000


@dataclass(frozen=True)
class PhasePlane:
    """A phase that is linear in the voxel indices.

    Attributes
    ----------
    constant : float
        Phase [rad] at ``centre``, -pi to pi.
    slopes : (3,) ndarray
        [rad per voxel] along the array axes.
    centre : (3,) ndarray
        Voxel indices.
    """

    constant: float
    slopes: Float64Array
    centre: Float64Array

    def at(self, shape: tuple[int, ...]) -> Float32Array:
        """Return the phase [rad] in every voxel of a volume, not wrapped."""
        x, y, z = (
            s * (np.arange(n) - c) for s, n, c in zip(self.slopes, shape, self.centre, strict=True)
        )
        values = self.constant + x[:, None, None] + y[:, None] + z
        return values.astype(np.float32)


def mean_advance(signal: npt.NDArray[np.complex64]) -> Float64Array:
    """Return the mean phase [rad, (3,)] from a voxel to the next along each axis."""
    slopes = np.empty(3)
    for axis in range(3):
        along = np.moveaxis(signal, axis, 0)
        slopes[axis] = np.angle(np.vdot(along[:-1], along[1:]))
    return slopes


def fit_phase_plane(signal: npt.NDArray[np.complex64]) -> PhasePlane:
    """Fit the linear phase that a complex volume agrees with best.

    Parameters
    ----------
    signal : (X, Y, Z) ndarray of complex64
        The amplitude is a weight; 0 is left out. At least one voxel is not 0.

    Returns
    -------
    PhasePlane

    Notes
    -----
    Gauss-Newton as in :mod:`qsmbids.core.field.nonlinear_fit`, from the mean advance to the next
    voxel.

    Examples
    --------
    >>> x = np.arange(8)[:, None, None] * np.ones((8, 8, 8))
    >>> plane = fit_phase_plane(np.exp(0.4j * x).astype(np.complex64))
    >>> round(float(plane.slopes[0]), 3)
    0.4
    """
    slopes = mean_advance(signal)
    index = np.flatnonzero(signal)
    index = index[:: max(1, index.size // _ENOUGH_VOXELS) | 1]
    values = signal.ravel()[index].astype(np.complex128)
    weight = np.abs(values)
    where = np.stack(np.unravel_index(index, signal.shape)).astype(np.float64)
    centre = (where @ weight) / weight.sum()
    where -= centre[:, None]

    design = np.vstack([np.ones(index.size), where])
    normal = (design * weight) @ design.T
    constant = float(np.angle(np.sum(values * np.exp(-1j * (slopes @ where)))))
    coefficients = np.array([constant, *slopes])
    for _ in range(50):
        left = np.imag(values * np.exp(-1j * (coefficients @ design)))
        # a mask of one plane or line leaves a slope undetermined
        step = np.linalg.lstsq(normal, design @ left, rcond=1e-10)[0]
        coefficients += step
        if np.max(np.abs(step) * (1, *signal.shape)) < 1e-7:
            break
    constant = float(coefficients[0] - TWO_PI * np.rint(coefficients[0] / TWO_PI))
    return PhasePlane(constant, coefficients[1:], centre)
