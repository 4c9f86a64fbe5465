"""What the numbers of a phase image mean, by its sidecar and by themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qsmbids.core.phase.missing_phase import read_phase_numbers
from qsmbids.core.phase.phase_scale import PhaseScale
from qsmbids.errors import InputError

__all__ = ["phase_scale_of"]


def phase_scale_of(
    volumes: Sequence[npt.NDArray[Any]], sidecar: Mapping[str, Any], path: Path
) -> PhaseScale:
    """Return the scale of phase volumes of one image.

    Raises
    ------
    InputError
        The numbers are no phase; names ``path``.
    """
    words, units = sidecar.get("ImageType"), sidecar.get("Units")
    try:
        return read_phase_numbers(
            volumes,
            units=units if units in ("rad", "arbitrary") else None,
            image_type=words if isinstance(words, list) else (),
        ).scale
    except ValueError as error:
        raise InputError(str(error), str(path)) from error
