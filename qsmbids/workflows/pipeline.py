"""The steps of one run: those of the paper's Figure 5 and Supplementary S2 in their order."""

import math
import shutil
from typing import Any

from qsmbids.config import Settings
from qsmbids.core.reference.kinds import FROM_TEMPLATE, REFERENCES, UNREFERENCED
from qsmbids.errors import ConfigError
from qsmbids.io.transforms import IDENTITY
from qsmbids.methods.background_field import STRAIGHT_VOXELS
from qsmbids.workflows.graph import Outline, RunContext
from qsmbids.workflows.plan import RunPlan
from qsmbids.workflows.steps import chi, field, values

__all__ = ["add_steps", "b0_direction", "outline_of", "use_fsl"]

#: Tilt of the slab [degrees] from which it is rotated.
_TILT = 0.1


def outline_of(plan: RunPlan, settings: Settings) -> Outline:
    """Return the steps that a run would have, without their nodes.

    Parameters
    ----------
    plan : RunPlan
    settings : Settings
    """
    outline = Outline(RunContext(plan, settings, b0_direction(plan), n_threads=1))
    add_steps(outline)
    return outline


def b0_direction(plan: RunPlan) -> list[float]:
    """Return the direction of B0 along the axes of the images."""
    return [float(b) for b in plan.acquisition.b0_direction]


def add_steps(graph: Outline) -> None:
    """Add the steps of a run to its graph, or to the outline of it.

    Parameters
    ----------
    graph : Outline
        Empty.

    Notes
    -----
    A step that leads to an image which was given is left out; the image provides the quantity.
    With one echo there is no offset to remove and no R2* map to make; with two the signal model
    cannot be tested, so no relative residual is taken.
    """
    context = graph.context
    graph.add(field.PREPARE_MAGNITUDE)
    graph.add(field.PREPARE_PHASE)
    if len(context.echo_times) > 1:
        graph.add(field.FIT_R2STAR)
    _add_mask1(graph)
    _add_total_field(graph)
    graph.add(field.CHECK_PHASE)
    if len(context.echo_times) > 1:
        graph.add(field.MAP_R2STAR)
    tested = len(context.echo_times) > 2 and "field" in graph
    graph.add(field.WEIGHT_DATA, without=() if tested else ("r2star",))
    graph.add(chi.MASK2)
    if context.plan.gives("local") is None:
        graph.add(chi.MASK3)
        _add_unsure_rim(graph)
        _add_offsets(graph)
    _add_susceptibility(graph)
    _add_template(graph)
    _add_references(graph)
    _add_weighted_images(graph)
    _add_regions(graph)
    if context.plan.gives("local") is None:  # else most measures have no mask to be about
        graph.add(values.MEASURE_IMAGES)
        graph.add(values.MEASURE_QUALITY)


def use_fsl(settings: Settings) -> bool:
    """Return whether FSL's bet makes Mask 1."""
    wanted = settings.masks.brain_extraction
    return wanted == "fsl" or (wanted == "auto" and shutil.which("bet") is not None)


def _add_mask1(graph: Outline) -> None:
    """Add Mask 1: the user's, FSL's, or the built-in BET's."""
    settings = graph.context.settings
    if settings.masks.brain_extraction_image == "first-echo":
        graph.sources["brain_image"] = (field.PREPARE_MAGNITUDE.name, ("magnitude", _first))
    else:
        graph.alias("brain_image", "combined_magnitude")
    if graph.context.plan.mask is not None:
        graph.add(field.GIVEN_MASK1)
    elif use_fsl(settings):
        graph.add(field.BET)
        graph.add(field.FSL_MASK1)
    else:
        graph.add(field.MASK1)
    if settings.masks.guide == "template" and graph.context.plan.mask is None:
        graph.add(field.GUIDE_MASK1)


def _add_total_field(graph: Outline) -> None:
    """Add what leads to the total field, its noise and the quality of the phase, or is given."""
    plan, total = graph.context.plan, graph.context.settings.total_field
    n_echoes = len(graph.context.echo_times)
    start = plan.start
    # without a total field, none of the steps that remain looks at the phase of all echoes
    all_echoes = start is None or start.kind != "local" or plan.gives("total") is not None
    if n_echoes > 2 and total.bipolar_correction != "off" and all_echoes:
        graph.add(field.CORRECT_READOUT)
    if start is not None:
        _add_start(graph)
    elif n_echoes > 2 and total.echo_phase_combination == "nonlinear-fit":
        graph.add(field.FIT_FIELD)
    else:
        graph.alias("phase_of_field", "phase")
        if n_echoes > 1 and total.phase_offset_correction != "none":
            graph.add(field.REMOVE_PHASE_OFFSET)
        graph.add(field.UNWRAP_PHASE)
        graph.add(field.COMBINE_ECHOES)


