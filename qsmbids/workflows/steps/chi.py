"""From the total field to the susceptibility, with Masks 2 to 4: Figure 5, lower half."""

from itertools import pairwise
from typing import Any

from qsmbids.methods.background_field import left_to_inversion
from qsmbids.workflows.graph import RunContext, Step
from qsmbids.workflows.steps.inputs import b0, csf, echo_times


def _chosen(section: Any) -> dict[str, Any]:
    """Return the method of a section and its settings."""
    return {"method": section.method, "settings": dict(vars(section.chosen))}


def put_back_by_inversion(run: RunContext) -> bool:
    """Tell whether there is a removal whose loss the inversion can put back."""
    settings = run.settings
    return (
        run.plan.gives("local") is None
        and not _slices_of_one_echo(run)  # which get a second pass
        and left_to_inversion(settings.background_field, settings.dipole_inversion.holes)
    )


def _slices_of_one_echo(run: RunContext) -> bool:
    """Tell whether the constants of slices are of a model."""
    return run.plan.slice_axis is not None and len(run.echo_times) == 1


def _turn_hz(run: RunContext) -> float:
    """Return a turn [Hz] of the phase that is unwrapped in space: template echo, or the fit's."""
    times = sorted(run.echo_times)
    fit = run.settings.total_field.echo_phase_combination == "nonlinear-fit"
    if fit and len(times) > 2 and run.plan.start is None:
        return 1 / min(later - earlier for earlier, later in pairwise(times))
    return 1 / times[0]


MASK2 = Step(
    "mask2",
    "Mask 2, reliable phase",
    "qsmbids.interfaces.masks:FindReliablePhase",
    (0, 5),
    {
        "quality": "phase_quality",
        "noise": "field_noise",
        "residual": "residual",
        "mask": "mask1",
    },
    {"mask2": "mask"},
    lambda run: {
        "measure": run.settings.masks.reliable_phase,
        "quality_threshold": run.settings.masks.quality_threshold,
        "inverse_noise_factor": run.settings.masks.inverse_noise_factor,
        "residual_threshold": run.settings.total_field.relative_residual_threshold,
    },
)
MASK3 = Step(
    "mask3",
    "Mask 3, holes filled",
    "qsmbids.interfaces.masks:FillBackgroundMask",
    (0, 6),
    {"mask1": "mask1", "mask2": "mask2"},
    {"mask3": "mask"},
    lambda run: {"closing_mm": run.settings.masks.closing_mm},
)
FIND_UNSURE_RIM = Step(
    "find_unsure_rim",
    "rim of unsure phase",
    "qsmbids.interfaces.masks:FindUnsureRim",
    (0, 6),
    {"field": "field", "mask2": "mask2", "mask3": "mask3", "slice_axis": "slice_axis"},
    {"unsure": "unsure"},
    lambda run: {
        "turn_hz": _turn_hz(run),
        "erode_before": run.settings.background_field.erode_before,
    },
)
ALIGN_SLICES = Step(
    "align_slices",
    "constants of the slices",
    "qsmbids.interfaces.slices:AlignSlices",
    (0, 16),
    {"field": "field", "mask3": "mask3"},
    {"field": "field"},
    lambda run: {
        **b0(run),
        "axis": run.plan.slice_axis,
        "single_echo": len(run.echo_times) == 1,
    },
)
FLATTEN_OFFSET = Step(
    "flatten_offset",
    "offset of the single echo",
    "qsmbids.interfaces.single_echo:FlattenOffset",
    (0, 12),
    {"field": "field", "mask3": "mask3"},
    {"field": "field"},
)

