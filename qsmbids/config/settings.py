"""All sections together, and how values are put over them and checked."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self, get_type_hints

from qsmbids.errors import ConfigError
from qsmbids.methods.background_field import BackgroundField
from qsmbids.methods.declaration import Setting, declared
from qsmbids.methods.dipole_inversion import DipoleInversion
from qsmbids.methods.masks import Masks
from qsmbids.methods.phase import Phase
from qsmbids.methods.reference import Reference
from qsmbids.methods.regions import Regions
from qsmbids.methods.relaxometry import Relaxometry
from qsmbids.methods.swi import Swi
from qsmbids.methods.total_field import TotalField

__all__ = ["Settings", "suggest"]


@dataclass(frozen=True)
class Settings:
    """Everything that decides the maps; the defaults are the preset ``consensus-fansi``."""

    phase: Phase = field(default_factory=Phase)
    masks: Masks = field(default_factory=Masks)
    total_field: TotalField = field(default_factory=TotalField)
    background_field: BackgroundField = field(default_factory=BackgroundField)
    dipole_inversion: DipoleInversion = field(default_factory=DipoleInversion)
    reference: Reference = field(default_factory=Reference)
    regions: Regions = field(default_factory=Regions)
    relaxometry: Relaxometry = field(default_factory=Relaxometry)
    swi: Swi = field(default_factory=Swi)

    def updated(self, tables: Mapping[str, Any], source: str) -> Self:
        """Return settings with the values of ``tables`` put over these.

        Parameters
        ----------
        tables : mapping of str to mapping
            Section name to its keys.
        source : str
            Named in errors: a file, a preset or the command line.

        Raises
        ------
        ConfigError
            Unknown section or key, a value of the wrong type or outside its limits.
        """
        changed: dict[str, Any] = {}
        names = [f.name for f in fields(self)]
        for section, table in tables.items():
            if section not in names:
                raise ConfigError(f"unknown section [{section}]", source, suggest(section, names))
            if not isinstance(table, Mapping):
                raise ConfigError(f"[{section}] must be a table", source)
            changed[section] = _updated_section(getattr(self, section), section, table, source)
        return dataclasses.replace(self, **changed)

    def value(self, key: str) -> Any:
        """Return the value of a dotted key, as ``background_field.pdf.padding_mm``."""
        value: Any = self
        for name in key.split("."):
            value = getattr(value, name)
        return value

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain nested dictionaries, for TOML and sidecars."""
        return dataclasses.asdict(self)


def _updated_section(section: Any, name: str, table: Mapping[str, Any], source: str) -> Any:
    """Return one section with the checked values of ``table``, tables of its methods included."""
    known = {f.name: getattr(section, f.name) for f in fields(section)}
    limits, hints = declared(section), get_type_hints(type(section))
    values = {}
    for key, value in table.items():
        where = f"[{name}] {key}"
        if key not in known:
            cure = _in_a_method(section, name, key) or suggest(key, list(known))
            raise ConfigError(f"unknown key {where}", source, cure)
        if key in limits:
            values[key] = _checked(value, hints[key], limits[key], where, source)
        elif isinstance(value, Mapping):
            values[key] = _updated_section(known[key], f"{name}.{key}", value, source)
        else:
            raise ConfigError(f"[{name}.{key}] must be a table", source)
    updated = dataclasses.replace(section, **values)
    problem, cure = updated.check() if hasattr(updated, "check") else ("", "")
    if problem:
        raise ConfigError(f"[{name}] {problem}", source, cure)
    return updated


def _in_a_method(section: Any, name: str, key: str) -> str:
    """Return in which method's table a key stands, that was looked for in the step's."""
    own = declared(section)
    places: dict[str, str] = {}
    for method in (f.name for f in fields(section) if f.name not in own):
        for known in declared(getattr(section, method)):
            place = f"[{name}.{method}] {known}"
            places |= {known: place, f"{method}_{known}": place}
    close = difflib.get_close_matches(key, list(places), n=1, cutoff=0.8)
    return f"Did you mean {places[close[0]]}?" if close else ""


def _checked(value: Any, kind: type, limits: Setting, where: str, source: str) -> Any:
    """Return ``value`` as ``kind`` if it is allowed."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where} = {value!r} must be of type {kind.__name__}", source)
    if limits.choices and value not in limits.choices:
        raise ConfigError(
            f"{where} = {value!r} is not known",
            source,
            f"Choose from {', '.join(limits.choices)}.",
        )
    low, high = limits.minimum, limits.maximum
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or (low is not None and value < low):
            raise ConfigError(f"{where} = {value!r} must be at least {low}", source)
        if high is not None and value > high:
            raise ConfigError(f"{where} = {value!r} must be at most {high}", source)
    return value


def suggest(word: str, known: list[str]) -> str:
    """Return 'Did you mean ...' or the list of what there is."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."
