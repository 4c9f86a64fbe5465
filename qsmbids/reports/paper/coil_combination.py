"""How the coils were combined, against 3.a and Supplementary III: method, vendor and version."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmbids.reports.paper import facts
from qsmbids.reports.paper.findings import Finding
from qsmbids.reports.paper.settings_in_force import looked_up

__all__ = ["Vendor", "check_coil_combination", "software_version", "vendor_of"]

_TOPIC = "phase images of array coils"
#: Signs of a combination that went wrong, or of phase that was not left alone.
_DAMAGE = ("OpenFringeLines", "FilteredPhase", "SliceJumps", "InterpolatedWraps")
#: Highest field with a body coil to take the phase of the array from [T].
_BODY_COIL = 3.0
_ABOVE = 1.1


@dataclass(frozen=True)
class Vendor:
    """What the paper says of a manufacturer.

    Attributes
    ----------
    names : tuple of str
        Beginnings of ``Manufacturer``, in lower case.
    solution : str
        Recommended way.
    since : tuple of int
        Version from which it is recommended.
    since_text : str
    version : str
        Regular expression of the version in ``SoftwareVersions``.
    older : str
        What Supplementary III has for older software.
    """

    names: tuple[str, ...]
    solution: str
    since: tuple[int, ...]
    since_text: str
    version: str
    older: str = ""


_VENDORS = (
    Vendor(
        ("siemens",),
        "Adaptive Combine with Prescan Normalize",
        (11,),
        "VE11",
        # VE11 as "syngo MR E11"; the letters before the number are generations, XA after VE
        r"(NXVA|XA|\bV?[A-E])(\d+)",
        "ASPIRE, or single channels combined offline",
    ),
    Vendor(
        ("philips",),
        "SENSE",
        (5,),
        "release 5",
        r"(?:^|[^\d.])R?(\d+)\.(\d+)",
        "SENSE of release 4 with a research key",
    ),
    Vendor(
        ("ge",),
        "ASSET",
        (30,),
        "MR30",
        r"(?:MR|DV|RX|PX|VX|HDxt?_?|HD)(\d+)(?:\.(\d+))?",
        "the product sequences SWAN and MERGE or a research sequence, with a research key",
    ),
    Vendor(
        ("canon", "toshiba"), "SPEEDER", (2, 3), "MPower 2.3", r"V?(\d+)\.(\d)", "raw data offline"
    ),
    Vendor(
        ("united imaging", "uih"),
        "inter-coil referencing",
        (9,),
        "v9",
        r"(?i)\b(?:umr[ _]?)?[vr](\d+)",
        "raw data offline",
    ),
)
#: Siemens' generations before XA in their order, VA to VE.
_GENERATIONS = "ABCDE"


def vendor_of(sidecars: Sequence[Mapping[str, Any]]) -> Vendor | None:
    """Return what the paper says of the manufacturer of a scan, None where it does not."""
    name = str(facts.first_of(sidecars, "Manufacturer") or "").strip().lower()
    return next((v for v in _VENDORS if name.startswith(v.names)), None)


def software_version(vendor: Vendor, software: str) -> tuple[int, ...] | None:
    """Return the version in a manufacturer's own words, None where it cannot be told.

    Examples
    --------
    >>> siemens = vendor_of([{"Manufacturer": "Siemens"}])
    >>> software_version(siemens, "syngo MR E11")
    (11,)
    >>> software_version(siemens, "syngo MR B17") < siemens.since
    True
    """
    match = re.search(vendor.version, software)
    if match is None:
        return None
    if vendor.names == ("siemens",):
        generation = len(_GENERATIONS) if "X" in match[1] else _GENERATIONS.index(match[1][-1])
        known = _GENERATIONS.index("E")
        number = int(match[2])
        return (number if generation == known else 1000 if generation > known else 0,)
    return tuple(int(g) for g in match.groups() if g is not None)


def check_coil_combination(
    sidecars: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> Finding:
    """Judge the phase as it came from the scanner (3.a).

    Parameters
    ----------
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    record : mapping
        Sidecars of the run, for the tests of the phase.
    """
    vendor = vendor_of(sidecars)
    method = facts.text(facts.first_of(sidecars, "CoilCombinationMethod"))
    software = facts.text(facts.first_of(sidecars, "SoftwareVersions"))
    value = "; ".join(word for word in (method, software) if word)
    wanted = f"{vendor.solution} ({vendor.since_text} and later)" if vendor else ""
    for check in _DAMAGE:
        if looked_up(record, f"PhaseChecks.{check}.Suspicious"):
            text = (
                "The phase looks damaged: save it unfiltered and with the manufacturer's"
                " recommended coil combination"
            )
            text += f", {wanted}." if wanted else "."
            return Finding("3.a", _TOPIC, "advice", text, "; ".join(filter(None, (check, value))))
    tested = (
        "Open fringe lines, filtering and slice jumps were looked for and not found."
        if looked_up(record, "PhaseChecks")
        else "The phase was not tested."
    )
    if _is_magnitude_only(method):
        text = f"{tested} {method} leaves the phases of the coils: use "
        return Finding("3.a", _TOPIC, "advice", text + (wanted or "another method") + ".", value)
    if (coils := looked_up(record, "CoilCombination.Coils")) and method.startswith("MCPC-3D-S"):
        text = f"{tested} {coils} single channels were combined offline by MCPC-3D-S."
        return Finding("3.a", _TOPIC, "pass", text, value)
    if vendor is None:
        text = f"{tested} The paper says nothing of this manufacturer, or it is not stated."
        return Finding("3.a", _TOPIC, "unknown", text, value)
    return _by_version(vendor, software, sidecars, tested, value)


def _by_version(
    vendor: Vendor,
    software: str,
    sidecars: Sequence[Mapping[str, Any]],
    tested: str,
    value: str,
) -> Finding:
    """Judge by what the software of the scanner offers."""
    wanted = f"{vendor.solution} ({vendor.since_text} and later)"
    found = software_version(vendor, software) if software else None
    if found is None:
        text = f"{tested} The version of the scanner is not known; recommended: {wanted}."
        return Finding("3.a", _TOPIC, "unknown", text, value)
    b0 = facts.number(sidecars, "MagneticFieldStrength") or 0.0
    if vendor.names == ("siemens",) and b0 > _ABOVE * _BODY_COIL:
        text = (
            f"{tested} {vendor.solution} is for systems up to 3 T; above, ASPIRE or a combination"
            " of single channels, such as MCPC-3D-S."
        )
        return Finding("3.a", _TOPIC, "unknown", text, value)
    if found < vendor.since:
        text = f"{tested} This software is older than {vendor.since_text}, from which"
        text += f" {vendor.solution} is recommended; before: {vendor.older}."
        return Finding("3.a", _TOPIC, "advice", text, value)
    text = f"{tested} This software has what is recommended, {vendor.solution}"
    stated = facts.text(facts.first_of(sidecars, "CoilCombinationMethod")).lower()
    if vendor.names != ("siemens",) or "adaptive" in stated:
        return Finding("3.a", _TOPIC, "pass", f"{text}.", value)
    return Finding("3.a", _TOPIC, "pass", f"{text}; whether it was used is not stated.", value)


def _is_magnitude_only(method: str) -> bool:
    """Return whether a method keeps nothing of the phase that a body coil would give."""
    words = re.sub(r"[^a-z]+", " ", method.lower())
    return "sum of squares" in words or "sos" in words.split()
