"""From the images to the total field, its weights and R2*: Figure 5, upper half."""

from typing import Any

from qsmbids.io.phase_filter import filter_evidence, phase_choice
from qsmbids.io.start_image import StartImage
from qsmbids.workflows.graph import RunContext, Step
from qsmbids.workflows.steps.inputs import IMAGE, echo_times


def _files(run: RunContext, *parts: str) -> dict[str, Any]:
    files = {part: [str(path) for path in getattr(run.plan.run, part)] for part in parts}
    return {part: paths for part, paths in files.items() if paths}


def _magnitude(run: RunContext) -> dict[str, Any]:
    extra = run.plan.acquisition.extra
    return {
        **_files(run, "magnitude", "real", "imag"),
        "coils": int(extra.get("CoilsCombined") or 0),
        "coil_combination": str(extra.get("CoilCombinationMethod") or ""),
    }


def _phase(run: RunContext) -> dict[str, Any]:
    words = run.plan.acquisition.extra.get("ImageType")
    sidecar = run.plan.run.sidecars[-1]
    evidence = filter_evidence(sidecar)
    return {
        **_files(run, "phase", "real", "imag"),
        "echo_times": run.echo_times[:2],
        "slice_axis": -1 if run.plan.slice_axis is None else run.plan.slice_axis,
        "slices": run.settings.phase.slices,
        "slice_alternation": run.settings.phase.slice_alternation,
        "phase_units": run.plan.acquisition.phase_units or "",
        "image_type": [str(word) for word in words] if isinstance(words, list) else [],
        "sign": run.settings.phase.sign,
        "manufacturer": run.plan.acquisition.manufacturer or "",
        "last_echo_time": run.echo_times[-1],
        "b0_tesla": run.plan.acquisition.b0_tesla,
        "accept_filtered": run.settings.phase.accept_filtered,
        "filter_evidence": "" if evidence is None else evidence.text,
        "filter_certain": evidence is not None and evidence.certain,
        "filter_choice": phase_choice(sidecar),
        # a given field does without the phase
        "refuse_filtered": run.plan.start is None,
    }


PREPARE_MAGNITUDE = Step(
    "prepare_magnitude",
    "magnitude of the echoes",
    "qsmbids.interfaces.prepare_magnitude:PrepareMagnitude",
    (3, 4),
    provides={
        "head_magnitude": "magnitude",
        "combined_magnitude": "combined_magnitude",
        "broken": "broken",
    },
    inputs=_magnitude,
)
PREPARE_PHASE = Step(
    "prepare_phase",
    "phase to radians",
    "qsmbids.interfaces.prepare_phase:PreparePhase",
    (3, 4),
    {"magnitude": "head_magnitude", "broken": "broken"},
    provides={
        "prepared_phase": "phase",
        "phase": "phase",
        "magnitude": "magnitude",
        "slice_axis": "slice_axis",
    },
    inputs=_phase,
)

BET = Step(
    "bet",
    "brain extraction (FSL)",
    "nipype.interfaces.fsl:BET",
    (0, 8),
    {"in_file": "brain_image"},
    {"drawn_mask": "mask_file"},
    lambda run: {
        "frac": run.settings.masks.fractional_intensity,
        "vertical_gradient": run.settings.masks.threshold_gradient,
        "mask": True,
        "output_type": "NIFTI_GZ",
    },
)
MASK1 = Step(
    "mask1",
    "Mask 1, brain",
    "qsmbids.interfaces.masks:ExtractBrain",
    (0, 8),
    {"magnitude": "brain_image"},
    {"mask1": "mask"},
    lambda run: {
        "fractional_intensity": run.settings.masks.fractional_intensity,
        "threshold_gradient": run.settings.masks.threshold_gradient,
        "image": run.settings.masks.brain_extraction_image,
    },
)
FSL_MASK1 = Step(
    "mask1",
    MASK1.title,
    "qsmbids.interfaces.masks:ConformMask",
    MASK1.volumes,
    {"mask": "drawn_mask", "like": "combined_magnitude"},
    MASK1.provides,
    lambda run: {"origin": "FSL BET", "drawn": False, "parameters": MASK1.inputs(run)},
)
GUIDE_MASK1 = Step(
    "guide_mask1",
    "Mask 1 by the template",
    "qsmbids.interfaces.anatomy:GuideMask",
    (0, 30),
    {"magnitude": "brain_image", "r2star": "decay?", "mask": "mask1"},
    {**MASK1.provides, "template_fit": "fit"},
    lambda run: {"guide": run.settings.masks.guide},
)
GIVEN_MASK1 = Step(
    "mask1",
    MASK1.title,
    "qsmbids.interfaces.masks:ConformMask",
    MASK1.volumes,
    {"like": "combined_magnitude"},
    MASK1.provides,
    lambda run: {
        "mask": str(run.plan.mask),
        "origin": f"given: {run.plan.mask.name if run.plan.mask else ''}",
    },
)