def _add_unsure_rim(graph: Outline) -> None:
    """Add the search for phase too steep to be unwrapped; a given field is used as it is."""
    context = graph.context
    wanted = context.settings.background_field.unsure_rim == "removed"
    if wanted and context.plan.gives("total") is None:
        graph.add(chi.FIND_UNSURE_RIM)


def _add_offsets(graph: Outline) -> None:
    """Add what takes off of the field what no echo tells from it."""
    plan, total = graph.context.plan, graph.context.settings.total_field
    if plan.start is not None:
        return
    if plan.slice_axis is not None:
        graph.add(chi.ALIGN_SLICES)
    if len(graph.context.echo_times) == 1 and total.single_echo_offset == "curvature":
        graph.add(chi.FLATTEN_OFFSET)


def _add_start(graph: Outline) -> None:
    """Add the unwrapped phase or total field of the user, beside a local field or not."""
    phase, total = graph.context.plan.gives("unwrapped"), graph.context.plan.gives("total")
    graph.add(field.RATE_PHASE)
    if phase is not None:
        files = [str(path) for path in phase.paths]
        graph.add(field.GIVEN_PHASE, start=files, **field.numbers(phase))
        graph.add(field.COMBINE_ECHOES)
    elif total is not None:
        graph.add(field.GIVEN_FIELD, start=str(total.paths[0]), **field.numbers(total))


def _add_susceptibility(graph: Outline) -> None:
    """Add background removal and inversion, where the slab is rotated, on an array along B0."""
    plan, settings = graph.context.plan, graph.context.settings
    rotate = (
        settings.background_field.oblique == "rotate" and plan.acquisition.tilt_degrees > _TILT
    )
    if (local := plan.gives("local")) is not None:
        inputs = field.numbers(local)
        if rotate:
            note = "oblique slab: a given local field is not rotated, the kernel is"
            inputs["notes"].append(note)
        if local.mask is not None:
            inputs["support"] = str(local.mask)
        graph.add(chi.GIVEN_LOCAL_FIELD, start=str(local.paths[0]), **inputs)
        _add_fluid(graph, "mask4_filled")
        _add_quick_fit(graph)
        _add_inversion(graph)
        return
    _add_fluid(graph, "mask3")
    if not rotate:
        graph.add(chi.REMOVE_BACKGROUND_FIELD)
        _add_quick_fit(graph)  # of a rotated slab there is no field on the grid of the magnitude
        _add_inversion(graph)
        return
    straight = graph.branch(_nearest_axis(graph.context.b0_direction), STRAIGHT_VOXELS)
    turned = {"fluid": "region"} if "fluid" in graph else {}
    if "unsure" in graph:
        turned["unsure"] = "unsure"
    decay = _edges_of_decay(graph)
    straight.add(
        chi.STRAIGHTEN_SLAB,
        needs=decay,
        provides={**chi.STRAIGHTEN_SLAB.provides, **turned, **decay},
        b0_direction=graph.context.b0_direction,
    )
    straight.add(chi.REMOVE_BACKGROUND_FIELD)
    _add_inversion(straight)
    for name in ("local_field", "mask4_filled", "chi", "support", "from_filled"):
        if name in straight:
            graph.sources[f"straight_{name}"] = straight.sources[name]
    merged = {"from_filled": "from_filled"} if "from_filled" in straight else {}
    graph.add(chi.RESTORE_SLAB, provides={**chi.RESTORE_SLAB.provides, **merged})


def _add_fluid(graph: Outline, mask: str) -> None:
    """Add the fluid of the ventricles where the inversion asks for it."""
    if not getattr(graph.context.settings.dipole_inversion.chosen, "zero_reference", False):
        return
    if "r2star" not in graph:
        raise ConfigError(
            "MEDI+0 finds its fluid by R2*, which one echo does not give",
            "[dipole_inversion.medi] zero_reference",
            "Turn it off for this run.",
        )
    graph.add(chi.FIND_FLUID, needs={"mask": mask})


