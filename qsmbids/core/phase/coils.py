r"""Combine the images of single receive coils by MCPC-3D-S.

Every coil c sees the field with a phase offset of its own, :math:`\phi_{0,c}`, which is smooth.
The phase difference of two echoes holds no offset and is that of all coils,

.. math:: H = \sum_c S_{2,c} \overline{S_{1,c}}, \qquad
          \phi_{0,c} = \phi_{1,c} - \frac{TE_1}{TE_2 - TE_1} \arg H ,

so that the coils are read twice: once for H, and once to be turned by their smoothed offset and
added. One coil at a time is in memory.

References
----------
.. [1] Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of
   multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med
   2018;79:2996-3006. doi:10.1002/mrm.26963
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.field.romeo import unwrap
from qsmbids.core.field.romeo_weights import padded_box
from qsmbids.core.maths.arrays import Float32Array
from qsmbids.core.maths.local_linear import smooth_phase

__all__ = ["CoilReader", "CombinedCoils", "combine_coils"]

#: Returns the complex signal (E, X, Y, Z) of the coil of a number, from 0.
CoilReader = Callable[[int], npt.NDArray[np.complex64]]

#: Magnitude of the head, relative to the strongest percent.
_HEAD = 0.1


class CombinedCoils(NamedTuple):
    """Images of all echoes, (E, X, Y, Z)."""

    magnitude: Float32Array
    """Root of the sum of squares of the coils, less what they disagree on."""
    phase: Float32Array
    """[rad], -pi to pi, without the offset at TE = 0."""


def combine_coils(
    read: CoilReader,
    n_coils: int,
    echo_times: npt.ArrayLike,
    voxel_size: npt.ArrayLike,
    *,
    smoothing_mm: float = 7.0,
    refinements: int = 2,
    n_threads: int = 1,
) -> CombinedCoils:
    r"""Combine coils whose phases differ by a smooth offset.

    Parameters
    ----------
    read : callable
        Returns the complex signal (E, X, Y, Z) of a coil; asked twice for each.
    n_coils : int
    echo_times : (E,) array_like
        [s], increasing; the first two give the offsets.
    voxel_size : (3,) array_like
        [mm].
    smoothing_mm : float
        Standard deviation [mm] of the Gaussian that smooths the offsets.
    refinements : int
        Of the smoothing, see :func:`qsmbids.core.maths.local_linear.smooth_phase`.
    n_threads : int

    Returns
    -------
    CombinedCoils

    Raises
    ------
    ValueError
        No coil, fewer than two echoes, or times that do not increase.

    Notes
    -----
    The coils are weighted by their magnitude, which is their sensitivity up to what is common to
    all of them: :math:`\sum_c |S_{e,c}| S_{e,c} e^{-i \phi_{0,c}}`. Memory: the echoes of two
    coils and of the result.
    """
    times = np.asarray(echo_times, dtype=float)
    if n_coils < 1 or times.size < 2 or not (times[0] > 0 and np.all(np.diff(times) > 0)):
        raise ValueError(f"{n_coils} coils at {times} s: two increasing echo times are needed")
    together: npt.NDArray[np.complex64] = np.zeros(0, np.complex64)
    for coil in range(n_coils):
        signal = _finite(read(coil))
        product = signal[1] * signal[0].conj()
        together = product if coil == 0 else together + product
    strength = np.sqrt(np.abs(together))
    head = strength > _HEAD * np.quantile(strength, 0.99)
    box = padded_box(head)
    psi = unwrap(
        np.angle(together[box]).astype(np.float32),
        magnitude=strength[box].astype(np.float32),
        mask=head[box],
        weights="romeo4",
        n_threads=n_threads,
    )
    del together
    sigma = smoothing_mm / np.asarray(voxel_size, dtype=float)
    turn = np.where(head[box], np.exp(-1j * times[0] / (times[1] - times[0]) * psi), 0)
    total: npt.NDArray[np.complex64] = np.zeros(0, np.complex64)
    for coil in range(n_coils):
        signal = _finite(read(coil))
        offset = np.zeros(head.shape, np.float32)
        offset[box] = _offset(signal[0][box] * turn, sigma, refinements, n_threads)
        signal *= np.abs(signal) * np.exp(-1j * offset)
        total = signal if coil == 0 else total + signal
    magnitude = np.sqrt(np.abs(total)).astype(np.float32)
    return CombinedCoils(magnitude, np.angle(total).astype(np.float32))


def _offset(
    raw: npt.NDArray[np.complexfloating],
    sigma: npt.NDArray[np.float64],
    refinements: int,
    n_threads: int,
) -> Float32Array:
    """Return the smoothed offset [rad] of a coil; beyond the head, that of what is near."""
    length = np.abs(raw)
    unit = np.divide(raw, length, out=np.zeros_like(raw), where=length > 0).astype(np.complex64)
    inside = unit != 0
    rough = smooth_phase(unit, sigma, refinements=0, n_threads=n_threads)
    fine = smooth_phase(unit, sigma, refinements=refinements, n_threads=n_threads)
    return np.where(inside, fine, rough)


def _finite(signal: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """Set to zero what is not finite, in every echo."""
    signal = np.array(signal, dtype=np.complex64)
    signal[~np.isfinite(signal)] = 0
    return signal
