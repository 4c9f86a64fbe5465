"""Tables 3, 4 and 5 of the paper, filled in from sidecars, images and settings."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmbids.config import Settings
from qsmbids.io.metadata import Acquisition
from qsmbids.reports.paper import facts
from qsmbids.reports.paper.findings import Table, item_table
from qsmbids.reports.paper.reconstruction_table import reconstruction_table

__all__ = [
    "centre_frequency_table",
    "hardware_table",
    "paper_tables",
    "reconstruction_table",
    "sequence_table",
]

#: Rows that are essential only in some studies.
_CARTESIAN = "cartesian"
_ESSENTIAL_IF_USED = (
    "k-space trajectory",
    "Partial Fourier factor",
    "Partial echo",
    "Phase stabilisation",
)

Sidecars = Sequence[Mapping[str, Any]]


def paper_tables(
    sidecars: Sidecars,
    acquisition: Acquisition,
    settings: Settings,
    record: Mapping[str, Any] | None = None,
) -> tuple[Table, Table, Table]:
    """Return Tables 3, 4 and 5 of one run.

    Parameters
    ----------
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    acquisition : Acquisition
    settings : Settings
        In force.
    record : mapping, optional
        Sidecar of a finished map.
    """
    return (
        hardware_table(sidecars, acquisition),
        sequence_table(sidecars, acquisition, record),
        reconstruction_table(
            settings, record, n_echoes=len(acquisition.echo_times), sidecars=sidecars
        ),
    )


def hardware_table(sidecars: Sidecars, acquisition: Acquisition) -> Table:
    """Return Table 3, the acquisition hardware."""

    def said(*keys: str) -> str:
        return facts.text(facts.first_of(sidecars, *keys))

    coil = facts.receive_coil(sidecars)
    channels = facts.receive_channels(sidecars)
    if coil and channels and str(channels) not in coil:
        coil = f"{coil} ({channels} channels)"
    transmit = said("TransmitCoilName")
    coils = ", ".join(c for c in (transmit and f"{transmit} (transmit)", coil) if c)
    return item_table(
        "Table 3. Acquisition hardware",
        [
            ("Field strength", f"{acquisition.b0_tesla:.4g} T", True),
            ("Vendor", facts.text(acquisition.manufacturer), True),
            ("Scanner model", said("ManufacturersModelName"), False),
            ("Software release", said("SoftwareVersions"), False),
            ("Coils and number of channels", coils, False),
            ("Gradient system", said("GradientSystem", "GradientSetType"), False),
        ],
    )


@dataclass(frozen=True)
class _Sequence:
    """What the rows of Table 4 are taken from."""

    sidecars: Sidecars
    acquisition: Acquisition
    record: Mapping[str, Any]


def sequence_table(
    sidecars: Sidecars, acquisition: Acquisition, record: Mapping[str, Any] | None = None
) -> Table:
    """Return Table 4, the acquisition sequence and its parameters."""
    given = _Sequence(sidecars, acquisition, record or {})
    rows = []
    for name, value, essential in _SEQUENCE_ROWS:
        said = value(given)
        used = name in _ESSENTIAL_IF_USED and said not in ("", "no", _CARTESIAN)
        rows.append((name, said, essential or used))
    notes = (
        "Lengths are anterior-posterior x left-right x head-foot.",
        "Centre frequency: essential where more than one scanner is used. k-space trajectory if"
        " not Cartesian, phase stabilisation, partial Fourier and partial echo: essential where"
        " they were used.",
    )
    return item_table("Table 4. Acquisition sequence", rows, notes)


def _sequence_type(g: _Sequence) -> str:
    dimensions = facts.text(facts.first_of(g.sidecars, "MRAcquisitionType"))
    said = facts.words(g.sidecars, "ScanningSequence", "PulseSequenceType").strip()
    if not dimensions and not said:
        return ""
    echo_planar = "EP" in said.split() or "EPI" in said.split()
    gradient = bool({"GR", "GRE", "GRADIENT"} & set(said.replace("\\", " ").split()))
    kind = "EPI" if echo_planar else "GRE" if gradient else said.lower()
    return f"{dimensions} {kind}".strip() if dimensions and kind else ""


def _trajectory(g: _Sequence) -> str:
    said = facts.text(facts.first_of(g.sidecars, "KSpaceTrajectory", "NonCartesianTrajectory"))
    return said.lower()


def _orientation(g: _Sequence) -> str:
    tilt = g.acquisition.tilt_degrees
    # the slices lie across the third array axis
    axis = [abs(g.acquisition.affine[row][2]) for row in range(3)]
    plane = ("sagittal", "coronal", "axial")[axis.index(max(axis))]
    return f"pure {plane}" if tilt < 0.5 else f"oblique {plane}, {tilt:.1f}° to the main field"


def _echoes(g: _Sequence) -> str:
    n, (_, times) = len(g.acquisition.echo_times), facts.echo_range(g.acquisition.echo_times)
    return f"{n} echo{'es' if n > 1 else ''}, {times}"


def _tr(g: _Sequence) -> str:
    tr = facts.repetition_time(g.sidecars)
    return f"{1e3 * tr:.4g} ms" if tr else ""


def _flip(g: _Sequence) -> str:
    angle = facts.number(g.sidecars, "FlipAngle")
    return f"{angle:g}°" if angle else ""


def _bandwidth(g: _Sequence) -> str:
    width = facts.number(g.sidecars, "PixelBandwidth")
    return f"{width:.4g} Hz/voxel" if width else ""


def _coverage(g: _Sequence) -> str:
    extent = " x ".join(f"{v:.4g}" for v in facts.field_of_view(g.acquisition))
    matrix = " x ".join(str(v) for v in facts.along_head(g.acquisition, g.acquisition.matrix))
    return f"{extent} mm, matrix {matrix}"


def _voxel(g: _Sequence) -> str:
    size = facts.along_head(g.acquisition, g.acquisition.voxel_size)
    said = f"{' x '.join(f'{v:.4g}' for v in size)} mm"
    return f"{said} (interpolated)" if facts.is_interpolated(g.sidecars) else said


def _frequency(g: _Sequence) -> str:
    return f"{g.acquisition.centre_frequency_hz / 1e6:.6g} MHz"


def _flow(g: _Sequence) -> str:
    options = facts.words(g.sidecars, "ScanOptions")
    if not options.strip():
        return ""
    found = "FC" in re.split(r"[^A-Z0-9]+", options) or "FLOW" in options
    return "yes; please add echoes and direction" if found else "no"


def _partial_fourier(g: _Sequence) -> str:
    share = facts.partial_fourier(g.sidecars)
    if share is None:
        return ""
    direction = facts.text(facts.first_of(g.sidecars, "PartialFourierDirection")).lower()
    return "no" if share == 1 else f"{share:g} {direction}".strip()


def _fat(g: _Sequence) -> str:
    options = re.split(r"[^A-Z0-9]+", facts.words(g.sidecars, "ScanOptions"))
    known = {"FS": "fat saturation", "WE": "water excitation"}
    return ", ".join(meaning for word, meaning in known.items() if word in options)


def _stated(*keys: str) -> Callable[[_Sequence], str]:
    """Return a row that one key of the sidecars fills."""
    return lambda g: facts.text(facts.first_of(g.sidecars, *keys))


_SEQUENCE_ROWS: tuple[tuple[str, Callable[[_Sequence], str], bool], ...] = (
    ("Sequence type", _sequence_type, True),
    (
        "Commercial name",
        _stated("PulseSequenceName", "SequenceName", "PulseSequenceDetails"),
        False,
    ),
    ("k-space trajectory", _trajectory, False),
    ("Orientation", _orientation, False),
    ("Number of echoes, TE1 : spacing : TEmax", _echoes, True),
    ("TR", _tr, True),
    ("Flip angle", _flip, True),
    ("Bandwidth", _bandwidth, False),
    ("Field of view and matrix", _coverage, True),
    ("Voxel size", _voxel, True),
    ("Monopolar or bipolar echoes", lambda g: facts.readout(g.sidecars, g.record)[0], False),
    ("Centre frequency", _frequency, False),
    ("Flow compensation", _flow, False),
    ("Acceleration type and factor", lambda g: facts.acceleration_text(g.sidecars), True),
    ("Partial Fourier factor", _partial_fourier, False),
    ("Partial echo", _stated("PartialEcho", "AsymmetricEcho"), False),
    ("Elliptical k-space shutter", lambda g: facts.elliptical_shutter(g.sidecars), False),
    ("Phase stabilisation", _stated("PhaseStabilization"), False),
    ("Excitation pulse", _fat, False),
    ("Scan duration", lambda g: facts.duration(g.sidecars), True),
)


def centre_frequency_table(runs: Iterable[Mapping[str, Any]]) -> Table:
    """Return mean and standard deviation of the centre frequency for each scanner (Table 4).

    Parameters
    ----------
    runs : iterable of mapping
        One per run: its raw or derived sidecar with ImagingFrequency [MHz], Manufacturer,
        ManufacturersModelName and, where known, DeviceSerialNumber, StationName or ScannerKey.

    Returns
    -------
    Table
        One row per scanner; the deviation is that of a sample, n/a for a single run.
    """
    scanners: dict[tuple[str, ...], list[float]] = defaultdict(list)
    unstated = 0
    for run in runs:
        frequency = facts.number([run], "ImagingFrequency")
        if frequency is None or frequency <= 0:
            unstated += 1
            continue
        name = (
            facts.text(run.get("Manufacturer")),
            facts.text(run.get("ManufacturersModelName")),
            facts.text(
                run.get("DeviceSerialNumber") or run.get("StationName") or run.get("ScannerKey")
            ),
            f"{facts.number([run], 'MagneticFieldStrength') or math.nan:.3g}",
        )
        # BIDS and DICOM give MHz; in Hz by mistake
        scanners[name].append(frequency / 1e6 if frequency > 1e5 else frequency)
    rows = []
    for (maker, model, serial, field), values in sorted(scanners.items()):
        mean = math.fsum(values) / len(values)
        spread = "n/a"
        if len(values) > 1:
            squares = math.fsum((v - mean) ** 2 for v in values)
            spread = f"{math.sqrt(squares / (len(values) - 1)):.6f}"
        scanner = " ".join(w for w in (maker, model) if w) or "unknown scanner"
        rows.append(
            (f"{scanner} {serial}".strip(), f"{mean:.6f}", spread, str(len(values)), field)
        )
    notes = (f"Runs that do not state ImagingFrequency: {unstated}.",) if unstated else ()
    columns = ("Scanner", "Mean [MHz]", "SD [MHz]", "Runs", "Nominal field [T]")
    return Table("Centre frequency by scanner", columns, tuple(rows), notes)
