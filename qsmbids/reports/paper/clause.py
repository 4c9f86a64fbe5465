"""A sentence of the methods text and when it is true."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Clause"]


@dataclass(frozen=True)
class Clause:
    """A sentence and the settings or facts for which it is true.

    Attributes
    ----------
    text : str
        With ``{section.name}`` for a setting, ``{run.name}`` for a fact, ``[@key]`` to cite.
    when : dict
        Setting or fact and the value, or tuple of values, that it must have.
    speaks_of : tuple of str
        Further settings that need no other sentence.
    """

    text: str
    when: Mapping[str, Any] = field(default_factory=dict)
    speaks_of: tuple[str, ...] = ()
