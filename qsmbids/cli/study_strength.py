"""``--adaptive-from``: one strength for a study, from those that finished adaptive runs found."""

import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError

__all__ = ["study_strength"]

logger = logging.getLogger("qsmbids")

#: Echo times and fields closer than this share are the same protocol.
_SAME = 0.02


@dataclass(frozen=True)
class _AdaptiveRun:
    """What a finished run found: the values of ``Method.study``, last echo [s] and field [T]."""

    label: str
    method: str
    values: tuple[float, ...]
    protocol: tuple[float, float]


def study_strength(folder: Path) -> dict[str, Any]:
    """Return settings by their dotted keys, with the median strength of finished adaptive runs.

    Parameters
    ----------
    folder : Path
        Output dataset of runs with the preset ``adaptive``.

    Raises
    ------
    InputError
        There is none, or they are of more than one protocol or inversion.
    """
    from qsmbids.methods.declaration import declared
    from qsmbids.methods.dipole_inversion import INVERSION

    if not folder.is_dir():
        raise InputError("is no folder", str(folder), "Name the output of adaptive runs.")
    runs = _adaptive_runs(folder)
    if not runs:
        raise InputError(
            "holds no finished run with an adaptive regularisation",
            str(folder),
            "Process some typical runs with --preset adaptive first.",
        )
    _check_alike(folder, runs)
    method = INVERSION[runs[0].method]
    medians = [
        statistics.median(column) for column in zip(*(run.values for run in runs), strict=True)
    ]
    origin = f"median of {len(runs)} adaptive run{'s' if len(runs) > 1 else ''}"
    logger.info(
        "%s %.4g, %s (%.4g to %.4g) in %s",
        declared(method.settings)[method.study[0]].label,
        medians[0],
        origin,
        min(run.values[0] for run in runs),
        max(run.values[0] for run in runs),
        folder,
    )
    section = f"dipole_inversion.{method.name}"
    found = dict(zip(method.study, medians, strict=True))
    return {
        "dipole_inversion.method": method.name,
        "dipole_inversion.regularisation_from": origin,
        f"{section}.regularisation": "fixed",
        **{f"{section}.{name}": float(f"{median:.4g}") for name, median in found.items()},
    }


def _adaptive_runs(folder: Path) -> list[_AdaptiveRun]:
    """Return what the finished adaptive runs of a folder found."""
    from qsmbids.methods.declaration import sidecar_key
    from qsmbids.methods.dipole_inversion import INVERSION
    from qsmbids.reports.paper.settings_in_force import looked_up
    from qsmbids.reports.run.record import find_results, read_run

    runs = []
    for result in find_results(folder):
        record = read_run(folder, result)
        metadata = record.metadata
        if looked_up(metadata, "DipoleInversion.Parameters.Regularisation") != "adaptive":
            continue
        method = INVERSION.titled(str(looked_up(metadata, "DipoleInversion.Name")))
        if method is None or record.status not in ("ok", "unknown"):
            continue
        keys = [f"DipoleInversion.Parameters.{sidecar_key(name)}" for name in method.study]
        values = [looked_up(metadata, key) for key in keys]
        if None in values:
            continue
        protocol = float(metadata["EchoTime"][-1]), float(metadata["MagneticFieldStrength"])
        runs.append(_AdaptiveRun(record.label, method.name, tuple(map(float, values)), protocol))
    return runs


def _check_alike(folder: Path, runs: Sequence[_AdaptiveRun]) -> None:
    """Refuse runs whose strengths do not count in the same unit (radians at the last echo).

    Raises
    ------
    InputError
        An inversion, a last echo or a field strength is not that of the others.
    """
    first, *others = runs
    for run in others:
        if run.method != first.method:
            raise InputError(
                f"has adaptive runs of more than one inversion ({first.label}: {first.method},"
                f" {run.label}: {run.method})",
                str(folder),
                "Process with each inversion into a folder of its own.",
            )
        pairs = zip(run.protocol, first.protocol, strict=True)
        if any(abs(a - b) > _SAME * b for a, b in pairs):
            raise InputError(
                f"has adaptive runs of more than one protocol ({first.label} and {run.label})",
                str(folder),
                "Process each protocol into a folder of its own, or with --participant-label.",
            )
