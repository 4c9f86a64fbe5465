"""The processing of a run against recommendations 3.a to 8.g and Tables S2.1 to S2.4."""

from collections.abc import Mapping, Sequence
from typing import Any

from qsmbids.config import Settings
from qsmbids.io.metadata import Acquisition
from qsmbids.io.slices import is_echo_planar
from qsmbids.methods.declaration import Answer
from qsmbids.methods.dipole_inversion import INVERSION
from qsmbids.methods.sections import Parameter
from qsmbids.reports.paper import facts
from qsmbids.reports.paper.coil_combination import check_coil_combination
from qsmbids.reports.paper.findings import Finding
from qsmbids.reports.paper.phase_filter_check import check_phase_filter
from qsmbids.reports.paper.regularisation_check import check_regularisation
from qsmbids.reports.paper.settings_in_force import (
    follows,
    in_force,
    looked_up,
    paper_value,
    ran,
    shown,
)
from qsmbids.reports.paper.step_checks import STEP_CHECKS, missing_because

__all__ = ["check_pipeline"]

#: Tables of the paper: number, topic, section, and the setting and value that they are about.
_TABLES = (
    ("S2.1", "parameters of the total field", "total_field", "", ""),
    ("S2.2", "parameters of the background field", "background_field", "method", "vsharp"),
    ("S2.3", "parameters of the inversion", "dipole_inversion", "method", "fansi"),
    ("S2.4", "parameters of the inversion", "dipole_inversion", "method", "medi"),
)
#: Recommendations about a choice, and what to call them where none was made.
_ABSENT = {
    "total_field.echo_phase_combination": ("4.c", "unwrapping and echo combination"),
    "masks.reliable_phase": ("5.a", "Mask 2"),
    "background_field.method": ("6.a", "background field removal"),
    "dipole_inversion.method": ("7.a", "dipole inversion"),
    "reference.region": ("8.c", "reference"),
}
#: Parameters of an inversion that 7.b is not about, or that have a line of their own.
_OWN_LINE = {
    "method",
    "holes",
    "regularisation",
    "regularisation_from",
    "gradient_consistency",
    *(method.strength for method in INVERSION.values()),
}


def check_pipeline(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    *,
    sidecars: Sequence[Mapping[str, Any]] = (),
    acquisition: Acquisition | None = None,
) -> tuple[Finding, ...]:
    """Tell what was followed of the recommendations and what was changed, in words.

    Parameters
    ----------
    settings : Settings
        Of the log; the record says which of them had a part.
    record : mapping, optional
        Sidecars of the run. A step without a record was not done.
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    acquisition : Acquisition, optional
        For the protocol that the regularisation is for.

    Returns
    -------
    tuple of Finding
        By rising number.
    """
    record = record or {}
    rows = in_force(settings, record=record)
    found = [
        *_kind_of_scan(sidecars, record),
        check_coil_combination(sidecars, record),
        *check_phase_filter(record),
        *_conversion(sidecars),
        *_choices(rows, record),
        *(check(record) for check in STEP_CHECKS),
        *_inversion(rows, record, acquisition),
        *_tables(rows, record, acquisition),
    ]
    return tuple(sorted(found, key=lambda f: f.recommendation))


def _kind_of_scan(
    sidecars: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> list[Finding]:
    """Say that the paper is about 3-D gradient echoes alone, where the scan is none."""
    echo_planar = is_echo_planar(sidecars)
    stated = str(facts.first_of(sidecars, "MRAcquisitionType") or "").upper()
    if not echo_planar and stated != "2D" and looked_up(record, "Slices.Axis") is None:
        return []
    text = "The paper is about 3D gradient echoes. Slices of a 2D scan have a phase of their own,"
    text += " which was removed."
    if echo_planar:
        text += " Geometric distortion of echo planar images was left."
    return [Finding("2.a", "kind of scan", "outside", text, "EPI" if echo_planar else "2D")]


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


def _choices(rows: Sequence[tuple[Parameter, Any]], record: Mapping[str, Any]) -> list[Finding]:
    """Return what each choice that was made means, and which were not made."""
    judged = [_choice(row.answers, value) for row, value in rows if row.answers]
    made = {row.key for row, _ in rows}
    judged += [
        Finding(*about, "absent", missing_because(record))
        for key, about in _ABSENT.items()
        if key not in made
    ]
    return judged


def _choice(answers: Mapping[Any, Answer], value: Any) -> Finding:
    """Return what a value means; one that nothing is declared of is not recommended."""
    if value in answers:
        said = answers[value]
        return Finding(said.recommendation, said.topic, said.verdict, said.text, shown(value))
    said = next(iter(answers.values()))
    text = "Another choice than the recommended ones."
    return Finding(said.recommendation, said.topic, "changed", text, shown(value))


def _inversion(
    rows: Sequence[tuple[Parameter, Any]],
    record: Mapping[str, Any],
    acquisition: Acquisition | None,
) -> list[Finding]:
    """Judge strength and other parameters of the inversion (7.b)."""
    topic = "parameters of the inversion"
    if not ran(record, "invert_dipole_field"):
        return [Finding("7.b", topic, "absent", missing_because(record))]
    strength = check_regularisation(rows, record, acquisition)
    default = Settings()
    changed = [
        f"{row.label} {shown(value, row.unit)} (default {shown(default.value(row.key), row.unit)})"
        for row, value in rows
        if row.step == "dipole_inversion"
        and row.is_setting
        and row.name not in _OWN_LINE
        and value != default.value(row.key)
    ]
    if not changed:
        return [strength, Finding("7.b", topic, "pass", "The others are the defaults.")]
    text = f"Not the defaults: {', '.join(changed)}. Keep them the same for the whole study."
    return [strength, Finding("7.b", topic, "changed", text)]


def _tables(
    rows: Sequence[tuple[Parameter, Any]],
    record: Mapping[str, Any],
    acquisition: Acquisition | None,
) -> list[Finding]:
    """Compare the values of the run with those of the paper's tables."""
    values = {row.key: value for row, value in rows}
    voxel_size = acquisition.voxel_size if acquisition else ()
    found = []
    for number, topic, section, setting, method in _TABLES:
        known = values.get(f"{section}.{setting}") if setting else ""
        if known is None:
            if number != "S2.4":
                found.append(Finding(number, topic, "absent", missing_because(record)))
            continue
        if known != method:
            continue
        listed = [
            (row, value, follows(row, value, voxel_size))
            for row, value in rows
            if number in (row.table or "") and row.paper is not None
        ]
        other = [
            f"{row.label} {shown(value, row.unit)} (paper: {paper_value(row)})"
            for row, value, same in listed
            if not same
        ]
        if not _own(number, record):
            found.append(Finding(number, topic, "absent", missing_because(record)))
        elif other:
            found.append(Finding(number, topic, "changed", f"{'; '.join(other)}."))
        else:
            text = "What was done is as in the paper's table."
            found.append(Finding(number, topic, "pass", text))
    return found


def _own(number: str, record: Mapping[str, Any]) -> bool:
    """Return whether the run did itself what a table is about."""
    if number == "S2.1":  # weights alone are no total field
        return (
            ran(record, "unwrap_phase") or looked_up(record, "Unwrapping.FitWeights") is not None
        )
    return True
