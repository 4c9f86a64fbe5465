"""The processing of a run against recommendations 3.a to 8.f and Tables S2.1 to S2.4."""

from collections.abc import Mapping, Sequence
from typing import Any

from qsmbids.config import Settings
from qsmbids.reports import facts
from qsmbids.reports.findings import Finding
from qsmbids.reports.parameters import Parameter
from qsmbids.reports.recommendations import ALWAYS, CHOICES, Choice
from qsmbids.reports.settings_in_force import brain_extraction, in_force, looked_up, shown

__all__ = ["check_pipeline"]

#: Tables of the paper: number, topic, section, and the method that they are about.
_TABLES = (
    ("S2.1", "parameters of the total field", "total_field", ""),
    ("S2.2", "parameters of the background field", "background_field", "vsharp"),
    ("S2.3", "parameters of the inversion", "dipole_inversion", "fansi"),
    ("S2.4", "parameters of the inversion", "dipole_inversion", "medi"),
)

#: Who makes phase images that need no further combination of coils (3.a), and by what.
_VENDORS = {
    "siemens": "Adaptive Combine with Prescan Normalize (VE11 and later)",
    "philips": "SENSE (release 5 and later)",
    "ge": "ASSET (MR30 and later)",
    "canon": "SPEEDER (MPower 2.3 and later)",
    "toshiba": "SPEEDER (MPower 2.3 and later)",
    "united imaging": "inter-coil referencing (v9 and later)",
    "uih": "inter-coil referencing (v9 and later)",
}


def check_pipeline(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    *,
    sidecars: Sequence[Mapping[str, Any]] = (),
    n_echoes: int | None = None,
) -> tuple[Finding, ...]:
    """Tell what was followed of the recommendations and what was changed, in words.

    Parameters
    ----------
    settings : Settings
        In force.
    record : mapping, optional
        Sidecar of a finished map.
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    n_echoes : int, optional
        Default: as recorded, else three.

    Returns
    -------
    tuple of Finding
        By rising number.
    """
    record = record or {}
    if n_echoes is None:
        times = record.get("EchoTime")
        n_echoes = len(times) if isinstance(times, list | tuple) else 3
    rows = in_force(settings, n_echoes, record)
    found = [
        _coil_combination(sidecars, record),
        *_conversion(sidecars),
        *_choices(rows, n_echoes),
        *(Finding(*line) for line in ALWAYS),
        _erosion(settings, record),
        _defaults(settings, n_echoes, record),
        *_tables(settings, rows),
    ]
    if brain_extraction(record) == "given":
        name = str(looked_up(record, "BrainExtraction.Name"))
        text = "The brain mask was given instead of made by brain extraction."
        found.append(Finding("5.a", "Mask 1", "changed", text, name))
    if n_echoes == 1:
        found = [f for f in found if f.recommendation != "4.b"]
    return tuple(sorted(found, key=lambda f: f.recommendation))


