"""Which settings had a part in a run, in words, and whether its sidecars say the same."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from qsmbids.config import Settings
from qsmbids.reports.findings import Table
from qsmbids.reports.parameters import PARAMETERS, Parameter, parameter

__all__ = [
    "brain_extraction",
    "disagreements",
    "effective_settings",
    "found",
    "given_start",
    "in_force",
    "looked_up",
    "rounded",
    "settings_table",
    "shown",
]

#: Where the sidecar says what "auto" came to.
_FOUND = {
    "phase.sign": "PhaseSign.Sign",
    "phase.slice_alternation": "SliceAlternation.Axes",
    "masks.brain_extraction": "BrainExtraction.Name",
    "total_field.bipolar_correction": "ReadoutCorrection.Bipolar",
    "relaxometry.method": "R2StarMethod",
    "dipole_inversion.regularisation": "DipoleInversion.Parameters.GradientL1Penalty",
}

#: Beginnings of the settings that have no part in a run which starts from a derivative.
_UNWRAPPED = (
    "total_field.phase_offset",
    "total_field.echo_phase_combination",
    "total_field.romeo_weights",
)
_TOTAL = (*_UNWRAPPED, "total_field.echo_weighting")
_LOCAL = (*_TOTAL, "masks.closing_mm", "background_field.")
_REPLACED = {
    "": (),
    "unwrapped": _UNWRAPPED,
    "total": _TOTAL,
    "local and total": _LOCAL,
    "local": (*_LOCAL, "total_field."),
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
    record : mapping, optional
        Sidecar of a map; it tells whether Mask 1 was given.

    Returns
    -------
    list of (Parameter, value)
        In the order of the pipeline.
    """
    effective = effective_settings(settings, n_echoes)
    given = brain_extraction(record or {}) == "given"
    # with anisotropic voxels, the radii of V-SHARP count millimetres
    in_mm = looked_up(record or {}, "BackgroundRemoval.Parameters.RadiusUnit") == "mm"
    replaced = _REPLACED[given_start(record or {})]
    rows = []
    for row in _all_parameters(effective):
        section = getattr(effective, row.section)
        if any(getattr(section, name) not in values for name, values in row.when.items()):
            continue
        if given and "brain_extraction" in {row.name, *row.when}:
            continue
        if n_echoes < row.echoes or row.key.startswith(replaced):
            continue
        if row.name.endswith("_radius") and in_mm:
            row = dataclasses.replace(row, unit="mm")
        rows.append((row, getattr(section, row.name)))
    return rows


def brain_extraction(record: Mapping[str, Any]) -> str:
    """Return "given", "fsl" or "builtin" by the sidecar, "" where it does not tell."""
    name = str(looked_up(record, "BrainExtraction.Name") or "")
    known = {"FSL BET": "fsl", "built-in BET": "builtin"}
    return known.get(name, "given" if name.startswith("given") else "")


def given_start(record: Mapping[str, Any]) -> str:
    """Return what took the place of the first steps by the sidecar, "" where nothing did."""
    if "GivenLocalField" in record:
        return "local and total" if "GivenTotalField" in record else "local"
    if "GivenTotalField" in record:
        return "total"
    return "unwrapped" if "GivenUnwrappedPhase" in record else ""


def _all_parameters(settings: Settings) -> Iterator[Parameter]:
    """Yield a row for every setting: those of the table first, then the ones it does not know."""
    names = {
        f"{section.name}.{f.name}"
        for section in dataclasses.fields(settings)
        for f in dataclasses.fields(getattr(settings, section.name))
    }
    yield from (p for p in PARAMETERS if p.key in names)
    for key in sorted(names - {p.key for p in PARAMETERS}):
        name = key.split(".")[1]
        yield parameter(key, name.replace("_", " "), when=_owner(settings, key))


def _owner(settings: Settings, key: str) -> dict[str, tuple[Any, ...]]:
    """Return the choice that a new setting belongs to, by its name: medi_radius to medi."""
    section, name = key.split(".")
    for f in dataclasses.fields(getattr(settings, section)):
        for choice in f.metadata.get("choices") or ():
            if f.name in ("method", "constraint") and name.startswith(f"{choice}_"):
                return {f.name: (choice,)}
    return {}


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
    elif row.key == "dipole_inversion.regularisation":
        consistency = looked_up(record, "DipoleInversion.Parameters.GradientConsistency")
        result = f"penalty {rounded(result)}, gradient consistency {rounded(consistency)}"
    elif isinstance(result, int):
        result = f"{result:+d}"
    return f"{text} (found: {result})"


def settings_table(
    settings: Settings, n_echoes: int = 3, record: Mapping[str, Any] | None = None
) -> Table:
    """Return every setting in force beside the paper's value.

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
            "" if row.paper is None else shown(row.paper, row.unit),
            f"[{row.section}] {row.name}",
        )
        for row, value in in_force(settings, n_echoes, record)
    )
    note = (
        "Paper: Supplementary II, step 1 and Tables S2.1 to S2.4, with its software's own values."
    )
    return Table("Settings in force", ("Parameter", "Value", "Paper", "Setting"), rows, (note,))


def disagreements(
    settings: Settings, record: Mapping[str, Any], n_echoes: int = 3
) -> tuple[str, ...]:
    """Return where the sidecar of a map names another value than the settings.

    Text and tables are made from the settings; this tells when they are not those of the run.
    """
    differences = []
    for row, value in in_force(settings, n_echoes, record):
        recorded = looked_up(record, row.record) if row.record else None
        if (row.key, value) == ("dipole_inversion.holes", "two-pass") and "TwoPass" in record:
            recorded = value  # the sidecar of the merge has the word of its last inversion
        if recorded is not None and recorded != value:
            differences.append(
                f"{row.label}: {shown(value)} in the settings, {shown(recorded)} in the sidecar"
            )
    return tuple(differences)
