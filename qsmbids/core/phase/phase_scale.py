"""From the numbers in a phase image to radians.

Scanners and converters write the circle as 0..4095, -4096..4094, milliradians, degrees or
radians. A wrong guess scales the field and with it the susceptibility, so every rule names a
known encoding; stretching minimum..maximum to a circle is the last resort and needs evidence
that the image fills the circle.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array
from qsmbids.core.phase.phase_statistics import PhaseStatistics, phase_statistics
from qsmbids.units import TWO_PI

__all__ = ["PhaseScale", "PhaseStatistics", "detect_phase_scale", "phase_statistics", "to_radians"]

BLOCK = 1 << 18  # voxels converted at a time: stays in the cache
WIDEST_HOLE = 0.25  # of the range, in the middle of a circle
FEWEST_LEVELS = 1000  # scanners store phase with at least 10 bits

FIELD_UNITS = ("hz", "khz", "rad/s", "rad/sec", "rads", "t", "mt", "ut", "ppm", "ppb", "1/s")
UNIT_NAMES = {
    "rad": ("rad", "radian", "radians"),
    "mrad": ("mrad", "milliradian", "milliradians"),
    "degrees": ("degrees", "degree", "deg", "°"),
    "": ("", "arbitrary", "arbitrary units", "a.u.", "au", "n/a", "none"),
}
ADVICE = "Convert the phase images to radians (-pi to pi) and set Units to 'rad' in their sidecars"


@dataclass(frozen=True)
class PhaseScale:
    """How stored numbers become radians: ``slope * number + intercept``.

    Attributes
    ----------
    rule : str
        Stable short name of the encoding, such as ``"siemens-12bit"``.
    slope, intercept : float
        [rad per unit], [rad].
    description : str
        One sentence for the report.
    warning : str
        What the user should check; empty if the encoding is certain.
    """

    rule: str
    slope: float
    intercept: float
    description: str
    warning: str = ""


def detect_phase_scale(
    statistics: PhaseStatistics,
    *,
    units: str | None = None,
    image_type: Sequence[str] = (),
) -> PhaseScale:
    """Find the encoding of a phase image from its sidecar and its numbers.

    Parameters
    ----------
    statistics : PhaseStatistics
        Of all echoes together; a single short echo may not fill the circle.
    units : str, optional
        ``Units`` of the sidecar: rad, mrad or degrees decide, unless the numbers contradict them;
        ``"arbitrary"`` only says that the numbers are not physical.
    image_type : sequence of str
        ``ImageType`` of the sidecar; tells field maps.

    Returns
    -------
    PhaseScale

    Raises
    ------
    ValueError
        The image is constant, a field map, already unwrapped, of unknown scale, or contradicts
        its ``Units``. The text says what the numbers look like and what to do.

    Notes
    -----
    Rules in order: sidecar; radians -pi..pi; radians 0..2 pi; Siemens 0..4095; Siemens
    -4096..4094; milliradians; degrees; minimum..maximum. Stretching minimum..maximum is wrong by
    2 pi over the true range when the phase does not fill the circle, hence it is refused there.

    Examples
    --------
    >>> numbers = np.arange(4096).reshape(16, 16, 16)
    >>> detect_phase_scale(phase_statistics([numbers]), units="arbitrary").rule
    'siemens-12bit'
    """
    s = statistics
    unit = _unit(units, image_type, s)
    if s.extent <= 0:
        raise ValueError(
            f"the phase is constant ({s.minimum:g}): it holds no field. "
            "Check that the phase was exported, not only the magnitude"
        )
    if unit:
        return _from_units(s, unit)
    for rule in (_radians, _siemens_unsigned, _signed_integers, _milliradians, _degrees):
        scale = rule(s)
        if scale is not None:
            return scale
    return _min_max(s)


def _unit(units: str | None, image_type: Sequence[str], s: PhaseStatistics) -> str:
    """Return rad, mrad, degrees or "" (not said); refuse the units of a field map."""
    text = (units or "").strip().lower()
    if text in FIELD_UNITS:
        raise ValueError(
            f"Units is '{units}': this is a field map ({s}), not the phase of an echo. "
            "Give the phase images that it was computed from, or name it as a fieldmap"
        )
    tokens = [str(token).upper() for token in image_type]
    if any("FIELDMAP" in token or token in ("B0", "B0 MAP", "B0MAP") for token in tokens):
        raise ValueError(
            f"ImageType {list(image_type)} says that this is a field map ({s}), not the phase of "
            "an echo. Give the phase images that it was computed from"
        )
    for unit, names in UNIT_NAMES.items():
        if text in names:
            return unit
    raise ValueError(
        f"Units is '{units}', which is no unit of phase ({s}). "
        "Use 'rad', or 'arbitrary' for the numbers that the scanner stored"
    )


def _from_units(s: PhaseStatistics, unit: str) -> PhaseScale:
    """Believe the sidecar unless the numbers contradict it."""
    slope = {"rad": 1.0, "mrad": 1e-3, "degrees": math.pi / 180.0}[unit]
    circle = TWO_PI / slope
    rounded = unit == "rad" and s.integer_valued
    if s.extent > 1.1 * circle or (unit != "rad" and _is_radians(s)) or rounded:
        guess = _guess(s)
        if guess is not None:
            raise ValueError(
                f"Units says '{unit}' but the phase holds {s}, which is {guess.description}. "
                "Correct Units in the sidecars ('arbitrary' for the numbers of the scanner)"
            )
        if rounded and s.extent <= circle:
            raise ValueError(
                f"Units says 'rad' but the phase holds {s}: the radians were rounded. "
                "Convert the images again, as floating point numbers or with a slope"
            )
        raise ValueError(
            f"Units says '{unit}' but the phase holds {s}, {s.extent / circle:.3g} times the "
            "circle: it is already unwrapped, filtered, or in another unit. Give the wrapped "
            "phase as the scanner reconstructed it, or correct Units in the sidecars"
        )
    if s.extent < 0.01 * circle:
        raise ValueError(
            f"Units says '{unit}' but the phase holds {s}, {s.extent / circle:.2g} of the circle: "
            "less than noise alone. Correct Units in the sidecars"
        )
    warning = ""
    if s.extent < 0.85 * circle and s.fills_circle:
        warning = (
            f"Units says '{unit}' and the phase holds {s}, {s.extent / circle:.2g} of the circle, "
            "filled to both ends as if that were all of it; check Units"
        )
    return PhaseScale(f"sidecar-{unit}", slope, 0.0, f"{unit}, as the sidecar says", warning)


def _guess(s: PhaseStatistics) -> PhaseScale | None:
    """Return the encoding that the numbers have for certain, if any."""
    for rule in (_radians, _siemens_unsigned, _signed_integers, _milliradians, _degrees):
        try:
            scale = rule(s)
        except ValueError:
            return None
        if scale is not None:
            return scale if not scale.warning else None
    return None


def _is_radians(s: PhaseStatistics) -> bool:
    return not s.integer_valued and s.largest <= 3.3 and 5.5 <= s.extent <= 6.6


def _radians(s: PhaseStatistics) -> PhaseScale | None:
    if s.integer_valued:
        return None
    if _is_radians(s):
        return PhaseScale("radians", 1.0, 0.0, "radians, -pi to pi")
    if s.minimum >= -0.05 and 3.3 < s.maximum <= TWO_PI + 0.05 and not _short(s, TWO_PI):
        return PhaseScale("radians-0-2pi", 1.0, 0.0, "radians, 0 to 2 pi")
    if s.largest <= 3.3 and s.extent >= 1.0 and not s.fills_circle:
        return PhaseScale(
            "radians",
            1.0,
            0.0,
            "radians that do not reach around the circle",
            f"the phase holds {s} and no Units: taken for radians of a masked image; "
            "set Units in the sidecars",
        )
    return None


def _siemens_unsigned(s: PhaseStatistics) -> PhaseScale | None:
    """Siemens 12 bit; the step to the wrap is a level, so the circle is 4096 levels."""
    if not s.integer_valued or s.minimum < 0 or s.maximum > 4096:
        return None
    warning = ""
    if s.maximum < 3600:
        if s.fills_circle or not s.minimum < 2048 < s.maximum:
            return None  # 0..360, 0..1023, 0..255, or a magnitude image
        warning = (
            f"the phase holds {s} without reaching the end of the 12 bit scale 0..4095 that it "
            "was taken for; check a fringe of the report, or convert to radians"
        )
    return PhaseScale(
        "siemens-12bit", math.pi / 2048, -math.pi, "Siemens 12 bit, 0 to 4095", warning
    )


def _signed_integers(s: PhaseStatistics) -> PhaseScale | None:
    """Siemens through dcm2niix (slope 2, intercept -4096), with or without the step of 2."""
    if not s.integer_valued or s.minimum >= 0 or s.largest > 4096:
        return None
    description = "Siemens signed, -4096 to 4094"
    if s.largest > 3300:
        return PhaseScale("siemens-signed", math.pi / 4096, 0.0, description)
    if s.step == 2 and not s.fills_circle and s.extent > 1000:
        return PhaseScale(
            "siemens-signed",
            math.pi / 4096,
            0.0,
            description,
            f"the phase holds {s} without reaching the ends of the scale -4096..4094 that it was "
            "taken for because of the step; convert to radians to be sure",
        )
    return None


def _milliradians(s: PhaseStatistics) -> PhaseScale | None:
    """GE and Philips: -3142..3142; also 0..6283."""
    signed = 3000 <= s.largest <= 3300 and 3000 <= s.extent <= 6600
    if _short(s, 1000 * TWO_PI):
        return None
    if signed or (s.minimum >= -5 and 6100 <= s.maximum <= 6300):
        return PhaseScale("milliradians", 1e-3, 0.0, "milliradians")
    return None


def _degrees(s: PhaseStatistics) -> PhaseScale | None:
    if not s.fills_circle or _short(s, 360):
        return None
    signed = 170 <= s.largest <= 181 and 340 <= s.extent <= 362
    if signed or (s.minimum >= -1 and 350 <= s.maximum <= 361):
        return PhaseScale("degrees", math.pi / 180.0, 0.0, "degrees")
    return None


def _short(s: PhaseStatistics, circle: float) -> bool:
    """Whether the numbers are filled to both ends, as a circle is, but less than this one."""
    return s.fills_circle and s.extent < 0.875 * circle


def _min_max(s: PhaseStatistics) -> PhaseScale:
    """Stretch minimum..maximum over the circle if the image fills it; refuse otherwise."""
    n_levels = s.extent / s.step + 1 if s.integer_valued else math.inf
    if n_levels < FEWEST_LEVELS:
        raise ValueError(
            f"the phase holds {s}: {n_levels:.0f} levels are too few for the phase of a scanner "
            f"and may be a field map in Hz, degrees or a mask. {ADVICE}"
        )
    if s.hole > WIDEST_HOLE:
        raise ValueError(
            f"the phase holds {s}, but none in {100 * s.hole:.0f} % of that range: no circle has"
            " such a hole. Signed numbers may have been stored as unsigned ones, or a fill value"
            f" is among them. {ADVICE}"
        )
    if not s.fills_circle:
        raise ValueError(
            f"the phase holds {s}, which is no known scale, and thins out towards both ends as a "
            f"field map or already unwrapped phase does, so its scale is unknown. {ADVICE}"
        )
    # whole numbers: the circle closes one level after the last
    circle = s.extent + (s.step if s.integer_valued else 0)
    slope = TWO_PI / circle
    return PhaseScale(
        "min-max",
        slope,
        -math.pi - slope * s.minimum,
        f"unknown scale, {s.minimum:.6g} to {s.maximum:.6g} taken for -pi to pi",
        f"the phase holds {s}, which is no known scale; the smallest and largest value were taken "
        f"for -pi and pi. {ADVICE} if that is wrong",
    )


def to_radians(
    volume: npt.NDArray, scale: PhaseScale, *, sign: int = 1, n_threads: int = 1
) -> Float32Array:
    """Convert stored numbers to wrapped phase [rad].

    Parameters
    ----------
    volume : ndarray
        Stored numbers, after the slope and intercept of the file header.
    scale : PhaseScale
        From :func:`detect_phase_scale`, the same for all echoes.
    sign : {1, -1}
        -1 for vendors whose phase falls with a higher field (GE).
    n_threads : int
        Threads.

    Returns
    -------
    ndarray of float32
        Same shape, in (-pi, pi]; 0 where the input is not finite.

    Raises
    ------
    ValueError
        ``sign`` is neither 1 nor -1.
    """
    if sign not in (1, -1):
        raise ValueError(f"the phase sign must be 1 or -1, not {sign}")
    numbers = np.ascontiguousarray(volume).reshape(-1)
    out = np.empty(numbers.size, dtype=np.float32)
    # in turns of the circle wrapping is a rounding
    slope, intercept = (sign * a / TWO_PI for a in (scale.slope, scale.intercept))
    starts = range(0, numbers.size, BLOCK)

    def convert(start: int) -> None:
        turns = numbers[start : start + BLOCK].astype(np.float64)
        finite = np.isfinite(turns)
        if not finite.all():
            turns[~finite] = -intercept / slope
        turns *= slope
        turns += intercept
        turns -= np.ceil(turns - 0.5)
        turns *= TWO_PI
        block = out[start : start + BLOCK]
        block[:] = turns
        block[block <= -np.float32(math.pi)] = math.pi  # float32 rounds onto the open end

    if n_threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(convert, starts))
    else:
        for start in starts:
            convert(start)
    return out.reshape(np.shape(volume))
