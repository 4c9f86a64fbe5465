"""``--adaptive-from``: one strength for a study, from those that finished adaptive runs found."""

import logging
import statistics
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError

__all__ = ["study_strength"]

logger = logging.getLogger("qsmbids")

#: Echo times and fields closer than this share are the same protocol.
_SAME = 0.02


def study_strength(folder: Path) -> dict[str, Any]:
    """Return settings by their dotted keys, with the median strength of finished adaptive runs.

    Parameters
    ----------
    folder : Path
        Output dataset of runs with the preset ``adaptive``.

    Raises
    ------
    InputError
        There is none, or they are of more than one protocol.
    """
    from qsmbids.reports.paper.settings_in_force import looked_up
    from qsmbids.reports.run.record import find_results, read_run

    if not folder.is_dir():
        raise InputError("is no folder", str(folder), "Name the output of adaptive runs.")
    strengths: dict[str, tuple[float, float]] = {}
    protocols: dict[str, tuple[float, float]] = {}
    for result in find_results(folder):
        record = read_run(folder, result)
        metadata = record.metadata
        if looked_up(metadata, "DipoleInversion.Parameters.Regularisation") != "adaptive":
            continue
        values = [
            looked_up(metadata, f"DipoleInversion.Parameters.{name}")
            for name in ("GradientL1Penalty", "GradientConsistency")
        ]
        if record.status not in ("ok", "unknown") or None in values:
            continue
        strengths[record.label] = (float(values[0]), float(values[1]))
        protocols[record.label] = (
            float(metadata["EchoTime"][-1]),
            float(metadata["MagneticFieldStrength"]),
        )
    if not strengths:
        raise InputError(
            "holds no finished run with an adaptive regularisation",
            str(folder),
            "Process some typical runs with --preset adaptive first.",
        )
    _check_protocols(folder, protocols)
    penalty, consistency = (
        statistics.median(values) for values in zip(*strengths.values(), strict=True)
    )
    n = len(strengths)
    origin = f"median of {n} adaptive run{'s' if n > 1 else ''}"
    logger.info(
        "gradient L1 penalty %.4g, %s (%.4g to %.4g) in %s",
        penalty,
        origin,
        min(v[0] for v in strengths.values()),
        max(v[0] for v in strengths.values()),
        folder,
    )
    return {
        "dipole_inversion.method": "fansi",
        "dipole_inversion.regularisation_from": origin,
        "dipole_inversion.fansi.regularisation": "fixed",
        "dipole_inversion.fansi.gradient_l1_penalty": float(f"{penalty:.4g}"),
        "dipole_inversion.fansi.gradient_consistency": float(f"{consistency:.4g}"),
    }


def _check_protocols(folder: Path, protocols: dict[str, tuple[float, float]]) -> None:
    """Refuse runs whose strengths do not count in the same unit (radians at the last echo).

    Raises
    ------
    InputError
        A last echo or a field strength is not that of the others.
    """
    (first, reference), *others = protocols.items()
    for label, values in others:
        if any(abs(a - b) > _SAME * b for a, b in zip(values, reference, strict=True)):
            raise InputError(
                f"has adaptive runs of more than one protocol ({first} and {label})",
                str(folder),
                "Process each protocol into a folder of its own, or with --participant-label.",
            )
