"""Bring the echoes onto one line through the echo times: readout directions and constants."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float64Array, FloatArray, Mask
from qsmbids.core.phase.bipolar import (
    BipolarCorrection,
    BipolarEvidence,
    correct_bipolar,
    detect_bipolar,
)
from qsmbids.core.phase.echo_constants import find_echo_constants, remove_echo_constants
from qsmbids.core.phase.readout_polarity import Polarity, alternating, polarity_candidates

__all__ = ["ReadoutCorrection", "correct_readout"]


#: Coherence from which an alternating phase is believed before constants were looked for.
_CERTAIN = 0.9


@dataclass(frozen=True)
class ReadoutCorrection:
    """Result of :func:`correct_readout`.

    Attributes
    ----------
    phase : (E, X, Y, Z) ndarray of float32
        [rad], wrapped; as it was measured where nothing was found.
    evidence : BipolarEvidence
        Of the polarity that explains the echoes best.
    polarity : tuple of int
        1 or -1 per echo.
    bipolar : BipolarCorrection or None
    constants : (E,) ndarray or None
        Constant phase of each echo [rad] that was taken out.
    """

    phase: FloatArray
    evidence: BipolarEvidence
    polarity: Polarity
    bipolar: BipolarCorrection | None
    constants: Float64Array | None

    @property
    def changed(self) -> bool:
        """Whether the phase is another one than was measured."""
        return self.bipolar is not None or self.constants is not None


def correct_readout(
    phase: FloatArray,
    magnitude: FloatArray,
    echo_times: npt.ArrayLike,
    voxel_size: npt.ArrayLike,
    mask: Mask,
    *,
    echo_numbers: Sequence[int],
    method: str = "auto",
    n_threads: int = 1,
) -> ReadoutCorrection:
    """Remove what keeps the phase of three or more echoes from a line, if there is anything.

    Parameters
    ----------
    phase, magnitude : (E, X, Y, Z) ndarray
        Measured phase [rad] and magnitude.
    echo_times : (E,) array_like
        [s], increasing.
    voxel_size : (3,) array_like
        [mm].
    mask : (X, Y, Z) ndarray of bool
        Tissue with signal.
    echo_numbers : sequence of int
        As acquired, for the readout directions where echoes were left out.
    method : str
        Of :func:`qsmbids.core.phase.bipolar.correct_bipolar`.
    n_threads : int

    Returns
    -------
    ReadoutCorrection

    Raises
    ------
    ValueError
        See :func:`qsmbids.core.phase.bipolar.detect_bipolar`.

    Notes
    -----
    An alternating phase that explains all echoes is corrected first. Otherwise constants of the
    echoes may hide it, so these are removed and it is looked for again. What constants the
    correction leaves are removed as well.
    """
    times = np.asarray(echo_times, dtype=float)
    candidates = polarity_candidates(echo_numbers, times.tolist())
    candidates = candidates or [alternating(times.size)]

    def detect(echoes: FloatArray) -> list[tuple[BipolarEvidence, Polarity]]:
        return [
            (detect_bipolar(echoes, magnitude, times, mask, polarity=p, n_threads=n_threads), p)
            for p in candidates
        ]

    constants = np.zeros(times.size)

    def level(echoes: FloatArray) -> FloatArray:
        estimate = find_echo_constants(echoes, magnitude, times, mask, n_threads=n_threads)
        if not estimate.stand_out:
            return echoes
        constants[:] += estimate.constants
        return remove_echo_constants(echoes, estimate)

    evidences = detect(phase)
    if not any(e.is_bipolar and e.coherence >= _CERTAIN for e, _ in evidences):
        levelled = level(phase)
        if levelled is not phase:
            phase, evidences = levelled, detect(levelled)
    attempts = [
        (
            correct_bipolar(
                phase,
                magnitude,
                times,
                voxel_size,
                mask,
                polarity=polarity,
                method=method,
                n_threads=n_threads,
            ),
            evidence,
            polarity,
        )
        for evidence, polarity in evidences
        if evidence.is_bipolar
    ]
    bipolar, (evidence, polarity) = None, max(evidences, key=lambda f: f[0].coherence)
    # constants of the echoes may look like an alternation that they are not
    attempts = [t for t in attempts if t[0].residual_after < t[0].residual_before]
    if attempts:  # three echoes fit a line in any: then the first, which is the likeliest
        limit = 1.01 * min(correction.residual_after for correction, _, _ in attempts) + 1e-6
        bipolar, evidence, polarity = next(t for t in attempts if t[0].residual_after <= limit)
        phase = level(bipolar.phase)
    offsets = np.angle(np.exp(1j * constants)) if constants.any() else None
    return ReadoutCorrection(phase, evidence, polarity, bipolar, offsets)
