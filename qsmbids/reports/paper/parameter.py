"""What is known of one setting, for text and tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Parameter", "fixed", "parameter"]


@dataclass(frozen=True)
class Parameter:
    """One setting.

    Attributes
    ----------
    section, name : str
        As in :class:`qsmbids.config.Settings`.
    label, unit : str
        In words.
    when : dict
        Name of another setting of the section, and the values with which this one is used.
    echoes : int
        Fewest echoes with which the setting has a part in a run that is planned.
    paper : str, bool, int, float, tuple or None
        Value of Tables S2.1 to S2.4 and of step 1, or the ones that agree with it; None where
        they have none.
    paper_unit, paper_text : str
        Where they are not those of the setting.
    software : str, int or None
        Value of the software of the paper, where its tables have none.
    table : str
        Of the paper; "" where the section tells.
    record : str
        Dotted path in the sidecar of a map.
    names : dict
        What the sidecar calls the values of the setting, where it has other words.
    otherwise : tuple of str
        A value, and the steps by which it is known without a record: one that ran, and after an
        exclamation mark one that did not.
    unless : str
        A step in whose place the setting has no part.
    is_setting : bool
        False for what is fixed in the program, and recorded.
    """

    section: str
    name: str
    label: str
    unit: str = ""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    echoes: int = 1
    paper: Any = None
    paper_unit: str | None = None
    paper_text: str = ""
    software: Any = None
    table: str = ""
    record: str = ""
    names: Mapping[str, Any] = field(default_factory=dict)
    otherwise: tuple[Any, ...] = ()
    unless: str = ""
    is_setting: bool = True

    @property
    def key(self) -> str:
        """Section and name with a dot between them."""
        return f"{self.section}.{self.name}"


def parameter(key: str, label: str, unit: str = "", **kwargs: Any) -> Parameter:
    """Return the row of ``section.name``; its sidecar key follows from the name if not given."""
    section, name = key.split(".")
    kwargs.setdefault("record", _record_path(section, name))
    return Parameter(section, name, label, unit, **kwargs)


def _record_path(section: str, name: str) -> str:
    """Return where the sidecar has a setting by the rule: CamelCase below the step's name."""
    step = {
        "background_field": "BackgroundRemoval",
        "dipole_inversion": "DipoleInversion",
        "swi": "SusceptibilityWeighting",
    }
    camel = "".join(word.capitalize() for word in name.split("_"))
    return f"{step[section]}.Parameters.{camel}" if section in step else ""


def fixed(key: str, label: str, record: str) -> Parameter:
    """Return the row of a choice that is none of the settings."""
    return parameter(key, label, record=record, is_setting=False)
