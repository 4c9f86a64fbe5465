"""What the sentences of the methods text ask of a run: which steps it had, and what they found."""

from collections.abc import Mapping
from typing import Any

from qsmbids.config import Settings
from qsmbids.methods.background_field import BACKGROUND, left_to_inversion
from qsmbids.reports.paper.settings_in_force import brain_extraction, looked_up, ran, rounded

__all__ = ["SPEAKS_OF", "STEPS", "run_facts"]

#: Settings that a sentence about a fact of the run speaks of.
SPEAKS_OF = {
    "run.sign_given": "phase.sign",
    "run.mask1": "masks.brain_extraction",
    "step.correct_readout": "total_field.bipolar_correction",
    "step.remove_phase_offset": "total_field.phase_offset_correction",
    "step.unwrap_phase": "total_field.echo_phase_combination",
    "run.alternating": "phase.slice_alternation",
    "run.readout": "total_field.bipolar_correction",
    "run.r2star": "relaxometry.method",
    "run.medi_filter": "dipole_inversion.medi.smv_radius_mm",
}

#: Tilt of the slab from which the maps are rotated [degrees].
_TILT = 0.1

#: The steps that a sentence may ask for, as the graph calls them.
STEPS = (
    "prepare_phase",
    "correct_readout",
    "remove_phase_offset",
    "unwrap_phase",
    "given_phase",
    "given_field",
    "combine_echoes",
    "weight_data",
    "mask2",
    "mask3",
    "find_unsure_rim",
    "align_slices",
    "flatten_offset",
    "given_local_field",
    "remove_background_field",
    "straighten_slab",
    "invert_dipole_field",
    "find_csf",
    "reference_chi",
    "map_r2star",
)


def run_facts(
    settings: Settings,
    values: Mapping[str, Any],
    record: Mapping[str, Any] | None,
    n_echoes: int,
    tilt_degrees: float,
) -> dict[str, Any]:
    """Return facts of a run under ``run.`` and ``step.``; None where nothing tells.

    Parameters
    ----------
    settings : Settings
    values : mapping
        Settings that had a part, by their key.
    record : mapping, optional
        Sidecars of the run; None for one that is planned.
    n_echoes : int
    tilt_degrees : float
        Of the slab against the main field.
    """
    steps = _planned_steps(settings, n_echoes, tilt_degrees) if record is None else None
    found = record or {}
    facts = {f"step.{s}": ran(found, s) if steps is None else s in steps for s in STEPS}
    bipolar = looked_up(found, "ReadoutCorrection.Bipolar")
    sign = looked_up(found, "PhaseSign.Sign")
    axes = looked_up(found, "SliceAlternation.Axes")
    residual = looked_up(found, "DataWeights.RelativeResidual")
    penalty = looked_up(found, "DipoleInversion.Parameters.GradientL1Penalty")
    consistency = looked_up(found, "DipoleInversion.Parameters.GradientConsistency")
    error = looked_up(found, "DipoleInversion.FieldErrorPercent")
    local = facts["step.given_local_field"]
    return {
        **facts,
        "run.planned": record is None,
        "run.phase_sign": "not on record" if sign is None else f"{sign:+d}",
        "run.sign_known": sign is not None,
        "run.sign_given": values.get("phase.sign", "auto") != "auto",
        "run.alternating": None if axes is None else bool(axes),
        "run.filtered": looked_up(found, "PhaseFilter.Filtered"),
        "run.unfiltered_chosen": bool(looked_up(found, "PhaseFilter.Choice")),
        "run.mask1": brain_extraction(found) or _planned_mask1(settings, record),
        "run.given_total_with_local": local and facts["step.given_field"],
        "run.guided": looked_up(found, "MaskGuide.Used") is not False,
        "run.readout": None if bipolar is None else ("bipolar" if bipolar else "monopolar"),
        "run.readout_model": looked_up(found, "ReadoutCorrection.Method") or "",
        "run.echo_constants": bool(looked_up(found, "ReadoutCorrection.EchoConstantsRad")),
        "run.slice_offsets": looked_up(found, "SliceOffsets.Axis") is not None,
        "run.coils": looked_up(found, "CoilCombination.Coils") or 0,
        "run.coils_combined": looked_up(found, "CoilCombination.Name") == "MCPC-3D-S",
        "run.slice_jumps": looked_up(found, "SliceField.Removed"),
        "run.slicewise": looked_up(found, "Unwrapping.SliceAxis") is not None,
        "run.voxels_without_phase": _without_phase(found),
        "run.without_phase": _without_phase(found) > 0,
        "run.length_scale": rounded(found.get("LengthScale")),
        "run.small_head": found.get("LengthScale") is not None,
        "run.residual": n_echoes > 2 if residual is None and record is None else residual,
        "run.second_pass": _second_pass(settings, record),
        "run.eroded": values.get("background_field.erode_after", 0) > 0,
        "run.smallest_sphere": _smallest_sphere(found),
        "run.smallest_sphere_larger": bool(_smallest_sphere(found)),
        "run.tilted": tilt_degrees > _TILT,
        "run.pdf_tissue": values.get("background_field.pdf.tissue", 0) > 0,
        "run.medi_filter": values.get("dipole_inversion.medi.smv_radius_mm", 0) > 0,
        "run.penalty": rounded(penalty),
        "run.consistency": rounded(consistency),
        "run.penalty_known": None not in (penalty, consistency),
        "run.field_error": rounded(error),
        "run.field_error_known": error is not None,
        "run.put_back_by_inversion": _put_back_by_inversion(settings, record),
        "run.turned": rounded(looked_up(found, "DipoleInversion.TurnedVoxels")),
        "run.echoes": n_echoes,
        "run.several": n_echoes > 1,
        "run.three": n_echoes > 2,
        "run.r2star": looked_up(found, "R2StarFit.Name") or "",
        "run.csf_found": looked_up(found, "CsfRegion.Found"),
        "run.regions": looked_up(found, "RegionAtlas.Used") is not False,
        # of a rotated slab there is none
        "run.quick_map": looked_up(found, "RegionAtlas.QuickMap") is not False,
    }


