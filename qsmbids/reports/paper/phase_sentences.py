"""Sentences of the methods text on the phase, Mask 1 and what was mended in the data."""

from qsmbids.reports.paper.clause import Clause

__all__ = ["DATA", "MASK1", "PHASE", "READOUT"]

_C = Clause

PHASE = (
    _C(
        "The phase was brought to radians and given the sign with which it grows with the field,"
        " after the manufacturer's convention (sign {run.phase_sign}).",
        {"phase.sign": "auto", "run.sign_known": True},  # on record
    ),
    _C(
        "The phase was brought to radians and given the sign with which it grows with the field,"
        " after the manufacturer's convention.",
        {"phase.sign": "auto", "run.sign_known": False},
    ),
    _C("The phase was brought to radians with the sign {phase.sign}.", {"run.sign_given": True}),
    _C("The opposite sign of every second slice was undone.", {"run.alternating": True}),
    _C(
        "Every second slice was tested for the opposite sign, and none had it.",
        {"phase.slice_alternation": "auto", "run.alternating": False},
    ),
    _C(
        "Every second slice was tested for the opposite sign, which was undone where found.",
        {"phase.slice_alternation": "auto", "run.alternating": None},
    ),
    _C("Slices of opposite sign were not looked for.", {"phase.slice_alternation": "off"}),
)

_BET_OPTIONS = (
    "the {masks.brain_extraction_image} magnitude (fractional intensity"
    " {masks.fractional_intensity}, threshold gradient {masks.threshold_gradient})"
)

MASK1 = (
    _C(
        f"A brain mask (Mask 1) was made by FSL BET [@smith2002] from {_BET_OPTIONS}.",
        {"run.mask1": "fsl"},
    ),
    _C(
        "A brain mask (Mask 1) was made by a new implementation of the brain extraction tool BET"
        f" [@smith2002] from {_BET_OPTIONS}.",
        {"run.mask1": "builtin"},
    ),
    _C(
        f"A brain mask (Mask 1) was made by the brain extraction tool BET [@smith2002] from"
        f" {_BET_OPTIONS}.",
        {"run.mask1": ""},
    ),
    _C("A brain mask (Mask 1) that the investigators gave was used.", {"run.mask1": "given"}),
)

READOUT = (
    _C(
        "The phase difference between the readout directions of the bipolar echoes was removed"
        " (method {total_field.bipolar_correction}, model {run.readout_model}) [@li2015].",
        {"run.readout": "bipolar"},
    ),
    _C(
        "The echoes were tested for the phase difference of a bipolar readout (correction:"
        " {total_field.bipolar_correction}), and none was found.",
        {"run.readout": "monopolar"},
    ),
    _C(
        "The echoes were tested for the phase difference of a bipolar readout, which was removed"
        " where it was found (correction: {total_field.bipolar_correction}) [@li2015].",
        {"run.readout": None, "step.correct_readout": True},
    ),
    _C(
        "A phase difference of a bipolar readout was not looked for.",
        {"step.prepare_phase": True, "step.correct_readout": False, "run.several": True},
    ),
)

DATA = (
    _C(
        "{run.voxels_without_phase} voxels that hold no phase (not finite, fill values, dots of"
        " zero) were left out.",
        {"run.without_phase": True},
    ),
    _C(
        "A phase that each slice had of its own, the same in all echoes, was found from the first"
        " two and removed.",
        {"run.slice_offsets": True},
    ),
    _C(
        "A constant phase that each echo had of its own was removed.",
        {"run.echo_constants": True},
    ),
    _C(
        "Lengths of the settings were counted {run.length_scale} times, for the head is small.",
        {"run.small_head": True},
    ),
)