def _coil_combination(sidecars: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> Finding:
    """Judge the phase as it came from the scanner."""
    topic = "phase images of array coils"
    for check in ("OpenFringeLines", "FilteredPhase", "SliceJumps", "InterpolatedWraps"):
        if looked_up(record, f"PhaseChecks.{check}.Suspicious"):
            text = (
                "The phase looks damaged: save it unfiltered and with the manufacturer's"
                " recommended coil combination"
            )
            vendor = _vendor(sidecars)
            text += f", {_VENDORS[vendor]}." if vendor else "."
            return Finding("3.a", topic, "advice", text, check)
    vendor = _vendor(sidecars)
    if not looked_up(record, "PhaseChecks"):
        text = "The phase was not tested, and the sidecars do not tell how coils were combined."
        return Finding("3.a", topic, "unknown", text)
    text = "Open fringe lines, filtering and slice jumps were looked for and not found."
    if vendor:
        text += f" Recommended for this manufacturer: {_VENDORS[vendor]}."
    return Finding("3.a", topic, "pass", text)


def _vendor(sidecars: Sequence[Mapping[str, Any]]) -> str:
    name = str(facts.first_of(sidecars, "Manufacturer") or "").lower()
    return next((v for v in _VENDORS if name.startswith(v)), "")


def _conversion(sidecars: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Judge export and conversion by what the converter left in the sidecars."""
    software = str(facts.first_of(sidecars, "ConversionSoftware") or "")
    version = str(facts.first_of(sidecars, "ConversionSoftwareVersion") or "")
    value = f"{software} {version}".strip()
    if not software:
        text = "The sidecars do not tell (ConversionSoftware)."
        return [
            Finding("3.b", "export as DICOM", "unknown", text),
            Finding("3.c", "conversion to NIfTI", "unknown", text),
        ]
    if "dcm2niix" in software.lower():
        return [
            Finding("3.b", "export as DICOM", "pass", "Converted from DICOM."),
            Finding("3.c", "conversion to NIfTI", "pass", "By the recommended converter.", value),
        ]
    text = "Not by dcm2niix: make sure that left and right were not exchanged."
    return [
        Finding("3.b", "export as DICOM", "unknown", "The sidecars do not tell."),
        Finding("3.c", "conversion to NIfTI", "advice", text, value),
    ]


def _choices(rows: Sequence[tuple[Parameter, Any]], n_echoes: int) -> list[Finding]:
    """Return what the table says of each setting in force."""
    found = []
    for row, value in rows:
        if n_echoes == 1 and row.key == "total_field.phase_offset_correction":
            text = "With one echo it cannot be told from the field: acquire more echoes."
            found.append(Finding("4.c", "phase offset", "advice", text))
        elif row.key in CHOICES:
            found.append(_choice(CHOICES[row.key], value))
    return found


def _choice(known: Mapping[object, Choice], value: Any) -> Finding:
    """Return what the table says of a value; one that it does not know is not recommended."""
    if value in known:
        number, topic, verdict, text = known[value]
        return Finding(number, topic, verdict, text, shown(value))
    number, topic, _, _ = next(iter(known.values()))
    text = "Another choice than the recommended ones."
    return Finding(number, topic, "changed", text, shown(value))


def _erosion(settings: Settings, record: Mapping[str, Any]) -> Finding:
    """Say what was given up of the brain for the quality of the field."""
    before = settings.background_field.erode_before
    after = settings.background_field.erode_after
    text = "Eroded at the surface of the brain, for there the field is least reliable."
    if not before and not after:
        text = "No erosion beyond that of the method: look for artifacts at the surface."
    value = f"{shown(before, 'voxels')} before, {shown(after, 'voxels')} after"
    return Finding("6.c", "erosion against field quality", "pass", text, value)


def _defaults(settings: Settings, n_echoes: int, record: Mapping[str, Any]) -> Finding:
    """Judge the parameters of the inversion against the defaults of this software."""
    default = Settings().dipole_inversion
    changed = [
        f"{row.label} {shown(value, row.unit)}"
        f" (default {shown(getattr(default, row.name), row.unit)})"
        for row, value in in_force(settings, n_echoes, record)
        if row.section == "dipole_inversion"
        and row.name not in ("method", "holes", "regularisation")
        and value != getattr(default, row.name)
    ]
    if not changed:
        text = (
            "The default parameters. Where the protocol differs much from S1.5, tune the"
            " regularisation on a typical case and then keep it."
        )
        return Finding("7.b", "parameters of the inversion", "pass", text)
    text = f"Not the defaults: {', '.join(changed)}. Keep them the same for the whole study."
    return Finding("7.b", "parameters of the inversion", "changed", text)


def _tables(settings: Settings, rows: Sequence[tuple[Parameter, Any]]) -> list[Finding]:
    """Compare the values in force with those of the paper's tables."""
    found = []
    for number, topic, section, method in _TABLES:
        if method != getattr(getattr(settings, section), "method", ""):
            continue
        listed = [
            (row, value)
            for row, value in rows
            if row.section == section and row.paper is not None and row.name != "method"
        ]
        other = [
            f"{row.label} {shown(value, row.unit)} (paper: {shown(row.paper, row.unit)})"
            for row, value in listed
            if value != row.paper
        ]
        if other:
            found.append(Finding(number, topic, "changed", f"{'; '.join(other)}."))
        elif listed:
            found.append(Finding(number, topic, "pass", "As in the paper's table."))
    return found