FIT_R2STAR = Step(
    "fit_r2star",
    "R2* of every voxel",
    "qsmbids.interfaces.relaxometry:FitR2Star",
    (1, 6),
    {"magnitude": "head_magnitude"},
    {"decay": "r2star", "decay_s0": "s0", "decay_method": "used"},
    lambda run: {**echo_times(run), "method": run.settings.relaxometry.method},
)
MAP_R2STAR = Step(
    "map_r2star",
    "R2* map",
    "qsmbids.interfaces.relaxometry:MapR2Star",
    (0, 6),
    {"r2star": "decay", "s0": "decay_s0", "used": "decay_method", "mask": "mask1"},
    {"r2star": "r2star"},
    lambda run: {"method": run.settings.relaxometry.method},
)
CHECK_PHASE = Step(
    "check_phase",
    "phase checks",
    "qsmbids.interfaces.checks:CheckPhase",
    (2, 6),
    {
        "phase": "prepared_phase",
        "echo_times_check": "correct_readout.echo_times_check?",
        **IMAGE,
    },
    inputs=echo_times,
    checks=("prepared_phase",),
)
CORRECT_READOUT = Step(
    "correct_readout",
    "readout direction",
    "qsmbids.interfaces.phase_correction:CorrectReadout",
    (3, 10),
    {"phase": "phase", **IMAGE},
    {"phase": "phase"},
    lambda run: {
        **echo_times(run),
        "echo_numbers": list(run.plan.run.echoes),
        "method": run.settings.total_field.bipolar_correction,
    },
)
REMOVE_PHASE_OFFSET = Step(
    "remove_phase_offset",
    "phase offset (MCPC-3D-S)",
    "qsmbids.interfaces.phase_correction:RemovePhaseOffset",
    (3, 10),
    {"phase": "phase", **IMAGE},
    {"phase_of_field": "phase", "phase_offset": "offset"},
    lambda run: {
        **echo_times(run),
        "sigma_mm": run.settings.total_field.phase_offset_smoothing_mm,
        "refinements": run.settings.total_field.phase_offset_refinements,
    },
)
UNWRAP_PHASE = Step(
    "unwrap_phase",
    "unwrapping (ROMEO)",
    "qsmbids.interfaces.field:UnwrapPhase",
    (3, 14),
    {
        "phase": "phase_of_field",
        "measured": "prepared_phase",
        "slice_axis": "slice_axis",
        **IMAGE,
    },
    {"unwrapped_phase": "phase", "phase_quality": "quality"},
    lambda run: {
        **echo_times(run),
        "weights": run.settings.total_field.romeo_weights,
        "regions": run.settings.total_field.romeo_regions,
    },
)
RATE_PHASE = Step(
    "rate_phase",
    "phase quality",
    "qsmbids.interfaces.start_image:RatePhase",
    (2, 10),
    {"phase": "prepared_phase", **IMAGE},
    {"phase_quality": "quality", "field_noise": "noise"},
    lambda run: {
        **echo_times(run),
        "weights": run.settings.total_field.romeo_weights,
        "weighting": run.settings.total_field.echo_weighting,
    },
)
_ON_THE_GRID = {"like": "combined_magnitude", "mask": "mask1"}
GIVEN_PHASE = Step(
    "given_phase",
    "given unwrapped phase",
    "qsmbids.interfaces.start_image:TakePhase",
    (2, 4),
    _ON_THE_GRID,
    {"unwrapped_phase": "phase"},
)
GIVEN_FIELD = Step(
    "given_field",
    "given total field",
    "qsmbids.interfaces.start_image:TakeField",
    (0, 6),
    _ON_THE_GRID,
    {"field": "field"},
)
COMBINE_ECHOES = Step(
    "combine_echoes",
    "echo combination",
    "qsmbids.interfaces.field:CombineEchoes",
    (2, 14),
    {"phase": "unwrapped_phase", **IMAGE},
    {"field": "field", "field_noise": "noise"},
    lambda run: {**echo_times(run), "weighting": run.settings.total_field.echo_weighting},
)
FIT_FIELD = Step(
    "combine_echoes",
    COMBINE_ECHOES.title,
    "qsmbids.interfaces.field:FitField",
    COMBINE_ECHOES.volumes,
    {"phase": "phase", **IMAGE},
    {"field": "field", "field_noise": "noise", "phase_quality": "quality"},
    echo_times,
    wide=True,
)
WEIGHT_DATA = Step(
    "weight_data",
    "data weights",
    "qsmbids.interfaces.field:WeightData",
    (2, 8),
    {
        "phase": "phase",
        **IMAGE,
        "noise": "field_noise",
        "field": "field?",
        "r2star": "r2star?",
    },
    {"weights": "weights", "residual": "residual"},
    lambda run: {
        **echo_times(run),
        "threshold": run.settings.total_field.relative_residual_threshold,
    },
)


def numbers(start: StartImage) -> dict[str, Any]:
    """Return the inputs of a step that takes a start image, less the image."""
    return {"scale": start.scale, "units": start.units, "notes": list(start.notes)}
