"""Masks 1 to 3 (paper section 5, Figure 5)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Answer, Clause, setting

__all__ = ["MASK1", "SENTENCES", "Masks"]

_BET = {"brain_extraction": ("auto", "fsl", "builtin")}


@dataclass(frozen=True)
class Masks:
    """Masks 1 to 3 (section 5, Figure 5)."""

    brain_extraction: str = setting(
        "auto",
        "brain extraction for Mask 1",
        doc="FSL's bet where it is installed (auto), else the built-in one.",
        choices=("auto", "fsl", "builtin"),
        sidecar="BrainExtraction.Name",
        names={"FSL BET": "fsl", "built-in BET": "builtin"},
    )
    brain_extraction_image: str = setting(
        "first-echo",
        "magnitude for Mask 1",
        doc="That is given to BET (5.a).",
        choices=("first-echo", "combined"),
        when=_BET,
        paper="first-echo",
        sidecar="BrainExtraction.Parameters.image",
        answers={
            "first-echo": Answer(
                "5.a", "Mask 1", "pass", "BET on the magnitude of the first echo."
            ),
            "combined": Answer("5.a", "Mask 1", "pass", "BET on the combined magnitude."),
        },
    )
    fractional_intensity: float = setting(
        0.5,
        "BET fractional intensity",
        doc="BET -f (S2 step 1).",
        minimum=0.01,
        maximum=0.99,
        when=_BET,
        paper=0.5,
        sidecar="BrainExtraction.Parameters.fractional_intensity",
    )
    threshold_gradient: float = setting(
        0.0,
        "BET threshold gradient",
        doc="BET -g (S2 step 1).",
        minimum=-1.0,
        maximum=1.0,
        when=_BET,
        paper=0.0,
        sidecar="BrainExtraction.Parameters.threshold_gradient",
    )
    guide: str = setting(
        "template",
        "guide of Mask 1",
        doc="template registers a template of the head to the magnitude and R2* and corrects the"
        " extracted brain by it: no neck, face or skull base.",
        choices=("none", "template"),
        when=_BET,
        sidecar="MaskGuide.Setting",
    )
    reliable_phase: str = setting(
        "romeo-quality",
        "measure for Mask 2",
        doc="That is thresholded (5.a).",
        choices=("romeo-quality", "inverse-noise", "relative-residual", "none"),
        paper="none",
        table="S2.1",
        sidecar="ReliablePhase.Measure",
        answers={
            "romeo-quality": Answer(
                "5.a", "Mask 2", "pass", "Threshold of the phase quality map."
            ),
            "inverse-noise": Answer(
                "5.a", "Mask 2", "pass", "Threshold of the noise map of the field."
            ),
            "relative-residual": Answer(
                "5.a",
                "Mask 2",
                "pass",
                "Threshold of the residual of the signal model over the echoes.",
            ),
            "none": Answer(
                "5.a",
                "Mask 2",
                "changed",
                "No mask of reliable phase; the weights alone reduce the influence of bad voxels.",
            ),
        },
    )
    quality_threshold: float = setting(
        0.3,
        "lowest phase quality in Mask 2",
        doc="Of ROMEO, 0 to 1.",
        minimum=0.0,
        maximum=1.0,
        when={"reliable_phase": ("romeo-quality",)},
        sidecar="ReliablePhase.Threshold",
    )
    inverse_noise_factor: float = setting(
        1.0,
        "lowest inverse noise in Mask 2, in means over the image",
        doc="Of the field.",
        minimum=0.0,
        when={"reliable_phase": ("inverse-noise",)},
        sidecar="ReliablePhase.Threshold",
    )
    closing_mm: float = setting(
        2.0,
        "closing before the holes of Mask 3 are filled",
        "mm",
        "Radius.",
        minimum=0.0,
        maximum=20.0,
        sidecar="ClosingMm",
    )


_OPTIONS = (
    "the {brain_extraction_image} magnitude (fractional intensity {fractional_intensity},"
    " threshold gradient {threshold_gradient})"
)

MASK1 = (
    Clause(
        f"A brain mask (Mask 1) was made by FSL BET [@smith2002] from {_OPTIONS}.",
        {"run.mask1": "fsl"},
    ),
    Clause(
        "A brain mask (Mask 1) was made by a new implementation of the brain extraction tool BET"
        f" [@smith2002] from {_OPTIONS}.",
        {"run.mask1": "builtin"},
    ),
    Clause(
        f"A brain mask (Mask 1) was made by the brain extraction tool BET [@smith2002] from"
        f" {_OPTIONS}.",
        {"run.mask1": ""},
    ),
    Clause("A brain mask (Mask 1) that the investigators gave was used.", {"run.mask1": "given"}),
    Clause(
        "Mask 1 was corrected by a template of the head [@fonov2011] that was registered to the"
        " magnitude.",
        {"guide": "template", "run.guided": True},
    ),
    Clause(
        "A template of the head [@fonov2011] did not fit the magnitude, and had no part.",
        {"guide": "template", "run.guided": False},
    ),
    Clause("", {"guide": "none"}),
)

_ROMEO = {"reliable_phase": "romeo-quality"}

SENTENCES = (
    Clause(
        "Voxels with a ROMEO phase quality of {quality_threshold} or more were taken for reliable"
        " (Mask 2).",
        _ROMEO,
    ),
    Clause("The phase quality had the weights {total_field.quality_romeo_weights}.", _ROMEO),
    Clause(
        "",
        {"reliable_phase": ("inverse-noise", "relative-residual", "none")},
        ("total_field.quality_romeo_weights",),
    ),
    Clause(
        "Voxels with an inverse noise of at least {inverse_noise_factor} times its mean over the"
        " image were taken for reliable (Mask 2).",
        {"reliable_phase": "inverse-noise"},
    ),
    Clause(
        "Voxels below the threshold of the relative residual were taken for reliable (Mask 2).",
        {"reliable_phase": "relative-residual"},
    ),
    Clause("All voxels were taken for reliable: there was no Mask 2.", {"reliable_phase": "none"}),
    Clause(
        "Mask 1 without the unreliable voxels was closed with a radius of {closing_mm}, and its"
        " holes were filled (Mask 3).",
        {"reliable_phase": ("romeo-quality", "inverse-noise", "relative-residual")},
    ),
    Clause(
        "Mask 1 was closed with a radius of {closing_mm}, and its holes were filled (Mask 3).",
        {"reliable_phase": "none"},
    ),
)
