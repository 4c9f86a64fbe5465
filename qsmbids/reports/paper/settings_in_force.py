"""Which settings had a part in a run, by its sidecars, and whether its log says the same."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qsmbids.config import Settings
from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.methods.sections import PARAMETERS, Parameter
from qsmbids.reports.paper.findings import Table

__all__ = [
    "brain_extraction",
    "disagreements",
    "effective_settings",
    "follows",
    "found",
    "in_force",
    "looked_up",
    "paper_value",
    "ran",
    "rounded",
    "settings_table",
    "shown",
]

#: Where the sidecar says what "auto" came to.
_FOUND = {
    "phase.sign": "PhaseSign.Sign",
    "phase.slice_alternation": "SliceAlternation.Axes",
    "total_field.bipolar_correction": "ReadoutCorrection.Bipolar",
    "relaxometry.method": "R2StarFit.Name",
    "dipole_inversion.fansi.regularisation": "DipoleInversion.Parameters.GradientL1Penalty",
    "dipole_inversion.huber.regularisation": "DipoleInversion.FieldErrorPercent",
}
#: What the data or the machine may make of a setting, and says so.
_MAY_BECOME: dict[tuple[str, Any], tuple[Any, ...]] = {
    ("masks.brain_extraction", "auto"): ("fsl", "builtin"),
    ("masks.reliable_phase", "relative-residual"): ("none",),  # with too few echoes
    ("total_field.echo_phase_combination", "nonlinear-fit"): ("romeo-weighted-average",),
    ("dipole_inversion.medi.zero_reference", True): (False,),  # where no fluid was found
    # where none was found
    **{("reference.region", kind.setting): ("brain-mask",) for kind in REFERENCES.values()},
}


def effective_settings(settings: Settings, n_echoes: int) -> Settings:
    """Return the settings with what a short echo train rules out taken back.

    Parameters
    ----------
    settings : Settings
    n_echoes : int
        With fewer than three echoes there is no complex fit and no bipolar correction, with one
        no phase offset to remove.
    """
    total = settings.total_field
    if n_echoes < 3:
        total = dataclasses.replace(
            total, echo_phase_combination="romeo-weighted-average", bipolar_correction="off"
        )
    if n_echoes < 2:
        total = dataclasses.replace(total, phase_offset_correction="none")
    return dataclasses.replace(settings, total_field=total)


def in_force(
    settings: Settings, n_echoes: int = 3, record: Mapping[str, Any] | None = None
) -> list[tuple[Parameter, Any]]:
    """Return every setting that had a part in a run, with its value.

    Parameters
    ----------
    settings : Settings
    n_echoes : int
        Of a run that is planned.
    record : mapping, optional
        Sidecars of a run, which decide; without them, the settings of a run that is planned.

    Returns
    -------
    list of (Parameter, value)
        In the order of the pipeline.
    """
    return _planned(settings, n_echoes) if record is None else _recorded(record)


def _planned(settings: Settings, n_echoes: int) -> list[tuple[Parameter, Any]]:
    """Return the settings that an ordinary run would have."""
    effective = effective_settings(settings, n_echoes)
    rows = []
    for row in PARAMETERS:
        if not row.is_setting or n_echoes < row.echoes:
            continue
        if row.most_echoes is not None and n_echoes > row.most_echoes:
            continue
        if row.method and effective.value(row.method_key) != row.method:
            continue
        conditions = row.when.items()
        if any(effective.value(f"{row.section}.{n}") not in known for n, known in conditions):
            continue
        value = effective.value(row.key)
        if value != "":
            rows.append((row, value))
    return rows


def _recorded(record: Mapping[str, Any]) -> list[tuple[Parameter, Any]]:
    """Return the settings that the steps of a run have recorded."""
    values = {row.key: _recorded_value(row, record) for row in PARAMETERS}
    # with anisotropic voxels, the radii of spheres count millimetres
    in_mm = looked_up(record, "BackgroundRemoval.Parameters.RadiusUnit") == "mm"
    rows = []
    for row in PARAMETERS:
        value = values[row.key]
        if value in (None, "") or (row.method and values[row.method_key] != row.method):
            continue
        others = {name: values.get(f"{row.section}.{name}") for name in row.when}
        if any(v is not None and v not in row.when[name] for name, v in others.items()):
            continue
        if row.step == "background_field" and row.name.endswith("radius") and in_mm:
            row = dataclasses.replace(
                row,
                unit="mm",
                paper_unit=row.unit if row.paper_unit is None else row.paper_unit,
            )
        rows.append((row, value))
    return rows


def _recorded_value(row: Parameter, record: Mapping[str, Any]) -> Any:
    """Return the value of a setting by the record, None where it has no part in the run."""
    if row.unless and ran(record, row.unless):
        return None
    if row.key == "dipole_inversion.holes" and ran(record, "merge_two_pass"):
        return "two-pass"  # each of its inversions has a word of its own
    value = looked_up(record, row.sidecar) if row.sidecar else None
    if value is not None:
        return row.names.get(value) if row.names else value
    if not row.otherwise:
        return None
    known, *steps = row.otherwise
    agree = all(ran(record, s.removeprefix("!")) != s.startswith("!") for s in steps)
    return known if agree else None


def ran(record: Mapping[str, Any], step: str) -> bool:
    """Return whether a step of the graph has left a record in the sidecars of a run."""
    return step in (record.get("Steps") or ())


def brain_extraction(record: Mapping[str, Any]) -> str:
    """Return "given", "fsl" or "builtin" by the sidecar, "" where it does not tell."""
    name = str(looked_up(record, "BrainExtraction.Name") or "")
    known = {"FSL BET": "fsl", "built-in BET": "builtin"}
    return known.get(name, "given" if name.startswith("given") else "")


def looked_up(record: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    value: Any = record
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def shown(value: Any, unit: str = "") -> str:
    """Return a value as it stands in text and tables alike."""
    if isinstance(value, bool):
        text = "on" if value else "off"
    elif isinstance(value, float):
        text = format(value, ".12g")
    elif isinstance(value, list | tuple):
        text = ", ".join(shown(v) for v in value)
    else:
        text = str(value)
    if value == 1 and not isinstance(value, bool):
        unit = unit.removesuffix("s")  # 1 voxel
    return f"{text} {unit}" if unit else text


def rounded(value: Any) -> str:
    """Return what was measured with four digits, where a setting would be given in full."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return format(value, ".4g")


