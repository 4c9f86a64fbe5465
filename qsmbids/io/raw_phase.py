"""The phase of a run as it lies in the dataset: what its numbers are, and whether it is filtered.

What a dry run tells of the images; a run that is begun finds the same from all it has read.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qsmbids.core.maths.arrays import Float32Array
from qsmbids.core.phase.magnitude import signal_mask
from qsmbids.core.phase.missing_phase import numbers_seen
from qsmbids.core.phase.phase_checks import PhaseCheck, detect_filtered_phase, tells_filter
from qsmbids.core.phase.phase_scale import PhaseScale, to_radians
from qsmbids.core.phase.phase_statistics import VolumeNumbers, volume_numbers
from qsmbids.io.metadata import Acquisition
from qsmbids.io.nifti import Stored, read_stored, read_volume
from qsmbids.io.nifti_header import check_matrix, read_header
from qsmbids.io.phase_filter import TOO_EARLY
from qsmbids.io.runs import Run

__all__ = ["RawPhase", "measure_filter_of", "read_raw_phase"]


class RawPhase(NamedTuple):
    """How the numbers of the phase are read, and those of the last echo."""

    scale: PhaseScale
    last: Float32Array


def read_raw_phase(run: Run, acquisition: Acquisition, *, n_threads: int = 1) -> RawPhase:
    """Look at the phase of all echoes; every file is read once, ``n_threads`` at a time.

    Raises
    ------
    InputError
        An image cannot be read, or is of another shape than the first.
    ValueError
        The numbers are no phase.
    """
    first = read_header(run.phase[0])

    def read(path: Path) -> Stored:
        stored = read_stored(path)
        check_matrix(path, stored.header, run.phase[0], first)
        return stored

    with ThreadPoolExecutor(max_workers=max(1, n_threads - 1)) as pool:
        others = pool.map(lambda path: _numbers(read(path)), run.phase[:-1])
        last = read(run.phase[-1])
        volume = last.scaled(last.array)
        seen = [*others, _numbers(last)]
    words = acquisition.extra.get("ImageType") or ()
    return RawPhase(
        numbers_seen(seen, units=acquisition.phase_units, image_type=words).scale, volume
    )


def measure_filter_of(
    raw: RawPhase, run: Run, acquisition: Acquisition, *, n_threads: int = 1
) -> PhaseCheck:
    """Tell whether the last echo looks filtered.

    Raises
    ------
    InputError, ValueError
        The magnitude cannot be read, or there is nothing in it.
    """
    if not tells_filter(acquisition.echo_times[-1], acquisition.b0_tesla):
        return TOO_EARLY
    strength = read_volume(run.magnitude[-1])
    return detect_filtered_phase(
        to_radians(raw.last, raw.scale, n_threads=n_threads),
        strength.array,
        signal_mask(strength.array),
        strength.adult_voxel_size,
    )


def _numbers(stored: Stored) -> VolumeNumbers:
    """Look at the numbers of a file without turning the volume around in memory."""
    seen = volume_numbers(stored.array)
    if not seen.n_finite:
        return seen
    ends = stored.scaled(np.array([seen.minimum, seen.maximum], stored.array.dtype))
    if not np.isfinite(ends).all():  # too large for the type that all are computed in
        return volume_numbers(stored.scaled(stored.array))
    sample = stored.scaled(seen.sample.astype(stored.array.dtype)).astype(np.float64)
    return VolumeNumbers(float(ends.min()), float(ends.max()), seen.n_finite, sample)
