"""Total field estimation and echo combination (section 4, Table S2.1)."""

from dataclasses import dataclass
from typing import ClassVar

from qsmbids.methods.declaration import Answer, Clause, Fixed, setting

__all__ = ["READOUT", "SENTENCES", "TotalField"]

_AVERAGED = {"echo_phase_combination": ("romeo-weighted-average",)}
_OFFSET = {**_AVERAGED, "phase_offset_correction": ("mcpc-3d-s",)}


@dataclass(frozen=True)
class TotalField:
    """Total field estimation and echo combination (Table S2.1)."""

    fixed: ClassVar = (
        Fixed("template_echo", "ROMEO template echo", "Unwrapping.TemplateEcho"),
        Fixed("fit_romeo_weights", "ROMEO edge weights, of the fit", "Unwrapping.FitWeights"),
        Fixed(
            "quality_romeo_weights",
            "ROMEO edge weights, of the phase quality",
            "PhaseQuality.Weights",
        ),
        Fixed(
            "noise_weighting",
            "weights of the echoes in the noise of the field",
            "FieldNoiseWeighting",
        ),
    )

    echo_phase_combination: str = setting(
        "romeo-weighted-average",
        "echo combination",
        doc="Template unwrapping and weighted averaging, or a complex fit then unwrapped (4.c).",
        choices=("romeo-weighted-average", "nonlinear-fit"),
        echoes=2,
        paper="romeo-weighted-average",
        sidecar="EchoCombination.Name",
        names={
            "weighted echo averaging": "romeo-weighted-average",
            "nonlinear complex fit": "nonlinear-fit",
        },
        unless="given_phase",
        answers={
            "romeo-weighted-average": Answer(
                "4.c",
                "unwrapping and echo combination",
                "pass",
                "Template unwrapping, then weighted echo averaging.",
            ),
            "nonlinear-fit": Answer(
                "4.c",
                "unwrapping and echo combination",
                "pass",
                "Nonlinear fit of the complex signal, then spatial unwrapping.",
            ),
        },
    )
    bipolar_correction: str = setting(
        "auto",
        "correction of a bipolar readout",
        doc="Removal of the phase between readout directions, where the echoes show one (S2 step"
        " 1); auto is linear for four or more echoes, mcpc-3d-s for three.",
        choices=("auto", "linear", "mcpc-3d-s", "off"),
        echoes=3,
        sidecar="ReadoutCorrection.Setting",
    )
    phase_offset_correction: str = setting(
        "mcpc-3d-s",
        "phase offset correction",
        doc="Removal of the phase at TE = 0.",
        choices=("mcpc-3d-s", "none"),
        when=_AVERAGED,
        paper="mcpc-3d-s",
        sidecar="PhaseOffsetCorrection.Name",
        names={"MCPC-3D-S": "mcpc-3d-s"},
        otherwise=("none", "unwrap_phase", "!remove_phase_offset"),
        answers={
            "mcpc-3d-s": Answer(
                "4.c", "phase offset", "pass", "Removed explicitly, by MCPC-3D-S."
            ),
            "none": Answer(
                "4.c",
                "phase offset",
                "changed",
                "The phase at TE = 0 stays in the field; background removal takes only part of"
                " it.",
            ),
        },
    )
    phase_offset_smoothing_mm: float = setting(
        7.0,
        "Gaussian smoothing of the phase offset, sigma",
        "mm",
        "Default of the software of the paper.",
        minimum=0.0,
        maximum=50.0,
        when=_OFFSET,
        sidecar="PhaseOffsetCorrection.SmoothingMm",
    )
    phase_offset_refinements: int = setting(
        8,
        "refinements of the smoothed phase offset",
        doc="How often what the smoothing missed is fitted by local planes and added; 0 as in"
        " the paper's software, which leaves 0.9 Hz of error on a head phantom, where 8 leave"
        " 0.02 Hz.",
        minimum=0,
        maximum=50,
        when=_OFFSET,
        software=0,
        sidecar="PhaseOffsetCorrection.Refinements",
    )
    single_echo_offset: str = setting(
        "curvature",
        "phase offset of a single echo",
        doc="What is taken off of it: the curvature, which background removal would leave in the"
        " map. With two echoes or more phase_offset_correction has this part.",
        choices=("curvature", "none"),
        most_echoes=1,
        sidecar="SingleEchoOffset.Name",
        otherwise=("none", "unwrap_phase", "!flatten_offset"),
        unless="map_r2star",
    )
    romeo_weights: str = setting(
        "romeo3",
        "ROMEO edge weights",
        doc="Its command line uses romeo3 with a magnitude.",
        choices=("romeo2", "romeo3", "romeo4", "romeo6"),
        when=_AVERAGED,
        sidecar="Unwrapping.Weights",
    )
    romeo_regions: str = setting(
        "mended",
        "regions that growing left whole turns off",
        doc="Moved where the phase then runs straighter across their borders, or left as grown,"
        " as in the paper's software.",
        choices=("mended", "as-grown"),
        when=_AVERAGED,
        software="as-grown",
        sidecar="Unwrapping.Regions",
    )
    echo_weighting: str = setting(
        "phase_snr",
        "weights of the echoes",
        doc="In the average.",
        choices=("phase_snr", "phase_var", "average", "tes", "mag"),
        echoes=2,
        when=_AVERAGED,
        sidecar="EchoCombination.Weighting",
    )
    relative_residual_threshold: float = setting(
        0.3,
        "relative residual from which a voxel has no weight",
        doc="Of the signal model.",
        minimum=0.0,
        maximum=10.0,
        echoes=3,
        paper=0.3,
        sidecar="DataWeights.RelativeResidualThreshold",
    )


