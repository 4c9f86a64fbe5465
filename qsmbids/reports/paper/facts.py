"""Facts of an acquisition, whatever key of the sidecar holds them."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np

from qsmbids.io.metadata import Acquisition

__all__ = [
    "acceleration",
    "acceleration_text",
    "along_head",
    "duration",
    "echo_range",
    "elliptical_shutter",
    "field_of_view",
    "first_of",
    "is_interpolated",
    "listed",
    "number",
    "partial_fourier",
    "readout",
    "receive_channels",
    "receive_coil",
    "repetition_time",
    "text",
    "words",
]

Sidecars = Sequence[Mapping[str, Any]]

#: Larger differences of the echo spacings are more than rounding, as a share of the spacing.
_SPACING_TOLERANCE = 0.02

#: No gradient echo sequence of a brain has a longer TR [s]; the number is in ms.
_LONGEST_TR = 5.0


def first_of(sidecars: Sidecars, *keys: str) -> Any:
    """Return the first stated value of the first key that is stated, else None."""
    for key in keys:
        for sidecar in sidecars:
            if sidecar.get(key) not in (None, "", []):
                return sidecar[key]
    return None


def number(sidecars: Sidecars, *keys: str) -> float | None:
    """Return the first value of ``keys`` that is a finite number, else None."""
    for key in keys:
        for sidecar in sidecars:
            value = sidecar.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                continue
            try:
                found = float(value)
            except ValueError:
                continue
            if math.isfinite(found):
                return found
    return None


def listed(values: Sequence[float], form: str = "g") -> str:
    """Return numbers with commas between them."""
    return ", ".join(format(value, form) for value in values)


def words(sidecars: Sidecars, *keys: str) -> str:
    """Return what some keys say as one upper-case line, for words to be looked up in."""
    said: list[str] = []
    for key in keys:
        value = first_of(sidecars, key)
        said += [str(v) for v in value] if isinstance(value, list | tuple) else [str(value or "")]
    return " ".join(said).upper()


def repetition_time(sidecars: Sidecars) -> float | None:
    """Return TR [s], from BIDS' key for an image of an anatomy or from dcm2niix'."""
    found = number(sidecars, "RepetitionTimeExcitation", "RepetitionTime")
    if found is None or found <= 0:
        return None
    return found / 1000.0 if found > _LONGEST_TR else found


def echo_range(echo_times: Sequence[float]) -> tuple[float | None, str]:
    """Return the spacing [s], None where it is not uniform, and TE1 : spacing : TEmax in ms."""
    milliseconds = [1000.0 * t for t in echo_times]
    if len(milliseconds) < 2:
        return None, f"{listed(milliseconds, '.4g')} ms"
    gaps = [b - a for a, b in itertools.pairwise(milliseconds)]
    mean = sum(gaps) / len(gaps)
    if max(abs(gap - mean) for gap in gaps) > _SPACING_TOLERANCE * mean:
        return None, f"{listed(milliseconds, '.4g')} ms"
    return mean / 1000.0, f"{milliseconds[0]:.4g} : {mean:.4g} : {milliseconds[-1]:.4g} ms"


def readout(sidecars: Sidecars, record: Mapping[str, Any]) -> tuple[str, str]:
    """Return "monopolar", "bipolar" or "", and whether the data or the sidecars say so."""
    evidence = record.get("ReadoutCorrection")
    if isinstance(evidence, Mapping) and isinstance(evidence.get("Bipolar"), bool):
        return ("bipolar" if evidence["Bipolar"] else "monopolar"), "the phase of the echoes"
    said = words(sidecars, "ReadoutMode", "PulseSequenceDetails", "ScanOptions")
    for word in ("bipolar", "monopolar"):
        if word.upper() in said:
            return word, "the sidecar"
    return "", ""


def acceleration(sidecars: Sidecars) -> tuple[float | None, float | None, str]:
    """Return the factor in phase and slice direction and the technique; None where not stated.

    A factor above 1 in one direction tells that the other was not accelerated.
    """
    phase = number(sidecars, "ParallelReductionFactorInPlane")
    slices = number(sidecars, "ParallelReductionFactorOutOfPlane", "ParallelReductionOutOfPlane")
    technique = first_of(sidecars, "ParallelAcquisitionTechnique")
    compressed = number(sidecars, "CompressedSensingFactor")
    if phase is None and slices is None and compressed is not None:
        return compressed, 1.0, str(technique or "compressed sensing")
    if phase is None and slices is None and technique is None:
        return None, None, ""
    return phase, slices, str(technique or "")


def receive_coil(sidecars: Sidecars) -> str:
    """Return the name of the receive coil, from BIDS' key or from that of the converter."""
    name = text(first_of(sidecars, "ReceiveCoilName", "CoilString"))
    return "" if name.upper() == "MULTI COIL" else name  # Philips' word for any array