FIND_FLUID = Step(
    "find_fluid",
    "fluid for MEDI+0",
    "qsmbids.interfaces.reference:FindCsf",
    (0, 10),
    {"r2star": "r2star", "magnitude": "combined_magnitude", "mask": "mask3"},
    {"fluid": "region"},
    csf,
)
GIVEN_LOCAL_FIELD = Step(
    "given_local_field",
    "given local field",
    "qsmbids.interfaces.start_image:TakeLocalField",
    (0, 8),
    {"like": "combined_magnitude", "mask2": "mask2"},
    {"local_field": "local_field", "mask4": "mask4", "mask4_filled": "mask4_filled"},
)
STRAIGHTEN_SLAB = Step(
    "straighten_slab",
    "rotation onto B0",
    "qsmbids.interfaces.oblique:StraightenSlab",
    (0, 16),
    {
        "field": "field",
        "weights": "weights",
        "magnitude": "combined_magnitude",
        "mask2": "mask2",
        "mask3": "mask3",
        "region": "fluid?",
        "unsure": "unsure?",
    },
    {
        "field": "field",
        "weights": "weights",
        "combined_magnitude": "magnitude",
        "mask2": "mask2",
        "mask3": "mask3",
    },
    b0,
)
REMOVE_BACKGROUND_FIELD = Step(
    "remove_background_field",
    "background field",
    "qsmbids.interfaces.background:RemoveBackgroundField",
    (0, 20),
    {
        "field": "field",
        "weights": "weights",
        "mask2": "mask2",
        "mask3": "mask3",
        "unsure": "unsure?",
    },
    {
        "local_field": "local_field",
        "background_field": "background_field",
        "mask4": "mask4",
        "mask4_filled": "mask4_filled",
    },
    lambda run: {
        **b0(run),
        **_chosen(run.settings.background_field),
        "residual_removal": run.settings.background_field.residual_removal,
        "slices_of_one_echo": _slices_of_one_echo(run),
        "remove_residual_b1_field": run.settings.background_field.remove_residual_b1_field,
        "erode_before": run.settings.background_field.erode_before,
        "erode_after": run.settings.background_field.erode_after,
    },
    wide=True,
)
INVERT_DIPOLE_FIELD = Step(
    "invert_dipole_field",
    "dipole inversion",
    "qsmbids.interfaces.inversion:InvertDipoleField",
    (0, 31),
    {
        "local_field": "local_field",
        "weights": "weights",
        "magnitude": "combined_magnitude",
        "mask": "mask4_filled",
        "mask_holes": "mask4",
        "fluid": "fluid?",
    },
    {"chi": "chi", "support": "support"},
    lambda run: {
        **b0(run),
        **echo_times(run),
        **_chosen(run.settings.dipole_inversion),
        "centre_frequency": run.centre_frequency,
        "regularisation_from": run.settings.dipole_inversion.regularisation_from,
        "removal": _chosen(run.settings.background_field) if put_back_by_inversion(run) else {},
        "uncertainty": run.settings.dipole_inversion.uncertainty,
    },
    wide=True,
)
SET_ASIDE_STRONG_SOURCES = Step(
    "set_aside_strong_sources",
    "strong sources set aside",
    "qsmbids.interfaces.inversion:SetAsideStrongSources",
    (0, 24),
    {"local_field": "local_field", "chi": "chi", "support": "support", "mask_holes": "mask4"},
    {"tissue_field": "local_field", "tissue_mask": "reliable"},
    lambda run: {**b0(run), "centre_frequency": run.centre_frequency},
)
INVERT_TISSUE_FIELD = Step(
    "invert_tissue_field",
    "dipole inversion of the tissue",
    "qsmbids.interfaces.inversion:InvertDipoleField",
    INVERT_DIPOLE_FIELD.volumes,
    {
        **INVERT_DIPOLE_FIELD.needs,
        "local_field": "tissue_field",
        "mask_holes": "tissue_mask",
    },
    {"chi_tissue": "chi"},
    INVERT_DIPOLE_FIELD.inputs,
    wide=True,
)
MERGE_TWO_PASS = Step(
    "merge_two_pass",
    "merge of two passes",
    "qsmbids.interfaces.inversion:MergeTwoPass",
    (0, 8),
    {
        "chi_filled": "chi",
        "support_filled": "support",
        "support_holes": "tissue_mask",
        "chi_holes": "chi_tissue",
    },
    {"chi": "chi", "support": "support", "from_filled": "from_filled"},
)
#: The fields and Mask 4 come before the inversion.
_FIELDS = ("local_field", "mask4_filled", "field", "mask2", "mask3")
RESTORE_SLAB = Step(
    "restore_slab",
    "rotation back",
    "qsmbids.interfaces.oblique:RestoreSlab",
    (0, 16),
    {
        "local_field": "straight_local_field",
        "chi": "straight_chi",
        "support": "straight_support",
        "from_filled": "straight_from_filled?",
        "mask4_filled": "straight_mask4_filled",
        "field": "field",
        "mask2": "mask2",
        "mask3": "mask3",
    },
    {
        name: name
        for name in (
            "local_field",
            "background_field",
            "chi",
            "support",
            "mask4",
            "mask4_filled",
        )
    },
    b0,
    made_of=dict.fromkeys(("local_field", "background_field", "mask4", "mask4_filled"), _FIELDS),
)
