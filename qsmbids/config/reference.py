"""Every setting as a commented TOML file: the documentation of the settings."""

import textwrap
from typing import Any

from qsmbids.config.files import toml_value
from qsmbids.config.settings import Settings
from qsmbids.methods.sections import PARAMETERS, Parameter

__all__ = ["settings_reference"]

_WIDTH = 96


def settings_reference() -> str:
    """Return all settings with their defaults, what they mean, and what the paper has."""
    defaults = Settings()
    lines = [
        "# Every setting of qsmbids with its default. Copy what you want to change to a file and",
        "# give it as --config-file. S2 is step 1, and S2.1 to S2.4 are the tables of",
        "# Supplementary II of the consensus paper.",
    ]
    section = ""
    for row in PARAMETERS:
        if not row.is_setting:
            continue
        if row.section != section:
            section = row.section
            lines += ["", f"[{section}]"]
        lines += textwrap.wrap(
            _explained(row),
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_on_hyphens=False,
        )
        lines.append(f"{row.name} = {toml_value(defaults.value(row.key))}")
    return "\n".join(lines) + "\n"


def _explained(row: Parameter) -> str:
    """Return what a setting is, in a line or two."""
    unit = f" [{row.unit}]" if row.unit else ""
    parts = [f"{row.label[:1].upper()}{row.label[1:]}{unit}.", row.doc]
    if row.choices:
        parts.append(f"One of {', '.join(row.choices)}.")
    parts.append(_limits(row))
    if row.paper is not None:
        table = f" ({row.table})" if row.table else ""
        parts.append(f"Paper{table}: {row.paper_text or _said(row.paper)}.")
    if row.software is not None:
        parts.append(f"Its software: {_said(row.software)}.")
    if row.when:
        used = " and ".join(
            f"{name} = {' or '.join(map(_said, known))}" for name, known in row.when.items()
        )
        parts.append(f"Used with {used}.")
    return " ".join(part for part in parts if part)


def _limits(row: Parameter) -> str:
    """Return the range of a number in words."""
    if row.minimum is None and row.maximum is None:
        return ""
    if row.maximum is None:
        return f"At least {row.minimum:g}."
    if row.minimum is None:
        return f"At most {row.maximum:g}."
    return f"From {row.minimum:g} to {row.maximum:g}."


def _said(value: Any) -> str:
    """Return a value as it stands in TOML, without quotes."""
    if isinstance(value, tuple):
        return " or ".join(map(_said, value))
    return toml_value(value).strip('"')
