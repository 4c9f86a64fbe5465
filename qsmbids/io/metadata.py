"""Turn the sidecars and the header of a run into what the pipeline computes with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import b0_direction_from_affine, tilt_degrees
from qsmbids.errors import MetadataError
from qsmbids.io.nifti import Header, read_header
from qsmbids.io.runs import Run
from qsmbids.io.stated import as_number
from qsmbids.units import GAMMA_BAR_HZ_PER_T, larmor_frequency

__all__ = ["Acquisition", "read_acquisition"]

#: Largest relative difference of ImagingFrequency from the nominal field. "3 T" is 2.89 T on
#: some Siemens systems (3.5 %); another nucleus or a wrong unit is off by far more.
FREQUENCY_TOLERANCE = 0.05

#: Human scanners from portable to the strongest [T].
B0_RANGE = (0.01, 25.0)

#: Echo times of gradient echoes [s]; outside, the unit is wrong.
ECHO_TIME_RANGE = (5e-5, 0.5)

#: Tilt of the slab [degrees] from which the user should know.
TILT_TO_MENTION = 15.0

#: Angle [degrees] between two statements of the direction of B0 from which the user should know.
TURN_TO_MENTION = 2.0

_EXTRA = (
    "RepetitionTimeExcitation",
    "RepetitionTime",
    "FlipAngle",
    "MRAcquisitionType",
    "ManufacturersModelName",
    "SoftwareVersions",
    "PulseSequenceDetails",
    "SequenceName",
    "ScanningSequence",
    "PixelBandwidth",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ReadoutMode",
    "ReceiveCoilName",
    "ParallelReductionFactorInPlane",
    "PartialFourier",
    "NonlinearGradientCorrection",
    "ImageType",
    "ImageOrientationPatientDICOM",
    "PhilipsRescaleSlope",
    "PhilipsRescaleIntercept",
    "PhilipsScaleSlope",
    "ConversionSoftware",
    "ConversionSoftwareVersion",
)

_UNITS = {
    "rad": "rad",
    "radian": "rad",
    "radians": "rad",
    "mrad": "mrad",
    "milliradian": "mrad",
    "milliradians": "mrad",
    "deg": "degrees",
    "degree": "degrees",
    "degrees": "degrees",
    "arbitrary": "arbitrary",
    "hz": "Hz",
}


@dataclass(frozen=True)
class Acquisition:
    """What was acquired, in house units.

    Attributes
    ----------
    echo_times : tuple of float
        [s], one per echo of the run.
    b0_tesla : float
        Field strength as stated (nominal); use ``centre_frequency_hz`` to compute with.
    centre_frequency_hz : float
        Proton frequency [Hz]; the factor between Hz and ppm.
    centre_frequency_source : str
        "ImagingFrequency" or "MagneticFieldStrength".
    voxel_size, matrix : tuple
        [mm] and voxels, along the array axes.
    affine : tuple of tuple
        (4, 4) voxel to scanner RAS+ [mm] of the first image.
    b0_direction : tuple of float
        Unit vector along the array axes.
    tilt_degrees : float
        Angle between B0 and the nearest array axis.
    manufacturer : str
        As found, "" where it is not known.
    phase_units : str or None
        "rad", "mrad", "degrees", "arbitrary" or "Hz" by the sidecars; None where not stated.
    decisions, warnings : tuple of str
        What was derived and from what, and what the user should check.
    extra : dict
        Other facts of the first echo under their BIDS names, as found.
    """

    echo_times: tuple[float, ...]
    b0_tesla: float
    centre_frequency_hz: float
    centre_frequency_source: str
    voxel_size: tuple[float, float, float]
    matrix: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    b0_direction: tuple[float, float, float]
    tilt_degrees: float
    manufacturer: str
    phase_units: str | None
    decisions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return math.prod(self.matrix)


@dataclass
class _Notes:
    """What was decided on the way."""

    decisions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_acquisition(
    run: Run,
    *,
    field_strength: float | None = None,
    echo_times: Sequence[float] | None = None,
    b0_direction: Sequence[float] | None = None,
) -> Acquisition:
    """Read the metadata of a run.

    Parameters
    ----------
    run : Run
    field_strength : float, optional
        [T], instead of MagneticFieldStrength. An ImagingFrequency that agrees with it is still
        preferred, as the more precise of the two.
    echo_times : sequence of float, optional
        [s], one per echo, instead of EchoTime.
    b0_direction : (3,) sequence of float, optional
        B0 in scanner RAS+ axes, for magnets where it is not along z.

    Returns
    -------
    Acquisition

    Raises
    ------
    MetadataError
        A value is missing, contradicts another or is impossible.
    InputError
        The first image cannot be read.
    """
    notes = _Notes()
    where = _first_phase(run)
    times = _echo_times(run, echo_times, notes)
    b0, frequency, source = _centre_frequency(run, where, field_strength, notes)
    header = read_header(run.images[0])
    if header.affine_source == "none":
        notes.warnings.append(
            f"{run.images[0].name} has no orientation; B0 is taken along its third axis"
        )
    notes.warnings += _orientation_doubts(run, header)
    scanner = (0.0, 0.0, 1.0) if b0_direction is None else b0_direction
    try:
        b = b0_direction_from_affine(header.affine, scanner)
    except ValueError as error:
        raise MetadataError(
            f"the B0 direction {tuple(scanner)} is no direction",
            run.label,
            "Give three numbers, not all zero, in scanner axes (right, anterior, superior).",
        ) from error
    tilt = tilt_degrees(b)
    origin = header.affine_source if b0_direction is None else f"{tuple(scanner)} as requested"
    notes.decisions.append(
        f"B0 direction {b[0]:+.4f} {b[1]:+.4f} {b[2]:+.4f} along the voxel axes from the"
        f" {origin}, tilt {tilt:.1f} degrees"
    )
    if tilt > TILT_TO_MENTION:
        notes.warnings.append(
            f"the slab is tilted by {tilt:.0f} degrees to B0; the dipole kernel is tilted with it"
        )
    manufacturer = next(
        (str(s["Manufacturer"]) for s in run.sidecars if s.get("Manufacturer")), ""
    )
    return Acquisition(
        echo_times=times,
        b0_tesla=b0,
        centre_frequency_hz=frequency,
        centre_frequency_source=source,
        voxel_size=header.voxel_size,
        matrix=header.shape,
        affine=tuple(tuple(float(v) for v in row) for row in header.affine),
        b0_direction=(float(b[0]), float(b[1]), float(b[2])),
        tilt_degrees=tilt,
        manufacturer=manufacturer,
        phase_units=_phase_units(run, notes),
        decisions=tuple(notes.decisions),
        warnings=tuple(notes.warnings),
        extra={k: run.sidecars[0][k] for k in _EXTRA if k in run.sidecars[0]},
    )


def _orientation_doubts(run: Run, header: Header) -> list[str]:
    """Return what speaks against the direction of B0 that the header gives."""
    name, doubts = run.images[0].name, []
    if header.affine_doubt:
        doubts.append(
            f"{name}: {header.affine_doubt} for the direction of B0; correct the codes of the"
            " header, or give the direction with --b0-dir, if that is wrong"
        )
    told = _told_b0(run.sidecars[0].get("ImageOrientationPatientDICOM"))
    if told is None:
        return doubts
    # flips and permutations of the axes apart, for converters differ in them
    seen = np.sort(np.abs(b0_direction_from_affine(header.affine)))
    angle = float(np.degrees(np.arccos(np.clip(seen @ np.sort(np.abs(told)), -1, 1))))
    if angle > TURN_TO_MENTION:
        doubts.append(
            f"{name}: the header turns the slab by {angle:.1f} degrees against the scanner's"
            " ImageOrientationPatientDICOM; was it aligned to another image? B0 is taken from"
            " the header"
        )
    return doubts


def _told_b0(orientation: Any) -> npt.NDArray[np.float64] | None:
    """Return B0 along row, column and slice of the scanner's own record; None if it has none."""
    if not isinstance(orientation, list) or len(orientation) != 6:
        return None
    numbers = [as_number(v) for v in orientation]
    if any(v is None for v in numbers):
        return None
    row, column = np.array(numbers[:3], float), np.array(numbers[3:], float)
    told = np.array([row[2], column[2], np.cross(row, column)[2]])
    return told if abs(np.linalg.norm(told) - 1) < 0.05 else None