def receive_channels(sidecars: Sidecars) -> int | None:
    """Return the number of receive channels that a coil's name tells, as in HeadNeck_64."""
    stated = number(sidecars, "NumberReceiveCoilActiveElements", "NumberOfReceiveChannels")
    if stated is not None:
        return int(stated)
    name = receive_coil(sidecars)
    counts = [int(n) for n in re.findall(r"(?<![0-9.])([0-9]{1,3})(?![0-9.])", name)]
    likely = [n for n in counts if 4 <= n <= 128]
    return max(likely) if likely else None


def along_head(acquisition: Acquisition, values: Sequence[float]) -> tuple[float, float, float]:
    """Return values of the array axes by anterior-posterior, left-right and head-foot.

    Parameters
    ----------
    acquisition : Acquisition
    values : (3,) sequence
        One per array axis; an oblique axis counts for the nearest direction.
    """
    axes = list(nib.orientations.io_orientation(np.asarray(acquisition.affine))[:, 0])
    right, anterior, head = (values[axes.index(world)] for world in range(3))
    return anterior, right, head


def field_of_view(acquisition: Acquisition) -> tuple[float, float, float]:
    """Return the extent along anterior-posterior, left-right and head-foot [mm]."""
    extents = [n * v for n, v in zip(acquisition.matrix, acquisition.voxel_size, strict=True)]
    return along_head(acquisition, extents)


def is_interpolated(sidecars: Sidecars) -> bool | None:
    """Return whether the scanner interpolated the images; None where nothing tells."""
    flags = [first_of(sidecars, key) for key in ("Interpolation2D", "Interpolation3D")]
    stated = [
        bool(f) and str(f) not in ("0", "0.0", "NO", "False") for f in flags if f is not None
    ]
    acquired = number(sidecars, "AcquisitionMatrixPE")
    rebuilt = number(sidecars, "ReconMatrixPE")
    if acquired and rebuilt:
        stated.append(rebuilt > 1.1 * acquired)
    thickness = number(sidecars, "SliceThickness")
    spacing = number(sidecars, "SpacingBetweenSlices")
    if thickness and spacing and thickness > 1.1 * spacing:
        stated.append(True)
    return any(stated) if stated else None


def acceleration_text(sidecars: Sidecars) -> str:
    """Return technique and factors in words, "" where they are not stated."""
    phase, slices, technique = acceleration(sidecars)
    if phase is None and slices is None:
        return f"{technique} acceleration" if technique else ""
    one, two = phase or 1.0, slices or 1.0
    if max(one, two) <= 1.0:
        return "no acceleration"
    along = [
        f"{factor:g} in {direction} direction"
        for factor, direction in ((one, "phase"), (two, "slice"))
        if factor > 1.0
    ]
    return f"{technique} acceleration by {' and '.join(along)}".strip()


def partial_fourier(sidecars: Sidecars) -> float | None:
    """Return the share of k-space along the phase direction, above 0 and up to 1."""
    share = number(sidecars, "PartialFourier")
    return share if share is not None and 0 < share <= 1 else None


def elliptical_shutter(sidecars: Sidecars) -> str:
    """Return whether the corners of k-space were left out, "" where nothing tells.

    An ellipse is pi/4 of its rectangle, and Philips states the share that was sampled.
    """
    stated = text(first_of(sidecars, "EllipticalKSpaceShutter"))
    sampled = number(sidecars, "PercentSampling")
    if stated or sampled is None or abs(sampled - 25.0 * math.pi) > 0.1:
        return stated
    return f"yes ({sampled:.1f} % sampled)"


def duration(sidecars: Sidecars) -> str:
    """Return how long the scan took in minutes and seconds, "" where it is not stated."""
    seconds = number(sidecars, "AcquisitionDuration", "TotalScanTimeSec")
    if not seconds or seconds <= 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def text(value: Any) -> str:
    """Return a value of a sidecar as one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else " ".join(str(value).split())