def found(row: Parameter, value: Any, record: Mapping[str, Any]) -> str:
    """Return a value as shown, and for "auto" what it came to in the run.

    Parameters
    ----------
    row : Parameter
    value : str, bool, int or float
    record : mapping
        Sidecar of a map.
    """
    text = shown(value, row.unit)
    result = looked_up(record, _FOUND[row.key]) if row.key in _FOUND else None
    if value not in ("auto", "adaptive") or result is None:
        return text
    if row.key == "total_field.bipolar_correction":
        method = looked_up(record, "ReadoutCorrection.Method")
        result = f"bipolar, {method}" if result else "monopolar, none needed"
    elif row.key == "phase.slice_alternation":
        result = f"along axis {shown(result)}" if result else "none"
    elif row.key == "dipole_inversion.fansi.regularisation":
        consistency = looked_up(record, "DipoleInversion.Parameters.GradientConsistency")
        result = f"penalty {rounded(result)}, gradient consistency {rounded(consistency)}"
    elif row.key == "dipole_inversion.huber.regularisation":
        result = f"error of the field {rounded(result)} %"
    elif isinstance(result, int):
        result = f"{result:+d}"
    return f"{text} (found: {result})"


def follows(row: Parameter, value: Any, voxel_size: Sequence[float] = ()) -> bool | None:
    """Return whether a value is that of the paper's tables; None where they have none.

    Parameters
    ----------
    row : Parameter
    value : str, bool, int or float
    voxel_size : sequence of float
        [mm], for a length in mm where the paper counts voxels.
    """
    if row.paper is None:
        return None
    if row.unit == "mm" and row.paper_unit == "voxels":
        sizes = list(voxel_size) or [1.0]
        return all(math.isclose(value, row.paper * v, rel_tol=0.02) for v in sizes)
    return value in row.paper if isinstance(row.paper, tuple) else bool(value == row.paper)


def paper_value(row: Parameter) -> str:
    """Return the value of the paper's tables in words, "" where they have none."""
    if row.paper is None:
        return ""
    unit = row.unit if row.paper_unit is None else row.paper_unit
    return row.paper_text or shown(row.paper, unit)


def settings_table(
    settings: Settings, n_echoes: int = 3, record: Mapping[str, Any] | None = None
) -> Table:
    """Return every setting in force beside the paper's value and that of its software.

    Parameters
    ----------
    settings : Settings
    n_echoes : int
    record : mapping, optional
        Sidecar of a map.
    """
    rows = tuple(
        (
            row.label,
            found(row, value, record or {}),
            paper_value(row),
            "" if row.software is None else shown(row.software, row.unit),
            f"[{row.section}] {row.name}" if row.is_setting else "",
        )
        for row, value in in_force(settings, n_echoes, record)
    )
    note = (
        "Paper: Supplementary II, step 1 and Tables S2.1 to S2.4. Software: what its programs do"
        " where the tables say nothing. Without a setting: fixed in this program."
    )
    columns = ("Parameter", "Value", "Paper", "Software", "Setting")
    return Table("Settings in force", columns, rows, (note,))


def disagreements(settings: Settings, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the sidecars of a run name another value than the settings.

    Text and tables are made from the sidecars; this tells when the settings of the log are not
    those of the run.
    """
    differences = []
    for row, recorded in in_force(settings, record=record):
        if not row.is_setting or looked_up(record, row.sidecar) is None:
            continue
        value = settings.value(row.key)
        if recorded not in (value, *_MAY_BECOME.get((row.key, value), ())):
            differences.append(
                f"{row.label}: {shown(value)} in the settings, {shown(recorded)} in the sidecar"
            )
    return tuple(differences)
