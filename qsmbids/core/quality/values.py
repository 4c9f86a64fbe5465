"""The histogram of the susceptibility map, and whether the phase fills its circle."""

from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import FloatArray, Mask
from qsmbids.units import TWO_PI

__all__ = ["Histogram", "histogram", "phase_coverage"]


_SAMPLES = 200_000


class Histogram(NamedTuple):
    """Numbers of a susceptibility map [ppm], none of which depends on its reference."""

    std: float
    """Robust standard deviation, from the quartiles."""
    p01: float
    """1st percentile less the median."""
    p99: float
    """99th percentile less the median."""
    skewness: float
    """Robust: (p95 + p5 - 2 median) / (p95 - p5); iron and veins make it positive."""
    kurtosis: float
    """Excess, of values within 0.5 ppm of the median."""
    extreme: float
    """Fraction farther than 0.5 ppm from the median."""


def histogram(chi: FloatArray, mask: Mask, *, extreme_ppm: float = 0.5) -> Histogram:
    """Return the numbers of the histogram of a susceptibility map.

    Parameters
    ----------
    chi : (X, Y, Z) ndarray
        Susceptibility [ppm], any reference.
    mask : (X, Y, Z) ndarray of bool
        Where it is known.
    extreme_ppm : float
        Farther from the median there is no brain tissue but haemorrhage and calcification.

    Returns
    -------
    Histogram

    Raises
    ------
    ValueError
        The mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty")
    values = chi[mask].astype(np.float64)
    p01, p05, p25, middle, p75, p95, p99 = np.percentile(values, [1, 5, 25, 50, 75, 95, 99])
    values -= middle
    inner = values[np.abs(values) <= extreme_ppm]
    variance = float(np.var(inner)) if inner.size else 0.0
    fourth = float(np.mean((inner - inner.mean()) ** 4)) if variance > 0 else float("nan")
    width = float(p95 - p05)
    return Histogram(
        std=float(p75 - p25) / 1.349,
        p01=float(p01 - middle),
        p99=float(p99 - middle),
        skewness=float(p95 + p05 - 2 * middle) / width if width > 0 else float("nan"),
        kurtosis=fourth / variance**2 - 3.0 if variance > 0 else float("nan"),
        extreme=1.0 - inner.size / values.size,
    )


def phase_coverage(phase: FloatArray) -> float:
    """Return the part of the circle that the phase of an echo covers.

    Parameters
    ----------
    phase : (X, Y, Z) ndarray
        Wrapped phase [rad] of the last echo, with its background.

    Returns
    -------
    float
        Fraction of 64 sectors that hold at least a tenth of their share. Noise and wraps fill all
        of them; a wrong factor between stored numbers and radians leaves a gap. NaN without
        values.
    """
    values = phase.reshape(-1)[:: max(1, phase.size // _SAMPLES) | 1]
    values = values[np.isfinite(values) & (values != 0)]
    if values.size < 6400:
        return float("nan")
    sectors = np.floor(values * (64 / TWO_PI)).astype(np.int64) % 64
    share = np.bincount(sectors, minlength=64) * (64 / values.size)
    return float(np.mean(share > 0.1))