def _first_phase(run: Run) -> str:
    return (run.phase or run.imag)[0].name


def _echo_times(run: Run, override: Sequence[float] | None, notes: _Notes) -> tuple[float, ...]:
    """Return the echo times [s]; numbers above 1 are taken for milliseconds."""
    fix = f"Correct the sidecars, or give the {len(run.echoes)} times with --echo-times."
    if override is not None:
        where = run.label
        raw: list[Any] = list(override)
        if len(raw) != len(run.echoes):
            raise MetadataError(f"{len(raw)} echo times for {len(run.echoes)} echoes", where, fix)
    else:
        where = _first_phase(run)
        raw = [sidecar.get("EchoTime") for sidecar in run.sidecars]
    times: list[float] = []
    for echo, value, file in zip(run.echoes, raw, run.phase or run.imag, strict=True):
        number = as_number(value)
        if number is None:
            problem = "EchoTime is missing" if value is None else f"EchoTime is {value!r}"
            raise MetadataError(f"{problem} (echo {echo})", file.name, fix)
        times.append(number)
    if list(run.echoes) != sorted(run.echoes):
        numbers = ", ".join(str(echo) for echo in run.echoes)
        notes.decisions.append(f"echoes sorted by their echo times: echo {numbers} of the names")
    if max(times) > 1:
        notes.warnings.append(
            f"the echo times {_listed(times)} can only be milliseconds; they were divided by 1000"
        )
        times = [te / 1000 for te in times]
    low, high = ECHO_TIME_RANGE
    if not all(low <= te <= high for te in times):
        raise MetadataError(f"echo times of {_listed(times)} s are impossible", where, fix)
    if override is not None:
        notes.decisions.append(f"echo times {_listed(times)} s, as requested")
    return tuple(times)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _agreed(
    run: Run, key: str, convert: Callable[[float], float], tolerance: float, fix: str
) -> float | None:
    """Return the number of the first echo that states it, if the others agree."""
    values = [convert(v) for s in run.sidecars if (v := as_number(s.get(key))) is not None]
    if not values:
        stated = [s[key] for s in run.sidecars if s.get(key) is not None]
        if stated:
            raise MetadataError(f"{key} is {stated[0]!r}, not a number", _first_phase(run), fix)
        return None
    if max(abs(v - values[0]) for v in values) > tolerance * abs(values[0]):
        raise MetadataError(f"{key} differs between the echoes", _first_phase(run), fix)
    return values[0]