def _add_inversion(graph: Outline) -> None:
    """Add the inversion, or two of them and their merge."""
    holes, decay = graph.context.settings.dipole_inversion.holes, _edges_of_decay(graph)
    if holes != "two-pass":
        graph.add(chi.INVERT_DIPOLE_FIELD, needs=decay, holes=holes)
        if graph.context.settings.dipole_inversion.uncertainty:
            graph.alias("chi_error", f"{chi.INVERT_DIPOLE_FIELD.name}.standard_error")
            graph.alias("chi_errors", f"{chi.INVERT_DIPOLE_FIELD.name}.errors")
            graph.alias("chi_error_factor", f"{chi.INVERT_DIPOLE_FIELD.name}.error_factor")
        return
    graph.add(chi.INVERT_DIPOLE_FIELD, needs=decay, holes="fill")
    graph.alias("chi_filled", "chi")
    graph.add(chi.SET_ASIDE_STRONG_SOURCES)
    graph.add(chi.INVERT_TISSUE_FIELD, needs=decay, holes="weight")
    graph.add(chi.MERGE_TWO_PASS)


def _edges_of_decay(graph: Outline) -> dict[str, str]:
    """Return R2* as an input of an inversion that takes edges from images, where there is one."""
    chosen = graph.context.settings.dipole_inversion.chosen
    wanted = getattr(chosen, "edges", "map") == "map-and-images" and "r2star" in graph
    return {"r2star": "r2star"} if wanted else {}


def _add_references(graph: Outline) -> None:
    """Add chi relative to every region that there is, a table of them, and the sign check."""
    referenced = graph.context.settings.reference.region != "none"
    if "r2star" in graph:
        graph.add(values.CHECK_SIGN)
    if referenced:
        graph.add(values.REFERENCE_CHI)
        # R2* of two echoes is too noisy to find fluid by
        if len(graph.context.echo_times) > 2:
            graph.add(values.FIND_CSF)
            graph.add(values.REFERENCE_CHI_CSF)
        if "white_matter" in graph:
            graph.add(values.REFERENCE_CHI_WHITE_MATTER)
            graph.add(values.REFERENCE_CHI_CAPSULE)
        if graph.context.plan.region is not None:
            graph.add(values.GIVEN_REGION)
            graph.add(values.REFERENCE_CHI_REGION)
    graph.add(values.DESCRIBE_REFERENCES)


def _add_weighted_images(graph: Outline) -> None:
    """Add susceptibility-weighted images, on request."""
    if not graph.context.settings.swi.enabled:
        return
    if "field" in graph:
        graph.add(values.WEIGHT_BY_PHASE)
    main = "chi_wholebrain" if "chi_wholebrain" in graph else "chi"
    graph.add(values.WEIGHT_BY_CHI, needs={"chi": main})


def _add_regions(graph: Outline) -> None:
    """Add what measures chi in regions that were given, or else in the template's, and lesions."""
    plan = graph.context.plan
    transform = _add_way_from_t1w(graph)
    maps = {n: f"chi_{n}" for n in REFERENCES if f"chi_{n}" in graph}
    maps = maps or {UNREFERENCED: "chi"}
    if plan.lesions is not None:
        graph.add(values.BRING_LESIONS, **transform)
        graph.add(values.MEASURE_LESIONS, needs=maps)
    if plan.segmentations:
        graph.add(values.BRING_SEGMENTATION, **transform)
    elif "template_labels" in graph:
        graph.alias("segmentation", "template_labels")
        graph.alias("segmentation_table", "template_table")
    else:
        return
    graph.add(values.MEASURE_ROIS, needs=maps, provides={f"rois_{name}": name for name in maps})


def _add_way_from_t1w(graph: Outline) -> dict[str, Any]:
    """Add the registration of a T1w image, if there is one, or return what is known of it."""
    plan = graph.context.plan
    transform: dict[str, Any] = {}
    if plan.t1w_transform == IDENTITY:
        transform["identity"] = True
    elif plan.t1w_transform:
        transform["transform"] = plan.t1w_transform
    elif plan.t1w is not None:
        graph.add(values.REGISTER_T1W)
    return transform


def _template_wanted(graph: Outline) -> bool:
    """Tell whether regions of the template are measured or the reference."""
    settings = graph.context.settings
    measured = settings.regions.atlas != "none" and not graph.context.plan.segmentations
    return measured or settings.reference.region in FROM_TEMPLATE


def _add_quick_fit(graph: Outline) -> None:
    """Add what registers the template beside the inversion, which takes longer."""
    if _template_wanted(graph):
        graph.add(values.FIT_TEMPLATE)


def _add_template(graph: Outline) -> None:
    """Add the regions of the template."""
    if _template_wanted(graph):
        graph.add(values.PLACE_REGIONS)


def _nearest_axis(direction: list[float]) -> list[float]:
    """Return the array axis that is nearest to a direction, with its sign."""
    largest = max(direction, key=abs)
    return [math.copysign(1.0, d) if d == largest else 0.0 for d in direction]


def _first(files: list[str]) -> str:
    """Take the first echo (a connection function)."""
    return files[0]
