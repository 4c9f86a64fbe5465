"""What was done, in the 1024 characters that a DICOM description has."""

from collections.abc import Mapping
from typing import Any

__all__ = ["derivation_text"]

#: Longest text of a DICOM derivation description (value representation ST).
_LONGEST = 1024
#: Keys of a sidecar with the name of a method, in the order of the pipeline.
_STEPS = (
    ("BrainExtraction", "brain mask"),
    ("PhaseOffsetCorrection", "phase offset"),
    ("Unwrapping", "unwrapping"),
    ("EchoCombination", "echoes"),
    ("R2StarFit", "R2*"),
    ("BackgroundRemoval", "background field"),
    ("DipoleInversion", "inversion"),
)
_CONSENSUS = "ISMRM consensus doi:10.1002/mrm.30006"
_PLAIN = str.maketrans({"\N{MINUS SIGN}": "-", "\\": "/", "\N{SUPERSCRIPT TWO}": "2"})


def derivation_text(sidecar: Mapping[str, Any], *, relaxation: bool = False) -> str:
    """Return the methods of a map in short.

    Parameters
    ----------
    sidecar : mapping
        Of the map.
    relaxation : bool
        A map of R2*, which the phase has no part in.

    Examples
    --------
    >>> sidecar = {"Description": "Chi", "QsmbidsVersion": "1", "ReferenceRegion": "brain"}
    >>> derivation_text(sidecar | {"DipoleInversion": {"Name": "TKD"}})
    'Chi. qsmbids 1: inversion TKD; reference brain. ISMRM consensus doi:10.1002/mrm.30006'
    """
    done = []
    for key, what in _STEPS:
        step = sidecar.get(key)
        name = step.get("Name") if isinstance(step, Mapping) else None
        if name and (what == "R2*") == relaxation:
            done.append(f"{what} {name}{_strength(step)}")
    if sidecar.get("ReferenceRegion"):
        done.append(f"reference {sidecar['ReferenceRegion']}")
    parts = [str(sidecar.get("Description") or ""), _program(sidecar, done)]
    parts += [] if relaxation else [_CONSENSUS]
    text = ". ".join(part for part in parts if part)
    # what a source in another character set cannot hold is not worth its name
    plain = text.translate(_PLAIN).encode("ascii", "replace").decode()
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 3] + "..."


def _program(sidecar: Mapping[str, Any], done: list[str]) -> str:
    version = str(sidecar.get("QsmbidsVersion") or "")
    program = f"qsmbids {version}".strip()
    return f"{program}: {'; '.join(done)}" if done else program


def _strength(step: Any) -> str:
    """Return the strength of a regularisation, which readers ask for first."""
    parameters = step.get("Parameters")
    given = parameters if isinstance(parameters, Mapping) else {}
    for key in ("GradientL1Penalty", "Lambda", "Threshold", "RegularisationParameter"):
        value = given.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f" ({key} {value:g})"
    return ""