def _second_pass(settings: Settings, record: Mapping[str, Any] | None) -> bool | None:
    """Return whether there is a second pass of background removal; None where the data decide."""
    if record is not None:
        passed = looked_up(record, "BackgroundRemoval.SecondPass")
        return None if passed is None else bool(passed)
    background = settings.background_field
    if background.residual_removal == "auto" and background.method == next(iter(BACKGROUND)):
        return None
    return background.residual_removal == "on"


def _put_back_by_inversion(settings: Settings, record: Mapping[str, Any] | None) -> bool:
    """Return whether the inversion puts back what background removal took."""
    if record is not None:
        return bool(looked_up(record, "DipoleInversion.PutBackPercent"))
    return left_to_inversion(settings.background_field, settings.dipole_inversion.holes)


def _without_phase(record: Mapping[str, Any]) -> int:
    """Return how many voxels were left out because their numbers are no phase."""
    counts = [
        looked_up(record, f"{kind}Voxels") for kind in ("NonFinite", "OutOfRange", "ZeroPhase")
    ]
    return sum(int(count) for count in counts if count)


def _planned_steps(settings: Settings, n_echoes: int, tilt_degrees: float) -> set[str]:
    """Return the steps of an ordinary run with these settings."""
    total = settings.total_field
    fit = n_echoes > 2 and total.echo_phase_combination == "nonlinear-fit"
    offset = n_echoes > 1 and total.phase_offset_correction != "none"
    rotated = settings.background_field.oblique == "rotate" and tilt_degrees > _TILT
    referenced = settings.reference.region != "none"
    left_out = {
        "find_unsure_rim": settings.background_field.unsure_rim == "kept",
        "align_slices": True,
        "flatten_offset": n_echoes > 1 or total.single_echo_offset == "none",
        "correct_readout": n_echoes < 3 or total.bipolar_correction == "off",
        "remove_phase_offset": fit or not offset,
        "unwrap_phase": fit,
        "straighten_slab": not rotated,
        "reference_chi": not referenced,
        "find_csf": n_echoes < 3 or not referenced,
        "map_r2star": n_echoes < 2,
    }
    return {s for s in STEPS if not s.startswith("given_") and not left_out.get(s)}


def _planned_mask1(settings: Settings, record: Mapping[str, Any] | None) -> str | None:
    """Return what will make Mask 1, "" for either BET."""
    if record is not None:
        return None
    wanted = settings.masks.brain_extraction
    return "" if wanted == "auto" else wanted


def _smallest_sphere(record: Mapping[str, Any]) -> str:
    """Return the radius of the smallest sphere of V-SHARP if it had to be a larger one."""
    radii = looked_up(record, "BackgroundRemoval.Parameters.Radii")
    wanted = looked_up(record, "BackgroundRemoval.Parameters.MinimumRadius")
    if not radii or wanted is None or min(radii) <= wanted:
        return ""
    in_mm = looked_up(record, "BackgroundRemoval.Parameters.RadiusUnit") == "mm"
    return f"{min(radii):.4g} {'mm' if in_mm else 'voxels'}"
