"""What the tables and the text need of the raw sidecars, kept with the maps of a run.

The pages are made again, and groups are described, when the raw data are no longer at hand.
Nothing is kept that names a person, a place or a date.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.io.derivatives import derivative_path
from qsmbids.io.metadata import Acquisition
from qsmbids.io.write import write_json

__all__ = ["acquisition_path", "describing", "load_acquisition", "save_acquisition"]

#: Keys of raw sidecars that describe scanner, sequence and conversion.
KEPT = frozenset({
    "AcquisitionDuration", "AcquisitionMatrixPE", "AsymmetricEcho", "Bandwidth",
    "CoilCombinationMethod", "CoilString",
    "CompressedSensingFactor", "ConversionSoftware", "ConversionSoftwareVersion", "EchoTime",
    "EllipticalKSpaceShutter", "FlipAngle", "GradientSetType", "GradientSystem",
    "ImagingFrequency", "Interpolation2D", "Interpolation3D", "KSpaceTrajectory",
    "MRAcquisitionType", "MagneticFieldStrength", "Manufacturer", "ManufacturersModelName",
    "NonCartesianTrajectory", "NumberOfReceiveChannels", "NumberReceiveCoilActiveElements",
    "ParallelAcquisitionTechnique", "ParallelReductionFactorInPlane",
    "ParallelReductionFactorOutOfPlane", "ParallelReductionOutOfPlane", "PartialEcho",
    "PartialFourier", "PartialFourierDirection", "PatientPosition", "PercentSampling",
    "PhaseStabilization", "PixelBandwidth", "PulseSequenceDetails", "PulseSequenceName",
    "PulseSequenceType", "ReadoutMode", "ReceiveCoilName", "ReconMatrixPE", "RepetitionTime",
    "RepetitionTimeExcitation", "ScanOptions", "ScannerKey", "ScanningSequence", "SequenceName",
    "SequenceVariant", "SliceThickness", "SoftwareVersions", "SpacingBetweenSlices",
    "SpoilingState", "TotalScanTimeSec", "TransmitCoilName",
})  # fmt: skip

#: What tells scanners of one model apart; kept as a digest only.
_SERIAL = ("DeviceSerialNumber", "StationName")
_LONGEST_TEXT = 300

#: Fields of an acquisition that the tables need.
_FIELDS = [
    f.name
    for f in dataclasses.fields(Acquisition)
    if f.name not in ("decisions", "warnings", "extra")
]


def acquisition_path(out_dir: Path, entities: Mapping[str, str]) -> Path:
    """Return ``anat/<run>_desc-acquisition_stats.json``."""
    return derivative_path(
        out_dir,
        entities,
        datatype="anat",
        suffix="stats",
        desc="acquisition",
        extension=".json",
    )


def describing(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a raw sidecar says of scanner and sequence, and of nobody.

    Parameters
    ----------
    sidecar : mapping
        Merged raw metadata of one echo.

    Returns
    -------
    dict
        Text, numbers and lists of them; ``ScannerKey`` stands for the serial number.
    """
    kept = {k: v for k, v in sidecar.items() if k in KEPT and _is_plain(v)}
    serial = [str(sidecar[key]) for key in _SERIAL if sidecar.get(key)]
    if serial:
        kept["ScannerKey"] = hashlib.sha256(serial[0].encode()).hexdigest()[:8]
    return kept


def save_acquisition(
    out_dir: Path,
    entities: Mapping[str, str],
    acquisition: Acquisition,
    sidecars: Sequence[Mapping[str, Any]],
    sources: Sequence[str] = (),
) -> Path:
    """Write what a run's tables need beside its maps.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    entities : mapping
        Of the run.
    acquisition : Acquisition
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    sources : sequence of str
        BIDS URIs of the raw images.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    content = {
        "Description": "Scanner and sequence, from the raw sidecars, for the tables of the report",
        "Sources": list(sources),
        "Acquisition": {name: getattr(acquisition, name) for name in _FIELDS},
        "Sidecars": [describing(sidecar) for sidecar in sidecars],
    }
    return write_json(acquisition_path(out_dir, entities), content)


def load_acquisition(path: Path) -> tuple[Acquisition, tuple[dict[str, Any], ...]] | None:
    """Read what :func:`save_acquisition` wrote; None where it is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
        given = content["Acquisition"]
        values = {name: _tuple(given[name]) for name in _FIELDS}
        acquisition = Acquisition(**values)
        times = [float(t) for t in acquisition.echo_times]
        sidecars = tuple(describing(s) for s in content["Sidecars"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (acquisition, sidecars) if times else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 64 and all(
            not isinstance(v, list | tuple) and _is_plain(v) for v in value
        )
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return isinstance(value, bool | int | float)


def _tuple(value: Any) -> Any:
    return tuple(_tuple(v) for v in value) if isinstance(value, list) else value
