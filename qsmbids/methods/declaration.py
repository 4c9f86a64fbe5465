"""The words in which steps and methods are declared."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "Answer",
    "Clause",
    "Fixed",
    "Method",
    "Setting",
    "Verdict",
    "declared",
    "qualified",
    "setting",
    "sidecar_key",
]

Verdict = Literal["pass", "advice", "unknown", "changed", "absent", "outside"]


@dataclass(frozen=True)
class Answer:
    """What a choice means for a recommendation of the paper.

    Attributes
    ----------
    recommendation, topic : str
        Number ("6.a"), and what it is about in a few words.
    verdict : str
        "pass" where the paper recommends the choice.
    text : str
        One sentence.
    """

    recommendation: str
    topic: str
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Clause:
    """A sentence of the methods text and when it is true.

    Attributes
    ----------
    text : str
        With ``{name}`` for a setting of the same step or method, ``{section.name}`` for one of
        another, ``{run.name}`` for a fact of the run, ``[@key]`` to cite.
    when : dict
        Setting or fact and the value, or tuple of values, that it must have.
    speaks_of : tuple of str
        Further settings that need no other sentence.
    """

    text: str
    when: Mapping[str, Any] = field(default_factory=dict)
    speaks_of: tuple[str, ...] = ()


_NAME = re.compile(r"\{(\w+)\}")


def qualified(clause: Clause, section: str, when: Mapping[str, Any] | None = None) -> Clause:
    """Return a clause whose names of one word are those of a section.

    Parameters
    ----------
    clause : Clause
    section : str
        Dotted, as in TOML.
    when : dict, optional
        Further conditions.
    """

    def full(name: str) -> str:
        return name if "." in name else f"{section}.{name}"

    return Clause(
        _NAME.sub(lambda match: "{" + full(match[1]) + "}", clause.text),
        {**(when or {}), **{full(k): v for k, v in clause.when.items()}},
        tuple(full(k) for k in clause.speaks_of),
    )


@dataclass(frozen=True)
class Setting:
    """What is known of a setting beside its type and default.

    Attributes
    ----------
    label, unit : str
        In words, for tables and text.
    doc : str
        What it does and, where it departs from the paper, why.
    choices : tuple of str or None
        Values that a string may have.
    minimum, maximum : float or None
        Limits of a number, inclusive.
    when : dict
        Name of another setting of the step, and the values with which this one is used.
    echoes : int
        Fewest echoes with which it has a part in a run that is planned.
    most_echoes : int or None
        Most echoes with which it has one.
    paper : str, bool, int, float, tuple or None
        Value of Tables S2.1 to S2.4 and of step 1, or the ones that agree with it; None where
        they have none.
    paper_unit, paper_text : str
        Where they are not those of the setting.
    software : str, int or None
        Value of the software of the paper, where its tables have none.
    table : str or None
        Of the paper, where it is not that of the step.
    sidecar : str
        Dotted path in the sidecar of a map; by default CamelCase below the key of the step.
    names : dict
        What the sidecar calls the values, where it has other words.
    words : dict
        What the methods text calls the values, where it has other words.
    otherwise : tuple of str
        A value, and the steps by which it is known without a record: one that ran, and after an
        exclamation mark one that did not.
    unless : str
        A step in whose place the setting has no part.
    answers : dict
        What each value means for the recommendations.
    """

    label: str
    unit: str = ""
    doc: str = ""
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    echoes: int = 1
    most_echoes: int | None = None
    paper: Any = None
    paper_unit: str | None = None
    paper_text: str = ""
    software: Any = None
    table: str | None = None
    sidecar: str = ""
    names: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    otherwise: tuple[Any, ...] = ()
    unless: str = ""
    answers: Mapping[Any, Answer] = field(default_factory=dict)


def setting(default: Any, label: str, unit: str = "", doc: str = "", **known: Any) -> Any:
    """Declare a field of a frozen dataclass as a setting; see :class:`Setting`."""
    declaration = Setting(label, unit, doc, **known)
    return field(default=default, metadata={"setting": declaration})


@dataclass(frozen=True)
class Fixed:
    """A choice that is none of the settings, but recorded and reported.

    Attributes
    ----------
    name, label, sidecar : str
        As of a setting.
    """

    name: str
    label: str
    sidecar: str


def _never(settings: Any) -> bool:
    return False


@dataclass(frozen=True)
class Method:
    """One way to do a step.

    Attributes
    ----------
    name : str
        In the settings, in TOML and on the command line.
    titles : tuple of str
        In sidecars and text; the first where there are variants.
    settings : type
        Frozen dataclass of :func:`setting` fields.
    doi : str
        Address of the paper that describes it.
    answer : Answer
        What the choice means for the recommendations.
    compute : callable
        Takes the data of the step and the settings, makes one call into the core, and returns
        what the step writes and records.
    sentences : tuple of Clause
        Of the methods text; they are used where the method was.
    table : str
        Of the paper, with its parameters.
    strength : str
        The setting that 7.b asks to tune, "" where there is none.
    tune : str
        How it can be tuned.
    study : tuple of str
        Settings that ``regularisation = "adaptive"`` finds for a run, the strength first, and
        that ``"fixed"`` takes as they are.
    again : callable, optional
        Of a background removal: takes its settings, Mask 4, the voxel size [mm] and the threads,
        and returns the removal as a linear map of a field on blocks of voxels of the whole volume,
        for what it took to be put back by the inversion.
    leaves : callable
        Of a background removal: whether with its settings ``again`` is such a map, and what it
        took has not been put back.
    as_left : bool
        Of an inversion: it sets itself from the error of the field, of which what was taken is a
        part. It gets the field as background removal left it, and puts back itself.
    weighted : bool
        Of an inversion: the data count by their weights, not only where these are zero.
    uncertain : bool
        Of an inversion: it can tell the standard error of its map.
    loop : str
        One of its compiled loops, as ``"inversion.medi_kernels:multiply"``: where it is not
        compiled yet, all of the method's are. "" where there is none to wait for.
    """

    name: str
    titles: tuple[str, ...]
    settings: type
    doi: str
    answer: Answer
    compute: Callable[..., Any]
    sentences: tuple[Clause, ...]
    table: str = ""
    strength: str = ""
    tune: str = ""
    study: tuple[str, ...] = ()
    again: Callable[..., Callable[[Any, list[int]], Any]] | None = None
    leaves: Callable[[Any], bool] = _never
    as_left: bool = False
    weighted: bool = True
    uncertain: bool = False
    loop: str = ""

    @property
    def title(self) -> str:
        """The name in text."""
        return self.titles[0]


def declared(section: Any) -> dict[str, Setting]:
    """Return the declarations of a section's settings by their name."""
    return {
        f.name: f.metadata["setting"]
        for f in section.__dataclass_fields__.values()
        if "setting" in f.metadata
    }


def sidecar_key(name: str) -> str:
    """Return what a setting is called in a sidecar: padding_mm is PaddingMm."""
    return "".join(word.capitalize() for word in name.split("_"))