def _centre_frequency(
    run: Run, where: str, override: float | None, notes: _Notes
) -> tuple[float, float, str]:
    """Return the field strength [T], the proton frequency [Hz] and where that is from."""
    fix = "Correct the sidecar, or give the field in tesla with --field-strength."
    frequency = _agreed(run, "ImagingFrequency", _hertz, FREQUENCY_TOLERANCE, fix)
    stated = None
    if override is None:
        stated = _agreed(run, "MagneticFieldStrength", float, FREQUENCY_TOLERANCE, fix)
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


def _tesla(value: float, notes: _Notes) -> float:
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


def _phase_units(run: Run, notes: _Notes) -> str | None:
    """Return the units of the phase by the sidecars, which must agree."""
    stated = {str(s["Units"]) for s in run.sidecars if s.get("Units")}
    if not stated:
        return None
    known = {_UNITS.get(unit.strip().lower()) for unit in stated}
    if None in known:
        notes.warnings.append(
            f"the phase Units {', '.join(sorted(stated))} are unknown; the scale is detected"
        )
        return None
    if len(known) > 1:
        raise MetadataError(
            f"the phase Units differ between the echoes ({', '.join(sorted(stated))})",
            _first_phase(run),
            "Correct the sidecars; BIDS knows 'rad' and 'arbitrary'.",
        )
    return known.pop()
