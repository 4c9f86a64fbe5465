"""Numbers of a phase image that are no phase: fill values, strays, dots of zero.

A fill value in the background, or a single voxel out of range, must not set the scale of all
others; and a voxel without phase must not count as one of phase 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # whose ndimage is imported where it is used: 0.2 s that a dry run does without

from qsmbids.core.maths.arrays import Float64Array, Mask
from qsmbids.core.phase.phase_scale import PhaseScale, detect_phase_scale
from qsmbids.core.phase.phase_statistics import (
    PhaseStatistics,
    VolumeNumbers,
    joint_statistics,
    sample_statistics,
    sampled_values,
    volume_numbers,
)

__all__ = [
    "NoPhase",
    "PhaseNumbers",
    "numbers_seen",
    "read_phase_numbers",
    "without_phase",
    "zero_dots",
]


#: Share of all voxels from which the smallest or largest number may be a fill value; a level of
#: a 10 bit circle has 0.001.
_FILL_SHARE = 2e-3
#: Gap to the next number, relative to the range of the others, that no circle has.
_FILL_GAP = 0.1
#: Share of the voxels that may lie out of range and count as strays.
_STRAY_SHARE = 2e-4
#: Circles that scanners and converters write, smallest first.
_CIRCLES = (
    (-3.3, 3.3),
    (-0.05, 6.34),
    (-181.0, 181.0),
    (-1.0, 361.0),
    (-3300.0, 3300.0),
    (0.0, 4095.0),
    (-4096.0, 4096.0),
    (-5.0, 6300.0),
)
#: Share of the voxels that may be zero in all echoes by chance.
_FEW_ZEROS = 2e-5
_FEWEST_ZEROS = 9
#: Zeros in one echo beside what the neighbouring numbers lead to expect.
_ZERO_EXCESS = 20.0
#: Half of the range [circles] around zero in which its neighbours are counted.
_NEIGHBOURHOOD = 0.01


@dataclass(frozen=True)
class PhaseNumbers:
    """The encoding of a phase image, and which of its numbers are no phase.

    Attributes
    ----------
    scale : PhaseScale
    fills : tuple of float
        Numbers that stand for "no value".
    low, high : float
        Range outside of which numbers are strays.
    """

    scale: PhaseScale
    fills: tuple[float, ...] = ()
    low: float = -np.inf
    high: float = np.inf

    def strays(self, volume: npt.NDArray) -> Mask | None:
        """Return where a volume holds no phase; None where nothing was found in the image."""
        if not self.fills and not np.isfinite([self.low, self.high]).any():
            return None
        out: Mask = (volume < self.low) | (volume > self.high)
        for value in self.fills:
            out |= volume == value
        return out


def read_phase_numbers(
    volumes: Sequence[npt.NDArray], *, units: str | None = None, image_type: Sequence[str] = ()
) -> PhaseNumbers:
    """Find the encoding of a phase image, fill values and strays left out.

    Parameters
    ----------
    volumes : sequence of ndarray
        One phase image per echo, any real number type.
    units, image_type : str, sequence of str
        Of the sidecar, see :func:`qsmbids.core.phase.phase_scale.detect_phase_scale`.

    Returns
    -------
    PhaseNumbers
        Numbers are left out only where the rest has a known encoding, another one than all
        numbers together, or where they lie far outside the rest.

    Raises
    ------
    ValueError
        No encoding is found, as for :func:`qsmbids.core.phase.phase_scale.detect_phase_scale`.

    Examples
    --------
    >>> numbers = np.arange(4096.0).reshape(16, 16, 16)
    >>> numbers[:4] = -32768
    >>> found = read_phase_numbers([numbers])
    >>> found.scale.rule, found.fills
    ('siemens-12bit', (-32768.0,))
    """
    seen = [volume_numbers(volume) for volume in volumes]
    return numbers_seen(seen, units=units, image_type=image_type)


def numbers_seen(
    volumes: Sequence[VolumeNumbers], *, units: str | None = None, image_type: Sequence[str] = ()
) -> PhaseNumbers:
    """Find the encoding as :func:`read_phase_numbers`, of volumes that need not be there."""
    full = joint_statistics(volumes)
    scale, refusal = _attempt(full, units, image_type)
    values = np.concatenate([*(v.sample for v in volumes), [full.minimum, full.maximum]])
    fills, rest = _fill_values(values)
    for low, high in _ranges(rest):
        inside = rest[(rest >= low) & (rest <= high)]
        other, _ = _attempt(sample_statistics(inside), units, image_type)
        if other and not other.warning and (scale is None or other.rule != scale.rule):
            return PhaseNumbers(other, fills, low, high)
    if not fills or (scale is not None and not scale.warning):
        return PhaseNumbers(_certain(scale, refusal))
    if _gap(fills, rest) < _FILL_GAP:
        return PhaseNumbers(_certain(scale, refusal))
    # what lies far outside would squeeze an unknown scale, so the rest must do without it
    other, refusal = _attempt(sample_statistics(rest), units, image_type)
    return PhaseNumbers(_certain(other, refusal), fills)


@dataclass(frozen=True)
class NoPhase:
    """Voxels whose numbers are no phase in some echo.

    Attributes
    ----------
    any_voxel : (X, Y, Z) ndarray of bool
    notes : list of str
        What was found, for people.
    facts : dict
        Numbers for the record: fill values and counts of voxels.
    """

    any_voxel: Mask
    notes: list[str]
    facts: dict[str, Any]


def without_phase(
    volumes: Sequence[npt.NDArray], numbers: PhaseNumbers, signal: Mask | None = None
) -> NoPhase:
    """Find the voxels that hold a fill value, a stray or a dot of zero.

    Parameters
    ----------
    volumes : sequence of (X, Y, Z) ndarray
        Stored numbers of every echo.
    numbers : PhaseNumbers
        Of :func:`read_phase_numbers`.
    signal : (X, Y, Z) ndarray of bool, optional
        Where there is signal. Dots elsewhere do no harm and are common: some scanners set the
        phase of air to the smallest number.

    Returns
    -------
    NoPhase
    """
    missing = np.zeros(np.shape(volumes[0]), dtype=bool)
    notes: list[str] = []
    facts: dict[str, Any] = {}
    numerical = []
    for volume in volumes:
        strays = numbers.strays(volume)
        if strays is not None:
            missing |= strays
            volume = np.where(strays, np.nan, volume)
        numerical.append(volume)
    count = int(np.count_nonzero(missing))
    if count:
        what = "are out of the range of phase"
        if numbers.fills:
            what = f"hold the fill value {', '.join(f'{value:g}' for value in numbers.fills)}"
        notes.append(
            f"{count} voxels ({100 * count / missing.size:.2g} %) {what} and were left out; the"
            " others set the scale of the phase"
        )
        facts = {"PhaseFillValues": list(numbers.fills), "OutOfRangeVoxels": count}
    dots = zero_dots(numerical)
    if dots is not None and signal is not None:
        dots &= signal
    if dots is not None and dots.any():
        count = int(np.count_nonzero(dots))
        notes.append(
            f"{count} voxels within the image hold exactly zero, or the smallest number, which is"
            " no measured phase; they were left out"
        )
        facts["ZeroPhaseVoxels"] = count
        missing |= dots
    return NoPhase(missing, notes, facts)


def _attempt(
    statistics: PhaseStatistics, units: str | None, image_type: Sequence[str]
) -> tuple[PhaseScale | None, ValueError | None]:
    try:
        return detect_phase_scale(statistics, units=units, image_type=image_type), None
    except ValueError as error:
        return None, error


def _certain(scale: PhaseScale | None, refusal: ValueError | None) -> PhaseScale:
    if scale is None:
        raise refusal or ValueError("the phase has no known scale")
    return scale


def _fill_values(
    values: Float64Array,
) -> tuple[tuple[float, ...], Float64Array]:
    """Return the numbers at the ends of the range that are too frequent, and all others."""
    fills: list[float] = []
    rest = values
    for end in (np.min, np.max):
        value = float(end(rest))
        others = rest[rest != value]
        frequent = rest.size - others.size > _FILL_SHARE * values.size
        if frequent and others.size and np.ptp(others) > 0:
            fills.append(value)
            rest = others
    return tuple(fills), rest


def _gap(fills: tuple[float, ...], rest: Float64Array) -> float:
    """Return how far the furthest fill value lies outside the rest, by the range of the rest."""
    outside = [max(float(rest.min()) - v, v - float(rest.max())) for v in fills]
    return max(outside) / float(np.ptp(rest))


def _ranges(rest: Float64Array) -> list[tuple[float, float]]:
    """Return the ranges that hold all numbers, or all but a few strays."""
    ranges = [(-np.inf, np.inf)]
    numbers = rest[rest != 0]  # a masked background says nothing
    for low, high in _CIRCLES:
        outside = int(np.count_nonzero((numbers < low) | (numbers > high)))
        if 0 < outside <= max(2.0, _STRAY_SHARE * numbers.size):
            ranges.append((low, high))
    return ranges


def zero_dots(volumes: Sequence[npt.NDArray]) -> Mask | None:
    """Find voxels whose phase is 0 because it is missing.

    Parameters
    ----------
    volumes : sequence of (X, Y, Z) ndarray
        Stored numbers of every echo.

    Returns
    -------
    (X, Y, Z) ndarray of bool or None
        Zero, or the smallest of all numbers, as which a stored zero may come out of the header's
        slope and intercept: in all echoes, or in one in which this number is many times more
        frequent than those next to it. A region of such voxels that reaches the border of the
        volume is background and left out. None where there are no such voxels.

    Examples
    --------
    >>> phase = np.random.default_rng(0).uniform(-3, 3, (20, 20, 20))
    >>> phase[5, 5, 5:10:2] = phase[9, 3:17:2, 9] = 0
    >>> int(zero_dots([phase]).sum())
    10
    """
    dots = np.zeros(np.shape(volumes[0]), dtype=bool)
    smallest = min(float(np.nanmin(volume)) for volume in volumes)
    for number in {0.0, smallest}:
        here = [np.asarray(volume) == number for volume in volumes]
        if len(volumes) > 1:
            always = _inner(np.logical_and.reduce(here))
            if np.count_nonzero(always) > _FEW_ZEROS * always.size:
                dots |= always
        for volume, zero in zip(volumes, here, strict=True):
            limit = max(_ZERO_EXCESS * _expected_count(volume, number), _FEWEST_ZEROS)
            if np.count_nonzero(zero) > limit:
                inner = _inner(zero)
                if np.count_nonzero(inner) > limit:
                    dots |= inner
    return dots if dots.any() else None


def _inner(zero: Mask) -> Mask:
    """Return the voxels of the regions that do not reach the border of the volume."""
    labels, n_regions = scipy.ndimage.label(zero)
    at_border = np.zeros(n_regions + 1, dtype=bool)
    for axis in range(3):
        for end in (0, -1):
            at_border[np.unique(labels.take(end, axis=axis))] = True
    at_border[0] = True
    inner: Mask = ~at_border[labels]
    return inner


def _expected_count(volume: npt.NDArray, number: float) -> float:
    """Return how many voxels have a number by what the numbers next to it lead to expect."""
    values = sampled_values(volume)
    if values.size == 0:
        return 0.0
    away = np.abs(values - number)
    near = values[(away != 0) & (away < _NEIGHBOURHOOD * np.ptp(values))]
    if near.size == 0:
        return 0.0
    # n samples that fall on L levels show L (1 - exp(-n / L)) of them
    per_level = float(near.size / np.unique(near).size)
    per_level = per_level if per_level > 2 else 2 * (per_level - 1)
    return per_level * np.size(volume) / values.size
