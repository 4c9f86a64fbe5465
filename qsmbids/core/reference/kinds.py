"""The regions whose mean may be the zero of a map, and what each is called."""

from typing import NamedTuple

__all__ = ["FROM_TEMPLATE", "REFERENCES", "UNREFERENCED", "ReferenceKind"]

#: ``desc`` of a map without a reference.
UNREFERENCED = "unreferenced"


class ReferenceKind(NamedTuple):
    """One reference (Table 2 of the consensus)."""

    setting: str
    """As ``[reference] region`` has it."""
    name: str
    """For people."""
    region: str
    """What it is the mean of."""


#: References that a template tells the place of, as ``[reference] region`` has them.
FROM_TEMPLATE = ("white-matter", "internal-capsule")

#: By the ``desc`` entity of maps and tables, the main one first.
REFERENCES = {
    "wholebrain": ReferenceKind("brain-mask", "brain", "brain (Mask 4)"),
    "csf": ReferenceKind("csf", "CSF", "CSF of the ventricles"),
    "whitematter": ReferenceKind("white-matter", "white matter", "white matter"),
    "internalcapsule": ReferenceKind("internal-capsule", "internal capsule", "internal capsule"),
    "region": ReferenceKind("region", "given region", "given"),
}
