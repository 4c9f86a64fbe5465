"""Whether a run is of 2-D slices, each of which may have a phase of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qsmbids.core.phase.missing_phase import read_phase_numbers
from qsmbids.core.phase.phase_checks import detect_slice_jumps
from qsmbids.core.phase.phase_scale import to_radians
from qsmbids.core.phase.slice_offsets import slice_roughness
from qsmbids.io.metadata import Acquisition
from qsmbids.io.nifti import read_volume
from qsmbids.io.runs import Run

__all__ = ["is_echo_planar", "slice_axis"]

#: Jumps of the phase from slice to slice [rad] that no 3-D scan has; random phases have 1.5.
_JUMP = 0.8
#: Magnitude of the head, relative to the strongest percent.
_HEAD = 0.1
_AXES = {"i": 0, "j": 1, "k": 2}


def slice_axis(run: Run, acquisition: Acquisition, setting: str) -> tuple[int | None, str]:
    """Return the array axis across the slices of a 2-D scan, and what that follows from.

    Parameters
    ----------
    run : Run
    acquisition : Acquisition
    setting : {"auto", "2d", "3d"}
        By ``auto``, the sidecar decides; where it does not say and there is a single echo, jumps
        of the phase do. Of several echoes the data show it later, exactly.

    Returns
    -------
    axis : int or None
        None for a 3-D scan.
    text : str
        For the log; "" where nothing was found.
    """
    stated = str(acquisition.extra.get("MRAcquisitionType") or "").strip().upper()
    direction = str(run.sidecars[0].get("SliceEncodingDirection") or "k").strip()[:1].lower()
    axis = _AXES.get(direction, 2)
    if setting == "2d":
        return axis, f"2-D slices along axis {axis}, as set"
    if setting == "3d" or stated == "3D":
        return None, ""
    if stated == "2D" or is_echo_planar(run.sidecars):
        return axis, f"2-D slices along axis {axis} by the sidecar"
    if stated or len(run.echoes) > 1 or not run.phase:
        return None, ""
    try:
        phase = read_volume(run.phase[0]).array
        words = acquisition.extra.get("ImageType")
        numbers = read_phase_numbers(
            [phase], units=acquisition.phase_units, image_type=words if words else ()
        )
        magnitude = read_volume(run.magnitude[0]).array
        head = magnitude > _HEAD * np.quantile(magnitude, 0.99)
        radians = to_radians(phase, numbers.scale)
        check = detect_slice_jumps(radians, head, magnitude=magnitude)
    except ValueError:  # the step that reads the phase says what is wrong with it
        return None, ""
    if not check.suspicious or check.value <= _JUMP:
        return None, ""
    axis = slice_roughness(radians, magnitude)[1]
    return axis, f"2-D slices along axis {axis}, for the phase jumps between them"


def is_echo_planar(sidecars: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a run is of echo planar images, by its sidecars."""
    keys = ("ScanningSequence", "PulseSequenceType")
    said = " ".join(str(s.get(key) or "") for s in sidecars for key in keys).upper()
    words = said.replace("\\", " ").replace("_", " ").replace("'", " ").replace(",", " ").split()
    return bool({"EP", "EPI"} & set(words)) or "ECHO PLANAR" in said
