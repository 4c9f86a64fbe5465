"""Presets and TOML files."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from qsmbids.config.settings import Settings, suggest
from qsmbids.errors import ConfigError

__all__ = ["DEFAULT_PRESET", "PRESETS", "dump_toml", "load_settings"]


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
    return settings.updated(overrides or {}, "command line")


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


def dump_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Write sections of strings, numbers, booleans and lists of them as TOML."""
    lines = []
    for section, table in tables.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    """Write one value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    escaped = "".join(
        c if c >= " " and c not in '"\\\x7f' else f"\\u{ord(c):04x}" for c in str(value)
    )
    return f'"{escaped}"'
