"""All steps that have settings, in the order of the pipeline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qsmbids.methods import (
    background_field,
    dipole_inversion,
    masks,
    phase,
    reference,
    regions,
    relaxometry,
    swi,
    total_field,
)
from qsmbids.methods.declaration import Clause, Fixed, Setting, declared, qualified, sidecar_key
from qsmbids.methods.registry import Registry

__all__ = ["PARAGRAPHS", "PARAMETERS", "SECTIONS", "Paragraph", "Parameter", "Section"]


@dataclass(frozen=True)
class Section:
    """The settings of a step.

    Attributes
    ----------
    settings : type
        Frozen dataclass.
    sidecar : str
        Key below which the sidecar has the settings; "" where each names its own.
    table : str
        Of the paper.
    methods : Registry
        Of the step.
    """

    settings: type
    sidecar: str = ""
    table: str = ""
    methods: Registry = field(default_factory=lambda: Registry(()))


SECTIONS: Mapping[str, Section] = {
    "phase": Section(phase.Phase),
    "masks": Section(masks.Masks),
    "total_field": Section(total_field.TotalField, table="S2.1"),
    "background_field": Section(
        background_field.BackgroundField,
        "BackgroundRemoval",
        "S2.2",
        background_field.BACKGROUND,
    ),
    "dipole_inversion": Section(
        dipole_inversion.DipoleInversion,
        "DipoleInversion",
        methods=dipole_inversion.INVERSION,
    ),
    "reference": Section(reference.Reference),
    "regions": Section(regions.Regions),
    "relaxometry": Section(relaxometry.Relaxometry),
    "swi": Section(swi.Swi, "SusceptibilityWeighting"),
}


@dataclass(frozen=True)
class Parameter(Setting):
    """A setting and where it belongs.

    Attributes
    ----------
    section, name : str
        Dotted, as in TOML.
    method_key, method : str
        The setting that chooses the method which this one is of, and the method; "" where it is
        one of the step.
    is_setting : bool
        False for what is fixed in the program, and recorded.
    """

    section: str = ""
    name: str = ""
    method_key: str = ""
    method: str = ""
    is_setting: bool = True

    @property
    def key(self) -> str:
        """Section and name with a dot between them."""
        return f"{self.section}.{self.name}"

    @property
    def step(self) -> str:
        """The section of the step, be it that of a method."""
        return self.section.split(".")[0]


def _parameters() -> Iterator[Parameter]:
    """Yield every setting: those of a step, then those of its methods."""
    for section, of in SECTIONS.items():
        for name, known in declared(of.settings).items():
            yield _parameter(known, section, name, of.sidecar, of.table)
        for fixed in getattr(of.settings, "fixed", ()):
            yield _fixed(fixed, section)
        for method in of.methods.values():
            for name, known in declared(method.settings).items():
                yield _parameter(
                    known,
                    f"{section}.{method.name}",
                    name,
                    of.sidecar,
                    method.table,
                    method_key=f"{section}.method",
                    method=method.name,
                )


def _parameter(
    known: Setting, section: str, name: str, sidecar: str, table: str, **place: Any
) -> Parameter:
    values = dict(vars(known))
    values["table"] = table if known.table is None else known.table
    if not known.sidecar and sidecar:
        values["sidecar"] = f"{sidecar}.Parameters.{sidecar_key(name)}"
    return Parameter(**values, section=section, name=name, **place)


def _fixed(fixed: Fixed, section: str) -> Parameter:
    return Parameter(
        label=fixed.label,
        sidecar=fixed.sidecar,
        section=section,
        name=fixed.name,
        is_setting=False,
    )


#: Every setting in the order of the pipeline.
PARAMETERS: tuple[Parameter, ...] = tuple(_parameters())


@dataclass(frozen=True)
class Paragraph:
    """Sentences of some steps; ``sections`` are those whose settings must all be named by it."""

    sections: tuple[str, ...]
    clauses: tuple[Clause, ...]


def _all(section: str, *sentences: tuple[Clause, ...]) -> tuple[Clause, ...]:
    return tuple(qualified(clause, section) for part in sentences for clause in part)


#: The methods text from the phase to the maps. Settings of its sections that no sentence of a
#: paragraph names are listed at its end, so that a setting without a sentence is still reported.
PARAGRAPHS = (
    Paragraph(
        ("phase", "total_field"),
        (
            *_all("phase", phase.SENTENCES),
            *_all("masks", masks.MASK1),
            *_all("total_field", total_field.READOUT),
            *_all("phase", phase.DATA),
            *_all("total_field", total_field.SENTENCES),
        ),
    ),
    Paragraph(("masks",), _all("masks", masks.SENTENCES)),
    Paragraph(("background_field",), _all("background_field", background_field.SENTENCES)),
    Paragraph(("dipole_inversion",), _all("dipole_inversion", dipole_inversion.SENTENCES)),
    Paragraph(
        ("reference", "regions", "relaxometry", "swi"),
        (
            *_all("reference", reference.SENTENCES),
            *_all("regions", regions.SENTENCES),
            *_all("relaxometry", relaxometry.SENTENCES),
            *_all("swi", swi.SENTENCES),
        ),
    ),
)
