"""Table 5 of the paper: the reconstruction and analysis with every parameter in force."""

from collections.abc import Mapping, Sequence
from typing import Any

from qsmbids.config import Settings
from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.reports.paper import facts
from qsmbids.reports.paper.findings import Table, item_table
from qsmbids.reports.paper.methods_text import software_versions
from qsmbids.reports.paper.settings_in_force import found, in_force, shown

__all__ = ["reconstruction_table"]

#: What a user may give, by the key of its record.
_GIVEN = {
    "GivenUnwrappedPhase": "unwrapped phase",
    "GivenTotalField": "total field",
    "GivenLocalField": "local field",
}
#: Rotation or tilted kernel: it needs no background removal.
_OBLIQUE = "background_field.oblique"
#: Steps of Table 5 and the settings that they own, by section and beginning of the name.
_STEPS = (
    ("phase reconstruction", ("phase.", "total_field.bipolar", "total_field.phase_offset")),
    ("masks", ("masks.",)),
    ("phase unwrapping and echo combination", ("total_field.",)),
    ("background field removal", ("background_field.",)),
    ("dipole inversion", ("dipole_inversion.", _OBLIQUE)),
    ("R2* mapping", ("relaxometry.",)),
)


def reconstruction_table(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    *,
    n_echoes: int = 3,
    sidecars: Sequence[Mapping[str, Any]] = (),
    versions: Mapping[str, str] | None = None,
) -> Table:
    """Return Table 5, the reconstruction and analysis with every parameter in force.

    Parameters
    ----------
    settings : Settings
    record : mapping, optional
        Sidecars of a run, which tell what was done; None for one that is planned.
    n_echoes : int
        Of a run that is planned.
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    versions : mapping, optional
        As from :func:`qsmbids.reports.paper.methods_text.software_versions`.
    """
    versions = software_versions(record, sidecars) if versions is None else versions
    toolbox = ", ".join(f"{name} {version}" for name, version in versions.items())
    rows: list[tuple[str, str, bool]] = [("Toolbox used", toolbox, True)]
    if given := _given(record or {}):
        rows.append(("Given in place of computed", given, True))
    left = in_force(settings, n_echoes, record)
    for step, prefixes in _STEPS:
        own = [
            pair
            for pair in left
            if pair[0].key.startswith(prefixes)
            and (pair[0].key != _OBLIQUE or _OBLIQUE in prefixes)
        ]
        left = [pair for pair in left if pair not in own]
        said = "; ".join(f"{row.label}: {found(row, value, record or {})}" for row, value in own)
        if own:
            rows.append((f"Algorithms: {step}", said, True))
    rest = [pair for pair in left if pair[0].key != "reference.region"]
    if rest:
        said = "; ".join(f"{row.label}: {found(row, value, record or {})}" for row, value in rest)
        rows.append(("Algorithms: further settings", said, True))
    rows += [
        ("Further processing", "", False),
        ("Referencing", _referencing(settings, record), True),
        ("Inclusion and exclusion of data", facts.text((record or {}).get("Inclusion")), True),
    ]
    notes = (
        "Further processing: anything done to the maps for other viewers, such as interpolation.",
        "Inclusion and exclusion: which artifacts, and from which severity on; of a study, from"
        " the table of the group level.",
    )
    return item_table("Table 5. Reconstruction and analysis", rows, notes)


def _given(record: Mapping[str, Any]) -> str:
    """Return the images that took the place of steps."""
    said = []
    name = str((record.get("BrainExtraction") or {}).get("Name", ""))
    if name.startswith("given"):
        said.append(f"Mask 1 ({name.removeprefix('given').lstrip(': ') or 'no name'})")
    for key, what in _GIVEN.items():
        if isinstance(entry := record.get(key), Mapping):
            said.append(f"{what} ({', '.join(map(str, entry.get('Files') or ()))})")
    return "; ".join(said)


def _referencing(settings: Settings, record: Mapping[str, Any] | None) -> str:
    """Return unit, region, the value that was subtracted, and what re-referencing needs."""
    if record is None:
        region = shown(settings.reference.region)
        return (
            f"in ppm, to the mean of the region (setting: {region})"
            if region != "none"
            else ("in ppm, without a reference (setting: none)")
        )
    main = record.get("MainReference")
    if main == "none":
        return "in ppm, without a reference"
    recorded, value = facts.text(record.get("ReferenceRegion")), record.get("ReferenceValue")
    if not recorded:
        return ""  # there is no map yet
    text = f"in ppm, to the mean of {recorded}"
    if isinstance(value, int | float):
        text += f"; {value:.4g} ppm subtracted"
    if main in REFERENCES and main != "wholebrain":
        text += _relative_to_brain(record, str(main))
    return text


def _relative_to_brain(record: Mapping[str, Any], region: str) -> str:
    """Return mean and SD of the reference region when referenced to the whole brain."""
    for row in record.get("ReferenceTable") or ():
        if (row.get("reference"), row.get("region")) == ("wholebrain", region):
            return (
                f"; {row.get('mean')} ± {row.get('std')} ppm (mean ± SD) when referenced to the"
                " whole brain"
            )
    return "; its mean and SD relative to the whole brain are not on record"
