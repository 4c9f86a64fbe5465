r"""A constant phase of every echo: coil combination, drift or a reset of the receiver leave it.

Two echoes define phase offset and field; of every further echo :math:`e` a line through the two
leaves

.. math:: \phi_e - \phi_1 - \frac{TE_e - TE_1}{TE_2 - TE_1} (\phi_2 - \phi_1) = c_e ,

the same everywhere, while field and offset cancel. Constants of the first two echoes cannot be
told from a constant offset and a constant field, which hold no susceptibility.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.field.nonlinear_fit import echo_grid
from qsmbids.core.field.romeo import unwrap
from qsmbids.core.field.romeo_weights import padded_box
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.phase.masked_echoes import checked_echoes, echoes_inside
from qsmbids.core.phase.phase_checks import thinned
from qsmbids.core.phase.phase_plane import fit_phase_plane
from qsmbids.units import TWO_PI

__all__ = ["EchoConstants", "find_echo_constants", "remove_echo_constants"]


#: Constants [rad] that are left alone: the phase of tissue with several water pools bends by
#: about as much.
_SMALL = 0.1
#: Coherence with a plane below which an echo tells nothing.
_LEAST_COHERENCE = 0.5
_ENOUGH_VOXELS = 200_000


class EchoConstants(NamedTuple):
    """What every echo has beside the line through the first two."""

    constants: Float64Array
    """[rad], -pi to pi, one per echo; 0 for the first two."""
    coherence: float
    """0 to 1: how well the worst echo agrees with a constant and a slope in space."""

    @property
    def stand_out(self) -> bool:
        """Whether they are too large to be left alone, and certain."""
        large = float(np.abs(self.constants).max()) > _SMALL
        return large and self.coherence >= _LEAST_COHERENCE


def find_echo_constants(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    mask: Mask,
    *,
    n_threads: int = 1,
) -> EchoConstants:
    """Find the constant phase of each echo.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        Measured phase [rad] of at least three echoes, wrapped or not.
    magnitude : (E, X, Y, Z) ndarray
        Magnitude.
    echo_times : (E,) array_like
        [s], increasing.
    mask : (X, Y, Z) ndarray of bool
        Tissue with signal.
    n_threads : int
        Threads of the unwrapping that only unequally spaced echoes need.

    Returns
    -------
    EchoConstants
        At the centre of the mask: a slope in space, as a bipolar readout has it, does not count.

    Raises
    ------
    ValueError
        Fewer than three echoes, shapes or echo times that do not fit, or an empty mask.
    """
    phase, magnitude, mask, times = checked_echoes(phase, magnitude, echo_times, mask)
    box = padded_box(mask)
    phase, magnitude, mask = phase[:, *box], magnitude[:, *box], mask[box]
    thin = thinned(mask.shape, _ENOUGH_VOXELS)
    even = not echo_grid(times)[2].size
    if even:  # wraps drop out, so that no neighbours are needed
        phase, magnitude, mask = phase[:, *thin], magnitude[:, *thin], mask[thin]
    inside, phi, size = echoes_inside(phase, magnitude, mask, (slice(None),) * 3)
    psi, ratio = phi[1] - phi[0], np.arange(times.size, dtype=float)
    if not even:
        psi = unwrap(
            psi,
            magnitude=np.sqrt(size[0] * size[1]),
            mask=inside,
            weights="romeo4",
            n_threads=n_threads,
        )
        ratio = (times - times[0]) / (times[1] - times[0])
        phi, size, psi = [p[thin] for p in phi], [m[thin] for m in size], psi[thin]
    constants, coherences = np.zeros(times.size), [1.0]
    for e in range(2, times.size):
        weight = size[e] * np.sqrt(size[0] * size[1])
        if not weight.any():
            return EchoConstants(np.zeros(times.size), 0.0)
        left = phi[e] - phi[0] - np.float32(ratio[e]) * psi
        signal = (weight * np.exp(1j * left)).astype(np.complex64)
        plane = fit_phase_plane(signal)
        agreeing = np.vdot(np.exp(1j * plane.at(signal.shape)), signal)
        constants[e] = plane.constant
        coherences.append(float(np.abs(agreeing)) / float(weight.sum(dtype=np.float64)))
    return EchoConstants(constants, min(coherences))


def remove_echo_constants(phase: FloatArray, estimate: EchoConstants) -> Float32Array:
    """Subtract the constant of each echo and wrap.

    Parameters
    ----------
    phase : (E, X, Y, Z) ndarray
        [rad].
    estimate : EchoConstants

    Returns
    -------
    (E, X, Y, Z) ndarray of float32
        [rad], -pi to pi; an echo without a constant is as it was.
    """
    out = phase.astype(np.float32, copy=True)
    for echo, constant in zip(out, estimate.constants, strict=True):
        if constant:
            echo -= np.float32(constant)
            echo -= np.float32(TWO_PI) * np.rint(echo / np.float32(TWO_PI))
    return out
