"""The field strength and the proton frequency of a run, as its sidecars state them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from qsmbids.errors import MetadataError
from qsmbids.io.runs import Run
from qsmbids.io.stated import as_number
from qsmbids.units import GAMMA_BAR_HZ_PER_T, larmor_frequency

__all__ = ["Notes", "read_centre_frequency"]

#: Largest relative difference of ImagingFrequency from the nominal field. "3 T" is 2.89 T on
#: some Siemens systems (3.5 %); another nucleus or a wrong unit is off by far more.
FREQUENCY_TOLERANCE = 0.05

#: Human scanners from portable to the strongest [T].
B0_RANGE = (0.01, 25.0)


@dataclass
class Notes:
    """What was decided on the way."""

    decisions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_centre_frequency(
    run: Run, where: str, override: float | None, notes: Notes
) -> tuple[float, float, str]:
    """Return the field strength [T], the proton frequency [Hz] and where that is from."""
    fix = "Correct the sidecar, or give the field in tesla with --field-strength."
    frequency = _agreed(run, where, "ImagingFrequency", _hertz, fix)
    stated = None
    if override is None:
        stated = _agreed(run, where, "MagneticFieldStrength", float, fix)
    if override is not None:
        b0 = override
        notes.decisions.append(f"field strength {override:g} T, as requested")
    elif stated is not None:
        b0 = _tesla(stated, notes)
    elif frequency is not None:
        b0 = frequency / GAMMA_BAR_HZ_PER_T
    else:
        raise MetadataError(
            "MagneticFieldStrength and ImagingFrequency are missing",
            where,
            "Add MagneticFieldStrength to the sidecar, or use --field-strength.",
        )
    if not B0_RANGE[0] <= b0 <= B0_RANGE[1]:
        raise MetadataError(f"a field strength of {b0:g} T is impossible", where, fix)
    nominal = larmor_frequency(b0)
    if frequency is not None:
        if abs(frequency - nominal) <= FREQUENCY_TOLERANCE * nominal:
            notes.decisions.append(
                f"centre frequency {frequency / 1e6:.6g} MHz from ImagingFrequency "
                f"({frequency / GAMMA_BAR_HZ_PER_T:.4g} T; nominal {b0:.4g} T)"
            )
            return b0, frequency, "ImagingFrequency"
        contradiction = (
            f"ImagingFrequency {frequency / 1e6:.6g} MHz is not the proton frequency at {b0:.4g} T"
        )
        if override is None:
            raise MetadataError(contradiction, where, fix)
        notes.warnings.append(f"{contradiction} as requested; it is not used")
    notes.decisions.append(f"centre frequency {nominal / 1e6:.6g} MHz from {b0:.4g} T")
    return b0, nominal, "MagneticFieldStrength"


def _hertz(value: float) -> float:
    """Return ImagingFrequency [MHz by BIDS and DICOM; Hz by mistake] in Hz."""
    return value if value > 1e5 else value * 1e6


def _tesla(value: float, notes: Notes) -> float:
    """Return MagneticFieldStrength in tesla; it is given in gauss or millitesla by mistake.

    From 10000 it is gauss (1 T), for 10 T is no clinical field. Below, 1500, 3000 and 7000 are
    the common fields in millitesla.
    """
    if value <= B0_RANGE[1]:
        return value
    unit, factor = ("gauss", 1e-4) if value >= 10000 else ("millitesla", 1e-3)
    notes.warnings.append(
        f"MagneticFieldStrength {value:g} was taken for {unit}, that is {value * factor:g} T"
    )
    return value * factor


def _agreed(
    run: Run, where: str, key: str, convert: Callable[[float], float], fix: str
) -> float | None:
    """Return the number of the first echo that states it, if the others agree."""
    values = [convert(v) for s in run.sidecars if (v := as_number(s.get(key))) is not None]
    if not values:
        stated = [s[key] for s in run.sidecars if s.get(key) is not None]
        if stated:
            raise MetadataError(f"{key} is {stated[0]!r}, not a number", where, fix)
        return None
    if max(abs(v - values[0]) for v in values) > FREQUENCY_TOLERANCE * abs(values[0]):
        raise MetadataError(f"{key} differs between the echoes", where, fix)
    return values[0]
