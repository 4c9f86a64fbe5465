"""Regions of the brain that every run is measured in (paper sections 8.c to 8.g, S1.6)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Clause, setting

__all__ = ["SENTENCES", "Regions"]


@dataclass(frozen=True)
class Regions:
    """Regions of the brain (8.f, 8.g, S1.6)."""

    atlas: str = setting(
        "template",
        "regions where no segmentation is given",
        doc="template registers a template of the head to magnitude, susceptibility and R2* (about"
        " 30 s) and measures its nuclei, white matter, internal capsule and ventricles.",
        choices=("template", "none"),
        sidecar="RegionAtlas.Setting",
    )


_PLACED = {"atlas": "template", "run.regions": True}
_NUCLEI = (
    "Deep grey nuclei, white matter, internal capsule and ventricles were those of a template"
    " [@fonov2011; @pauli2018], registered to magnitude{and}, with the borders of nuclei moved to"
    " the edges of these maps by expectation maximisation with a Markov random field [@zhang2001]."
    " Nuclei were eroded by a voxel where they were thick enough."
)

SENTENCES = (
    Clause(_NUCLEI.replace("{and}", ", susceptibility and R2*"), {**_PLACED, "run.several": True}),
    Clause(_NUCLEI.replace("{and}", " and susceptibility"), {**_PLACED, "run.several": False}),
    Clause(
        "For the registration susceptibility was that of a rapid two-step inversion [@kames2018]"
        " of the local field.",
        {**_PLACED, "run.quick_map": True},
    ),
    Clause("", {**_PLACED, "run.quick_map": False}),
    Clause(
        "A template of the head [@fonov2011] did not fit, and no regions were measured.",
        {"atlas": "template", "run.regions": False},
    ),
    Clause("", {"atlas": "none"}),
)
