"""Dipole inversion (7.a, 7.b, Tables S2.3 and S2.4): what its methods share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsmbids.methods import inversion
from qsmbids.methods.declaration import Clause, setting
from qsmbids.methods.registry import Registry, WithMethods, with_methods

__all__ = ["INVERSION", "SENTENCES", "DipoleInversion"]

INVERSION = Registry.of(inversion, first="fansi")

_WEIGHTED = tuple(m.name for m in INVERSION.values() if m.weighted)
_UNWEIGHTED = {"method": tuple(m.name for m in INVERSION.values() if not m.weighted)}


@dataclass(frozen=True)
class _DipoleInversion(WithMethods):
    """Dipole field inversion (Tables S2.3 and S2.4)."""

    method: str = INVERSION.setting(
        "dipole inversion",
        "Inversion (7.a, 7.b); those in one step are for quick looks",
        sidecar="DipoleInversion.Name",
    )
    regularisation_from: str = setting(
        "",
        "origin of the strength of the regularisation",
        doc="For the record; --adaptive-from and qsmbids-lcurve fill it in.",
        when={"method": tuple(m.name for m in INVERSION.values() if m.strength)},
    )
    holes: str = setting(
        "fill",
        "holes of Mask 2 inside Mask 4",
        doc="fill leaves their data the weight that noise and residual give it, as in S2; weight"
        " gives them none; two-pass inverts once more without holes, strong sources and their"
        " field, and merges (5.c).",
        choices=("fill", "weight", "two-pass"),
    )
    uncertainty: bool = setting(
        False,
        "standard error of the susceptibility",
        doc="From simulated errors as measured in the field: a map, and intervals of regions.",
        when={"method": tuple(m.name for m in INVERSION.values() if m.uncertain)},
    )


if TYPE_CHECKING:
    DipoleInversion = _DipoleInversion
else:
    DipoleInversion = with_methods(_DipoleInversion, INVERSION)

_MASK2 = {"masks.reliable_phase": ("romeo-quality", "inverse-noise", "relative-residual")}
_INVERTED = {"step.invert_dipole_field": True}

SENTENCES = (
    *INVERSION.sentences("dipole_inversion"),
    Clause(
        "Data in holes of unreliable phase kept the weight of their noise.",
        {"method": _WEIGHTED, **_MASK2, "holes": "fill"},
    ),
    Clause(
        "Data in holes of unreliable phase had no weight.",
        {"method": _WEIGHTED, **_MASK2, "holes": "weight"},
    ),
    Clause(
        "Data in holes of unreliable phase were inverted as all others.",
        {**_UNWEIGHTED, **_MASK2, "holes": "fill"},
    ),
    Clause(
        "Data in holes of unreliable phase counted as zero.",
        {**_UNWEIGHTED, **_MASK2, "holes": "weight"},
    ),
    Clause("Of the weights, only those of zero counted, as data of zero.", _UNWEIGHTED),
    Clause("", {"holes": ("fill", "weight"), "masks.reliable_phase": "none"}),
    Clause(
        "Strong sources and holes of unreliable phase were taken from an inversion of all voxels,"
        " and the tissue from a second one without their data and their field [@stewart2022].",
        {"holes": "two-pass"},
    ),
    Clause(
        "The map is zero outside the mask of the background field removal without holes.",
        {"step.remove_background_field": True, **_INVERTED, "run.medi_filter": False},
    ),
    Clause(
        "The map is zero outside the mask of the background field removal without holes, less the"
        " radius of the filter.",
        {"step.remove_background_field": True, **_INVERTED, "run.medi_filter": True},
    ),
    Clause(
        "The map is zero outside the region of the local field that was given.",
        {"step.given_local_field": True, **_INVERTED, "run.medi_filter": False},
    ),
    Clause(
        "The map is zero outside the region of the local field that was given, less the radius of"
        " the filter.",
        {"step.given_local_field": True, **_INVERTED, "run.medi_filter": True},
    ),
)
