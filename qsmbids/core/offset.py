r"""Phase offset at TE = 0 and its removal (MCPC-3D-S).

References
----------
.. [1] Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of
   multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med
   2018;79:2996-3006. doi:10.1002/mrm.26963
.. [2] Tukey JW. Exploratory Data Analysis. Addison-Wesley 1977, chapter 16 (twicing).
"""

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.parallel import numba_threads
from qsmbids.core.romeo import unwrap
from qsmbids.core.romeo_weights import TWO_PI, as_volume, padded_box

__all__ = ["mcpc3ds"]


def mcpc3ds(
    phase: npt.NDArray[np.floating],
    magnitude: npt.NDArray[np.floating],
    echo_times: npt.ArrayLike,
    voxel_size: npt.ArrayLike,
    mask: npt.NDArray[np.bool_],
    *,
    sigma_mm: float = 7.0,
    refinements: int = 8,
    n_threads: int = 1,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
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
    sigma_mm : float
        Standard deviation [mm] of the Gaussian that smooths the offset; 7 is the default of the
        program that the consensus pipeline runs.
    refinements : int
        How often what the smoothing missed is smoothed and added (twicing [2]_); 0 is the
        program of the paper. One Gaussian is biased where the offset curves, most of all at the
        surface, where it averages over one side only: on a head phantom the total field is then
        wrong by 0.86 Hz (root mean square), after eight refinements by 0.16 Hz, mostly noise.
        Together they still smooth as a Gaussian of half of ``sigma_mm`` does.
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
        voxel size or sigma that is not positive.

    Notes
    -----
    A whole cycle too much in :math:`\psi` adds n / (TE2 - TE1) to the field. With uniform echo
    spacing all echoes still agree with each other, otherwise they do not. So every region of
    :math:`\psi` is brought within half a cycle of zero, which takes the median field of the head
    to be below 1 / (2 (TE2 - TE1)).
    """
    phase = as_volume(phase, "phase", ndim=4)
    magnitude = as_volume(magnitude, "magnitude", phase.shape, ndim=4)
    mask = as_volume(mask, "mask", phase.shape[1:], np.bool_)
    times = np.asarray(echo_times, dtype=float)
    voxel = np.asarray(voxel_size, dtype=float)
    n_echoes = phase.shape[0]
    if n_echoes < 2:
        raise ValueError("the phase offset needs at least two echoes")
    if times.shape != (n_echoes,) or not (times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError(f"{n_echoes} positive, increasing echo times are needed, not {times}")
    if voxel.shape != (3,) or not np.all(voxel > 0) or not sigma_mm > 0:
        raise ValueError(f"voxel size {voxel} and sigma {sigma_mm} must be positive")

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
    unit = phase_factors(smooth_complex(signal, sigma_mm / voxel, n_threads))
    for _ in range(refinements):
        missed = (signal * unit.conj()).astype(np.complex64, copy=False)
        unit *= phase_factors(smooth_complex(missed, sigma_mm / voxel, n_threads))

    offset = np.zeros(mask.shape, dtype=np.float32)
    offset[box] = np.where(mask[box], np.angle(unit), 0)
    corrected = np.zeros(phase.shape, dtype=np.float32)
    volume = (n_echoes, mask.size)
    _subtract(phase.reshape(volume), offset.ravel(), mask.ravel(), corrected.reshape(volume))
    return corrected, offset


def phase_factors(volume: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """Return the phase factors of a volume, 1 where it is zero."""
    size = np.abs(volume)
    size[size == 0] = 1
    unit = np.asarray(volume / size, dtype=np.complex64)
    unit[volume == 0] = 1
    return unit


def smooth_complex(
    volume: npt.NDArray[np.complex64], sigma: npt.NDArray[np.float64], n_threads: int = 1
) -> npt.NDArray[np.complex64]:
    """Convolve with a Gaussian of ``sigma`` voxels cut at 4 sigma, zero beyond the border.

    A wide Gaussian is computed on sums over blocks of a third of its sigma and interpolated:
    the same within a hundredth, which further passes correct.
    """
    shape = volume.shape
    block = [int(np.clip(width / 3, 1, 4)) for width in sigma]
    for axis, size in enumerate(block):
        volume = _block_sums(volume, axis, size)
    for width, size in zip(sigma / block, volume.shape, strict=True):
        # three times: along the first axis, which then becomes the last
        taps = np.exp(-0.5 * (np.arange(min(int(4 * width) + 1, size)) / width) ** 2)
        rows = np.ascontiguousarray(volume).view(np.float32).reshape(volume.shape[0], -1)
        with numba_threads(n_threads):
            smooth = _convolve_rows(rows, taps.astype(np.float32))
        volume = np.moveaxis(smooth.view(np.complex64).reshape(volume.shape), 0, -1)
    for axis, size in enumerate(block):
        volume = _interpolated(volume, axis, size, shape[axis])
    return volume


def _block_sums(
    volume: npt.NDArray[np.complex64], axis: int, size: int
) -> npt.NDArray[np.complex64]:
    """Sum runs of ``size`` voxels along an axis; the last may be shorter."""
    starts = np.arange(0, volume.shape[axis], size)
    return volume if size == 1 else np.add.reduceat(volume, starts, axis=axis)


def _interpolated(
    volume: npt.NDArray[np.complex64], axis: int, size: int, length: int
) -> npt.NDArray[np.complex64]:
    """Interpolate block centres linearly to ``length`` voxels along an axis."""
    if size == 1:
        return volume
    where = np.clip((np.arange(length) - (size - 1) / 2) / size, 0, volume.shape[axis] - 1)
    low = np.minimum(where.astype(np.intp), max(0, volume.shape[axis] - 2))
    high = np.minimum(low + 1, volume.shape[axis] - 1)
    along = [1, 1, 1]
    along[axis] = length
    fraction = (where - low).astype(np.float32).reshape(along)
    below = np.take(volume, low, axis=axis)
    out: npt.NDArray[np.complex64] = below + fraction * (np.take(volume, high, axis=axis) - below)
    return out


@numba.njit(cache=True, parallel=True)
def _convolve_rows(rows, taps):  # type: ignore[no-untyped-def]
    """Convolve along the first axis with a symmetric kernel, given from its centre outwards."""
    n, length = rows.shape
    out = np.empty_like(rows)
    block = 256  # a block of all rows stays in the cache
    for k in numba.prange((length + block - 1) // block):
        start, stop = k * block, min(length, (k + 1) * block)
        for i in range(n):
            for b in range(start, stop):
                out[i, b] = 0
            for j in range(max(0, i - taps.size + 1), min(n, i + taps.size)):
                weight = taps[abs(i - j)]
                for b in range(start, stop):
                    out[i, b] += weight * rows[j, b]
    return out


@numba.njit(cache=True)
def _subtract(phase, offset, mask, corrected):  # type: ignore[no-untyped-def]
    """Subtract the offset from every echo and wrap, into ``corrected``."""
    for e in range(phase.shape[0]):
        for v in range(phase.shape[1]):
            if mask[v]:
                p = np.float64(phase[e, v]) - np.float64(offset[v])
                if np.isfinite(p):
                    corrected[e, v] = p - TWO_PI * np.rint(p / TWO_PI)
