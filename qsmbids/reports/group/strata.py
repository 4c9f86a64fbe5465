"""Which runs of a group may be compared: those of one scanner and one protocol."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from qsmbids.reports.group.runs import GroupRun
from qsmbids.reports.paper import facts

__all__ = ["protocol_of", "scanner_of", "set_strata"]

#: What makes a protocol another one for the values of a map.
_PROTOCOL = (
    "MagneticFieldStrength",
    "EchoTime",
    "RepetitionTimeExcitation",
    "FlipAngle",
    "VoxelSize",
)
#: Rounding of a scanner, such as 2.8936 T for 2.89 T.
_DIGITS = ".2g"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def scanner_of(run: GroupRun) -> tuple[str, ...]:
    """Return manufacturer, model and key of a scanner, as far as they are stated."""
    known = run.acquisition
    serial = known.get("ScannerKey") or known.get("DeviceSerialNumber") or known.get("StationName")
    names = (known.get("Manufacturer"), known.get("ManufacturersModelName"), serial)
    return tuple(facts.text(name) for name in names)


def protocol_of(run: GroupRun) -> tuple[str, ...]:
    """Return what a protocol is told by, to two digits."""
    return tuple(_rounded(run.acquisition.get(name)) for name in _PROTOCOL)


def _rounded(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_rounded(v) for v in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format(value, _DIGITS)
    return facts.text(value)


def set_strata(runs: Sequence[GroupRun]) -> None:
    """Name scanner and protocol of every run, where the group has more than one of them.

    Runs without a map have no part in what there is.
    """
    processed = [run for run in runs if run.status == "ok"]
    for word, kind_of in (("scanner", scanner_of), ("protocol", protocol_of)):
        kinds = pd.Series([kind_of(run) for run in processed], dtype=object)
        codes, different = pd.factorize(kinds)  # in the order in which they come
        for run, code in zip(processed, codes, strict=True) if len(different) > 1 else ():
            name = f"{word}-{_LETTERS[code] if code < len(_LETTERS) else code + 1}"
            run.compared_with = f"{run.compared_with}_{name}".strip("_")
