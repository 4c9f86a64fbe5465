"""What the numbers of a phase image look like, over all echoes together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float64Array

__all__ = [
    "PhaseStatistics",
    "VolumeNumbers",
    "joint_statistics",
    "phase_statistics",
    "sample_statistics",
    "sampled_values",
    "volume_numbers",
]

SAMPLES_PER_VOLUME = 200_000
END_WIDTH = 0.02  # of the range, the part of the histogram called an end
FULL_CIRCLE_DENSITY = 0.1  # of a uniform distribution
_HOLE_BINS = 64


@dataclass(frozen=True)
class PhaseStatistics:
    """What the numbers of all echoes of a phase image look like.

    Attributes
    ----------
    minimum, maximum : float
        Over all finite voxels of all echoes.
    integer_valued : bool
        All values are whole numbers.
    step : int
        Greatest common divisor of the differences between the values; 0 if not whole numbers.
    end_density : float
        Density of the values at the sparser end of the range, 1 for a uniform distribution, exact
        zeros left out. Noise and wraps fill both ends of an encoded circle; a field map or an
        unwrapped phase thins out towards its extremes.
    n_finite : int
        Number of finite voxels.
    hole : float
        Widest part of the range without any value, as a share of it.
    """

    minimum: float
    maximum: float
    integer_valued: bool
    step: int
    end_density: float
    n_finite: int
    hole: float = 0.0

    @property
    def extent(self) -> float:
        """Maximum minus minimum."""
        return self.maximum - self.minimum

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.minimum), abs(self.maximum))

    @property
    def fills_circle(self) -> bool:
        """Whether both ends of the range are populated as wrapped phase populates them."""
        return self.end_density >= FULL_CIRCLE_DENSITY

    def __str__(self) -> str:
        kind = "whole numbers" if self.integer_valued else "values"
        step = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{kind} from {self.minimum:.6g} to {self.maximum:.6g}{step}"


class VolumeNumbers(NamedTuple):
    """What is kept of the numbers of one volume.

    Attributes
    ----------
    minimum, maximum : float
        Over all finite voxels.
    n_finite : int
    sample : ndarray
        About 200 000 of them.
    """

    minimum: float
    maximum: float
    n_finite: int
    sample: Float64Array


def phase_statistics(volumes: Sequence[npt.NDArray]) -> PhaseStatistics:
    """Summarise the numbers of all echoes together.

    Parameters
    ----------
    volumes : sequence of ndarray
        One phase image per echo, after the slope and intercept of the file header; any number
        type. NaN and infinite voxels are left out.

    Returns
    -------
    PhaseStatistics
        Minimum and maximum are exact; the rest is from about 200 000 voxels per echo.

    Raises
    ------
    ValueError
        There is no volume, one is complex, or none holds a finite value.
    """
    return joint_statistics([volume_numbers(volume) for volume in volumes])


def joint_statistics(volumes: Sequence[VolumeNumbers]) -> PhaseStatistics:
    """Summarise volumes whose numbers were looked at; see :func:`phase_statistics`."""
    filled = [v for v in volumes if v.n_finite]
    if not filled:
        raise ValueError("the phase images hold no finite value")
    ends = [min(v.minimum for v in filled), max(v.maximum for v in filled)]
    sample = np.concatenate([*(v.sample for v in filled), ends])
    return replace(sample_statistics(sample), n_finite=sum(v.n_finite for v in filled))


def volume_numbers(volume: npt.NDArray) -> VolumeNumbers:
    """Look at the numbers of one volume, which may lie in any order in memory.

    Raises
    ------
    ValueError
        It is complex.
    """
    values = np.asarray(volume)
    if values.dtype.kind not in "iufb":
        raise ValueError(f"phase must be real numbers, not {values.dtype}")
    if values.size == 0:
        return VolumeNumbers(math.nan, math.nan, 0, np.empty(0))
    low, high, count = float(values.min()), float(values.max()), values.size
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = values[np.isfinite(values)]
        count = finite.size
        if not count:
            return VolumeNumbers(math.nan, math.nan, 0, np.empty(0))
        low, high = float(finite.min()), float(finite.max())
    return VolumeNumbers(low, high, count, sampled_values(values))


def sampled_values(volume: npt.NDArray) -> Float64Array:
    """Return about 200 000 finite values of a volume."""
    values = np.asarray(volume)
    step = max(1, values.size // SAMPLES_PER_VOLUME) | 1
    if values.flags.c_contiguous:
        sample = values.reshape(-1)[::step]
    else:  # the same voxels
        sample = values[np.unravel_index(np.arange(0, values.size, step), values.shape)]
    return sample[np.isfinite(sample)].astype(np.float64)


def sample_statistics(sample: Float64Array) -> PhaseStatistics:
    """Summarise a sample of finite values that has the smallest and the largest."""
    minimum, maximum = float(sample.min()), float(sample.max())
    whole = np.abs(sample - np.rint(sample)) < 1e-3
    integer_valued = bool(whole.all()) and 1 <= maximum - minimum < 2**53
    step = int(np.gcd.reduce(np.rint(sample - minimum).astype(np.int64))) if integer_valued else 0
    return PhaseStatistics(
        minimum,
        maximum,
        integer_valued,
        step,
        _end_density(sample, minimum, maximum),
        sample.size,
        _hole(sample, minimum, maximum),
    )


def _end_density(sample: Float64Array, minimum: float, maximum: float) -> float:
    """Return the density of the sparser 2 % end of the range, relative to uniform."""
    inner = sample[sample != 0]  # a masked background
    width = END_WIDTH * (maximum - minimum)
    if inner.size == 0 or width == 0:
        return 0.0
    ends = np.mean(inner < minimum + width), np.mean(inner > maximum - width)
    return float(min(ends)) / END_WIDTH


def _hole(sample: Float64Array, minimum: float, maximum: float) -> float:
    """Return the widest part of the range without any value, as a share of it."""
    if maximum == minimum:
        return 0.0
    counts, _ = np.histogram(sample, bins=_HOLE_BINS, range=(minimum, maximum))
    filled = np.flatnonzero(counts)
    return float(np.diff(filled).max(initial=1) - 1) / _HOLE_BINS
