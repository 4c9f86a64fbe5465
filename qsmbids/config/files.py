"""Presets and TOML files."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from qsmbids.config.settings import Settings, suggest
from qsmbids.errors import ConfigError
from qsmbids.methods.dipole_inversion import INVERSION

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "dump_toml",
    "flattened",
    "load_settings",
    "nested",
    "toml_value",
]


def _preset_names() -> tuple[str, ...]:
    folder = files("qsmbids") / "data" / "presets"
    return tuple(
        sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))
    )


#: Names of the presets that come with the package.
PRESETS = _preset_names()

#: The preset that is used when none is named.
DEFAULT_PRESET = "consensus-fansi"


def load_settings(
    preset: str = DEFAULT_PRESET,
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge defaults, a preset, a TOML file and the command line, in this order.

    Parameters
    ----------
    preset : str
        One of :data:`PRESETS`.
    config_file : Path, optional
        TOML with the same sections; it may be a copy of a resolved configuration.
    overrides : mapping, optional
        Section to keys, from the command line.

    Raises
    ------
    ConfigError
        Unknown preset, unreadable file, unknown or unfit keys.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset '{preset}'", "--preset", suggest(preset, list(PRESETS)))
    text = (files("qsmbids") / "data" / "presets" / f"{preset}.toml").read_text("utf-8")
    settings = Settings().updated(tomllib.loads(text), f"preset {preset}")
    if config_file is not None:
        settings = settings.updated(_read_toml(config_file), str(config_file))
    return _put_back_once(settings.updated(overrides or {}, "command line"))


def _put_back_once(settings: Settings) -> Settings:
    """Leave it to the inversion to put back what background removal takes, where it must."""
    background = settings.background_field
    asked = getattr(background.chosen, "put_back", False)
    if not asked or not INVERSION[settings.dipole_inversion.method].as_left:
        return settings
    chosen = replace(background.chosen, put_back=False)
    return replace(settings, background_field=replace(background, **{background.method: chosen}))


def _read_toml(path: Path) -> dict[str, Any]:
    """Read a configuration file; its [execution] record of an earlier run is informative only."""
    try:
        with path.open("rb") as stream:
            tables = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid TOML: {error}", str(path)) from error
    tables.pop("execution", None)
    return tables


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as tables.

    Examples
    --------
    >>> nested({"dipole_inversion.holes": "fill", "dipole_inversion.tkd.threshold": 0.1})
    {'dipole_inversion': {'holes': 'fill', 'tkd': {'threshold': 0.1}}}
    """
    tables: dict[str, Any] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        table = tables
        for section in path:
            table = table.setdefault(section, {})
        table[name] = value
    return tables


def flattened(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables as dotted keys, what is no table left out; the inverse of :func:`nested`.

    Examples
    --------
    >>> flattened({"dipole_inversion": {"holes": "fill", "tkd": {"threshold": 0.1}}})
    {'dipole_inversion.holes': 'fill', 'dipole_inversion.tkd.threshold': 0.1}
    """
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if not isinstance(table, Mapping):
            continue
        values |= {f"{section}.{k}": v for k, v in table.items() if not isinstance(v, Mapping)}
        inner = {f"{section}.{k}": v for k, v in table.items() if isinstance(v, Mapping)}
        values |= flattened(inner)
    return values


def dump_toml(tables: Mapping[str, Mapping[str, Any]], parent: str = "") -> str:
    """Write sections of strings, numbers, booleans and lists of them as TOML.

    A mapping inside a section becomes the table ``[section.name]``.
    """
    lines: list[str] = []
    for section, table in tables.items():
        lines.append(f"[{parent}{section}]")
        inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
        lines += [
            f"{key} = {toml_value(value)}"
            for key, value in table.items()
            if value is not None and key not in inner
        ]
        lines.append("")
        if inner:
            lines.append(dump_toml(inner, f"{parent}{section}."))
    return "\n".join(lines)


def toml_value(value: Any) -> str:
    """Write one value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    escaped = "".join(
        c if c >= " " and c not in '"\\\x7f' else f"\\u{ord(c):04x}" for c in str(value)
    )
    return f'"{escaped}"'
