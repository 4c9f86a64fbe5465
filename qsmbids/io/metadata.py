"""Turn the sidecars and the header of a run into what the pipeline computes with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.b0_direction import b0_direction_from_affine, tilt_degrees
from qsmbids.errors import MetadataError
from qsmbids.io.centre_frequency import Notes, read_centre_frequency
from qsmbids.io.nifti_header import Header, read_header
from qsmbids.io.orientation import angle_degrees
from qsmbids.io.runs import Run
from qsmbids.io.stated import as_number

__all__ = ["Acquisition", "read_acquisition"]

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
    "CoilCombinationMethod",
    "CoilsCombined",
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
    notes = Notes()
    where = _first_phase(run)
    times = _echo_times(run, echo_times, notes)
    b0, frequency, source = read_centre_frequency(run, where, field_strength, notes)
    header = read_header(run.images[0])
    if header.affine_source == "none":
        notes.warnings.append(
            f"{run.images[0].name} has no orientation; B0 is taken along its third axis"
        )
    notes.warnings += _orientation_doubts(run, header)
    b = _b0_direction(run, header, b0_direction, notes)
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
        tilt_degrees=tilt_degrees(b),
        manufacturer=manufacturer,
        phase_units=_phase_units(run, notes),
        decisions=tuple(notes.decisions),
        warnings=tuple(notes.warnings),
        extra={k: run.sidecars[0][k] for k in _EXTRA if k in run.sidecars[0]},
    )


def _b0_direction(
    run: Run, header: Header, requested: Sequence[float] | None, notes: Notes
) -> npt.NDArray[np.float64]:
    """Return B0 along the voxel axes, from the header or as requested."""
    scanner = (0.0, 0.0, 1.0) if requested is None else requested
    try:
        b = b0_direction_from_affine(header.affine, scanner)
    except ValueError as error:
        raise MetadataError(
            f"the B0 direction {tuple(scanner)} is no direction",
            run.label,
            "Give three numbers, not all zero, in scanner axes (right, anterior, superior).",
        ) from error
    tilt = tilt_degrees(b)
    origin = header.affine_source if requested is None else f"{tuple(scanner)} as requested"
    notes.decisions.append(
        f"B0 direction {b[0]:+.4f} {b[1]:+.4f} {b[2]:+.4f} along the voxel axes from the"
        f" {origin}, tilt {tilt:.1f} degrees"
    )
    if tilt > TILT_TO_MENTION:
        notes.warnings.append(
            f"the slab is tilted by {tilt:.0f} degrees to B0; the dipole kernel is tilted with it"
        )
    return b


def _orientation_doubts(run: Run, header: Header) -> list[str]:
    """Return what speaks against the direction of B0 that the header gives."""
    name, doubts = run.images[0].name, []
    if header.affine_doubt:
        doubts.append(
            f"{name}: {header.affine_doubt} for the direction of B0; correct the codes of the"
            " header, or give the direction with --b0-dir, if that is wrong"
        )
    scanner = _told_b0(run.sidecars[0].get("ImageOrientationPatientDICOM"))
    if scanner is None:
        return doubts
    # flips and permutations of the axes apart, for converters differ in them
    seen = np.sort(np.abs(b0_direction_from_affine(header.affine)))
    angle = angle_degrees(seen, np.sort(np.abs(scanner)))
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
    direction = np.array([row[2], column[2], np.cross(row, column)[2]])
    return direction if abs(np.linalg.norm(direction) - 1) < 0.05 else None


def _first_phase(run: Run) -> str:
    return (run.phase or run.imag)[0].name


def _echo_times(run: Run, override: Sequence[float] | None, notes: Notes) -> tuple[float, ...]:
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


def _phase_units(run: Run, notes: Notes) -> str | None:
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