READOUT = (
    Clause(
        "The phase difference between the readout directions of the bipolar echoes was removed"
        " (method {bipolar_correction}, model {run.readout_model}) [@li2015].",
        {"run.readout": "bipolar"},
    ),
    Clause(
        "The echoes were tested for the phase difference of a bipolar readout (correction:"
        " {bipolar_correction}), and none was found.",
        {"run.readout": "monopolar"},
    ),
    Clause(
        "The echoes were tested for the phase difference of a bipolar readout, which was removed"
        " where it was found (correction: {bipolar_correction}) [@li2015].",
        {"run.readout": None, "step.correct_readout": True},
    ),
    Clause(
        "A phase difference of a bipolar readout was not looked for.",
        {"step.prepare_phase": True, "step.correct_readout": False, "run.several": True},
    ),
)

_UNWRAPPED = {"step.unwrap_phase": True}

_MEASURED = (
    Clause(
        "The phase at echo time zero was estimated by MCPC-3D-S [@eckstein2018] (Gaussian"
        " smoothing with a sigma of {phase_offset_smoothing_mm}, {phase_offset_refinements}"
        " refinements by local linear regression) and subtracted.",
        {"step.remove_phase_offset": True},
    ),
    Clause(
        "The phase at echo time zero was not removed.",
        {**_UNWRAPPED, "step.remove_phase_offset": False, "step.flatten_offset": False},
        ("single_echo_offset", "phase_offset_correction"),
    ),
    Clause(
        "The phase was unwrapped by template unwrapping with ROMEO [@dymerska2021] (weights"
        " {romeo_weights}), and the echoes were averaged to the total field (weights"
        " {echo_weighting}).",
        {**_UNWRAPPED, "run.several": True},
    ),
    Clause("The template was echo {template_echo}.", _UNWRAPPED),
    Clause(
        "The phase of the single echo was unwrapped by ROMEO [@dymerska2021] (weights"
        " {romeo_weights}) and divided by its echo time to give the total field.",
        {**_UNWRAPPED, "run.several": False},
    ),
    Clause(
        "Regions left whole turns off were moved where the phase then ran straighter across"
        " their borders (minimum cut [@bioucasdias2007]).",
        {**_UNWRAPPED, "romeo_regions": "mended"},
    ),
    Clause(
        "Regions left whole turns off were not looked for.",
        {**_UNWRAPPED, "romeo_regions": "as-grown"},
    ),
    Clause(
        "With one echo the phase at echo time zero cannot be told from the field; its curvature"
        " was found by spherical means and subtracted.",
        {"step.flatten_offset": True},
        ("single_echo_offset", "phase_offset_correction"),
    ),
    Clause(
        "The total field and the phase at echo time zero were fitted to the complex signal of all"
        " echoes [@liu2013], and the field was then unwrapped by ROMEO [@dymerska2021].",
        {"echo_phase_combination": "nonlinear-fit"},
    ),
    Clause("The weights of the unwrapping were {fit_romeo_weights}."),
)

_SUPPLIED = (
    Clause(
        "Unwrapped phase that the investigators gave was used, and its echoes were averaged to"
        " the total field (weights {echo_weighting}).",
        {"step.given_phase": True, "step.given_local_field": False},
    ),
    Clause(
        "A total field that the investigators gave was used.",
        {"step.given_field": True, "step.given_local_field": False},
    ),
    Clause(
        "A local field that the investigators gave was used, so that no background field was"
        " removed; the total field that came with it had a part in the weights only.",
        {"run.given_total_with_local": True},
    ),
    Clause(
        "A local field that the investigators gave was used, so that no background field was"
        " removed.",
        {"step.given_local_field": True, "run.given_total_with_local": False},
    ),
)

_WEIGHTS = (
    Clause(
        "The weights of the data were the inverse of the noise of the field, shifted and scaled to"
        " a median of one, with outliers softened, and multiplied by a factor that falls linearly"
        " with the relative residual of the signal model, to zero at"
        " {relative_residual_threshold} [@chan2021].",
        {"run.residual": True},
    ),
    Clause(
        "The weights of the data were the inverse of the noise of the field, shifted and scaled to"
        " a median of one, with outliers softened [@chan2021].",
        {"step.weight_data": True, "run.residual": False},
    ),
    Clause(
        "That noise was taken from the magnitude, for echoes averaged with the weights"
        " {noise_weighting}.",
        {"step.weight_data": True},
    ),
)

SENTENCES = (*_MEASURED, *_SUPPLIED, *_WEIGHTS)
