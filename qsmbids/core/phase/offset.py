r"""Phase offset at TE = 0 and its removal (MCPC-3D-S).

References
----------
.. [1] Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of
   multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med
   2018;79:2996-3006. doi:10.1002/mrm.26963
.. [2] Cleveland WS. Robust locally weighted regression and smoothing scatterplots. J Am Stat
   Assoc 1979;74:829-836. doi:10.1080/01621459.1979.10481038
"""

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.field.romeo import unwrap
from qsmbids.core.field.romeo_weights import as_volume, padded_box
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.local_linear import smooth_phase
from qsmbids.units import TWO_PI

__all__ = ["mcpc3ds", "phase_offset", "subtract_offset"]


def mcpc3ds(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    voxel_size: npt.ArrayLike,
    mask: Mask,
    *,
    smoothing_mm: float = 7.0,
    refinements: int = 8,
    n_threads: int = 1,
) -> tuple[Float32Array, Float32Array]:
    r"""Remove the phase offset, so that the phase is proportional to the echo time.

    The offset is what a straight line through the first two echoes leaves at TE = 0,

    .. math:: \phi_0 = \phi_1 - \frac{TE_1}{TE_2 - TE_1}\,\psi,

    with :math:`\psi` the unwrapped phase difference of the two, smoothed as a complex number.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Wrapped phase [rad] of at least two echoes of the same readout polarity.
    magnitude : (E, X, Y, Z) ndarray
        Magnitude.
    echo_times : (E,) array_like
        [s], increasing; the spacing need not be uniform.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    mask : (X, Y, Z) ndarray of bool
        Where to estimate and remove the offset.
    smoothing_mm : float
        Standard deviation [mm] of the Gaussian that smooths the offset; 7 is the default of the
        program that the consensus pipeline runs.
    refinements : int
        How often what the smoothing missed is fitted by local planes and added, see
        :mod:`qsmbids.core.maths.local_linear` and ref. [2]_; 0 is the program of the paper. One
        Gaussian is biased where the offset curves, and at the surface, where it averages over one
        side only: taken for field that is 0.9 Hz in a head phantom of 1 mm, and 0.01 Hz after
        eight refinements.
    n_threads : int
        Threads of the edge weights and of the smoothing.

    Returns
    -------
    corrected : (E, X, Y, Z) ndarray of float32
        Phase less offset [rad], wrapped to -pi to pi; 0 outside the mask and where the phase of
        the echo is not finite.
    offset : (X, Y, Z) ndarray of float32
        Smoothed offset [rad], -pi to pi; 0 outside the mask.

    Raises
    ------
    ValueError
        Unequal shapes, fewer than two echoes, echo times that do not increase, an empty mask, a
        voxel size or smoothing that is not positive.

    Notes
    -----
    A whole cycle too much in :math:`\psi` adds n / (TE2 - TE1) to the field. With uniform echo
    spacing all echoes still agree with each other, otherwise they do not. So every region of
    :math:`\psi` is brought within half a cycle of zero, which takes the median field of the head
    to be below 1 / (2 (TE2 - TE1)).
    """
    phase = as_volume(phase, "phase", ndim=4)
    magnitude = as_volume(magnitude, "magnitude", phase.shape, ndim=4)
    times = np.asarray(echo_times, dtype=float)
    n_echoes = phase.shape[0]
    if n_echoes < 2:
        raise ValueError("the phase offset needs at least two echoes")
    if times.shape != (n_echoes,) or not (times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError(f"{n_echoes} positive, increasing echo times are needed, not {times}")
    offset = phase_offset(
        phase[:2],
        magnitude[:2],
        times[:2],
        voxel_size,
        mask,
        smoothing_mm=smoothing_mm,
        refinements=refinements,
        n_threads=n_threads,
    )
    return subtract_offset(phase, offset, mask), offset


def phase_offset(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    voxel_size: npt.ArrayLike,
    mask: Mask,
    *,
    smoothing_mm: float = 7.0,
    refinements: int = 8,
    n_threads: int = 1,
) -> Float32Array:
    """Return the phase offset of :func:`mcpc3ds` [rad], which the first two echoes tell.

    Parameters
    ----------
    phase, magnitude : (2, X, Y, Z) ndarray
        Of the first two echoes.
    echo_times : (2,) array_like
        Theirs [s].
    voxel_size, mask, smoothing_mm, refinements, n_threads
        As in :func:`mcpc3ds`.

    Returns
    -------
    (X, Y, Z) ndarray of float32
        Smoothed offset [rad], -pi to pi; 0 outside the mask.

    Raises
    ------
    ValueError
        As :func:`mcpc3ds`.
    """
    phase = as_volume(phase, "phase", ndim=4)
    magnitude = as_volume(magnitude, "magnitude", phase.shape, ndim=4)
    mask = as_volume(mask, "mask", phase.shape[1:], np.bool_)
    times = np.asarray(echo_times, dtype=float)
    voxel = np.asarray(voxel_size, dtype=float)
    if times.shape != (2,) or phase.shape[0] != 2 or not 0 < times[0] < times[1]:
        raise ValueError(f"two echoes with increasing echo times are needed, not {times}")
    if voxel.shape != (3,) or not np.all(voxel > 0) or not smoothing_mm > 0:
        raise ValueError(f"voxel size {voxel} and smoothing {smoothing_mm} must be positive")

    box = padded_box(mask)
    first, second = phase[0][box], phase[1][box]
    with np.errstate(invalid="ignore"):  # non-finite voxels are left out below
        magnitude_pair = np.sqrt(magnitude[0][box] * magnitude[1][box])
        difference = second - first
        difference -= np.float32(TWO_PI) * np.rint(difference / np.float32(TWO_PI))
    usable = mask[box] & np.isfinite(difference) & np.isfinite(magnitude_pair)
    psi = unwrap(
        difference,
        magnitude=magnitude_pair,
        mask=usable,
        weights="romeo4",
        n_threads=n_threads,
    )
    raw = np.where(usable, first - np.float32(times[0] / (times[1] - times[0])) * psi, 0)
    signal = np.zeros(raw.shape, dtype=np.complex64)
    np.cos(raw, out=signal.real, where=usable)
    np.sin(raw, out=signal.imag, where=usable)
    smooth = smooth_phase(
        signal, smoothing_mm / voxel, refinements=refinements, n_threads=n_threads
    )

    offset = np.zeros(mask.shape, dtype=np.float32)
    offset[box] = np.where(mask[box], smooth, 0)
    return offset


def subtract_offset(phase: FloatArray, offset: Float32Array, mask: Mask) -> Float32Array:
    """Return the phase less its offset.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Phase [rad] of any number of echoes.
    offset : (X, Y, Z) ndarray
        What to subtract [rad].
    mask : (X, Y, Z) ndarray of bool
        Where.

    Returns
    -------
    (E, X, Y, Z) ndarray of float32
        Phase [rad], wrapped to -pi to pi; 0 outside the mask and where it is not finite.

    Raises
    ------
    ValueError
        Unequal shapes.
    """
    phase = as_volume(phase, "phase", ndim=4)
    mask = as_volume(mask, "mask", phase.shape[1:], np.bool_)
    offset = as_volume(offset, "offset", mask.shape)
    corrected = np.zeros(phase.shape, dtype=np.float32)
    volume = (phase.shape[0], mask.size)
    _subtract(phase.reshape(volume), offset.ravel(), mask.ravel(), corrected.reshape(volume))
    return corrected


@numba.njit(cache=True, nogil=True)
def _subtract(phase, offset, mask, corrected):  # type: ignore[no-untyped-def]
    """Subtract the offset from every echo and wrap, into ``corrected``."""
    for e in range(phase.shape[0]):
        for v in range(phase.shape[1]):
            if mask[v]:
                p = np.float64(phase[e, v]) - np.float64(offset[v])
                if np.isfinite(p):
                    corrected[e, v] = p - TWO_PI * np.rint(p / TWO_PI)
