"""Referencing (paper section 8)."""

from dataclasses import dataclass

from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.methods.declaration import Answer, Clause, setting

__all__ = ["SENTENCES", "Reference"]

_REFERENCED = {"region": tuple(kind.setting for kind in REFERENCES.values())}
_TOPIC = ("8.c", "reference")


@dataclass(frozen=True)
class Reference:
    """Referencing (section 8)."""

    region: str = setting(
        "brain-mask",
        "reference region",
        doc="Region whose mean is zero in the main map (Table S2.3); maps for the other regions"
        " that there are come beside it, except with none.",
        choices=(*_REFERENCED["region"], "none"),
        paper="brain-mask",
        table="S2.3, S2.4",
        sidecar="MainReference",
        names={**{desc: kind.setting for desc, kind in REFERENCES.items()}, "none": "none"},
        answers={
            "brain-mask": Answer(*_TOPIC, "pass", "Referenced to the mean of the brain (Mask 4)."),
            "csf": Answer(*_TOPIC, "pass", "Referenced to the cerebrospinal fluid."),
            "white-matter": Answer(
                *_TOPIC, "pass", "Referenced to white matter, by the regions of a template."
            ),
            "internal-capsule": Answer(
                *_TOPIC,
                "pass",
                "Referenced to the internal capsule, by the regions of a template.",
            ),
            "region": Answer(*_TOPIC, "pass", "Referenced to a region that was given."),
            "none": Answer(
                *_TOPIC,
                "advice",
                "Not referenced: subtract the mean of a region before any analysis.",
            ),
        },
    )
    csf_r2star_threshold: float = setting(
        5.0,
        "largest R2* of fluid",
        "1/s",
        "In the ventricles.",
        minimum=0.1,
        maximum=100.0,
        when=_REFERENCED,
        echoes=3,
        sidecar="CsfRegion.R2StarThreshold",
    )
    csf_centre_radius_mm: float = setting(
        30.0,
        "sphere around the centre that ventricles reach into, radius",
        "mm",
        "Of the brain.",
        minimum=1.0,
        maximum=100.0,
        when=_REFERENCED,
        echoes=3,
        sidecar="CsfRegion.CentreRadiusMm",
    )
    csf_smallest_volume_ml: float = setting(
        0.5,
        "smallest volume of fluid",
        "ml",
        "Less is no ventricle.",
        minimum=0.0,
        when=_REFERENCED,
        echoes=3,
        sidecar="CsfRegion.SmallestVolumeMl",
    )
    csf_largest_volume_ml: float = setting(
        150.0,
        "largest volume of fluid",
        "ml",
        "More is no ventricle.",
        minimum=0.0,
        when=_REFERENCED,
        echoes=3,
        sidecar="CsfRegion.LargestVolumeMl",
    )


SENTENCES = (
    Clause(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over the"
        " brain (Mask 4).",
        {"region": "brain-mask"},
    ),
    Clause(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over the"
        " cerebrospinal fluid.",
        {"region": "csf"},
    ),
    Clause(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over the"
        " white matter of a template [@fonov2011] that was registered to the map.",
        {"region": "white-matter"},
    ),
    Clause(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over the"
        " internal capsule of a template [@fonov2011] that was registered to the map.",
        {"region": "internal-capsule"},
    ),
    Clause(
        "Susceptibility values are in parts per million (ppm) and referenced to the mean over a"
        " region that was given.",
        {"region": "region"},
    ),
    Clause(
        "Cerebrospinal fluid of the ventricles was taken to be the voxels with R2* below"
        " {csf_r2star_threshold} that reach into a sphere of radius {csf_centre_radius_mm} around"
        " the centre of the brain [@liu2018], provided that their volume lay between"
        " {csf_smallest_volume_ml} and {csf_largest_volume_ml}.",
        {"step.find_csf": True},
    ),
    Clause("No such fluid was found.", {"step.find_csf": True, "run.csf_found": False}),
    Clause(
        "Susceptibility values are in parts per million (ppm), as the inversion gave them, without"
        " a reference.",
        {"region": "none"},
    ),
)
