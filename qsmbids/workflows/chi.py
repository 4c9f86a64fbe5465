"""From the total field to referenced susceptibility: the lower half of a run's graph."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from qsmbids.errors import ConfigError
from qsmbids.interfaces.given import GivenLocalField
from qsmbids.interfaces.inversion import MergeTwoPass, SetAsideStrongSources
from qsmbids.interfaces.masks import FillBackgroundMask, FindReliablePhase
from qsmbids.interfaces.oblique import STRAIGHT_VOXELS, RestoreSlab, StraightenSlab
from qsmbids.workflows.field import given_inputs
from qsmbids.workflows.methods import background_removal, csf_finder, dipole_inversion

__all__ = ["Maps", "Upstream", "add_chi"]


@dataclass(frozen=True)
class Upstream:
    """The steps of the upper half that the lower half needs."""

    prepare: Any
    mask1: Any
    quality: Any
    field: Any  # None where a local field was given alone
    noise: Any
    weigh: Any
    relax: Any = None


@dataclass(frozen=True)
class Maps:
    """The steps that have chi and its support, and the fields and Mask 4, on the image array."""

    chi: Any
    fields: Any


def add_chi(workflow, upstream, plan, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add Masks 2 to 4, background removal and inversion.

    Parameters
    ----------
    workflow : Workflow
        Graph of a run.
    upstream : Upstream
        The steps before.
    plan : RunPlan
        The run.
    settings : Settings
        What decides the maps.
    threads : int
        Threads of a step.
    node : callable
        Makes a node with its memory estimate.

    Returns
    -------
    Maps
    """
    acquisition = plan.acquisition
    b0_direction = [float(b) for b in acquisition.b0_direction]
    mask2 = _add_mask2(workflow, upstream, settings, node)
    inputs = {
        "weights": (upstream.weigh, "weights"),
        "magnitude": (upstream.prepare, "combined_magnitude"),
        "mask2": (mask2, "mask"),
    }
    rotate = settings.background_field.oblique == "rotate" and acquisition.tilt_degrees > 0.1
    if (given := plan.gives("local")) is not None:
        local = _add_given(workflow, upstream, mask2, given, rotate, node)
        if _wants_fluid(settings):
            fluid = _add_fluid(workflow, upstream, (local, "mask4_filled"), settings, node)
            inputs["region"] = (fluid, "region")
        return _add_inversion(
            workflow, local, inputs, b0_direction, acquisition, settings, threads, node
        )
    mask3 = _add_mask3(workflow, upstream, mask2, settings, node)
    inputs |= {"field": (upstream.field, "field"), "mask3": (mask3, "mask")}
    if _wants_fluid(settings):
        fluid = _add_fluid(workflow, upstream, (mask3, "mask"), settings, node)
        inputs["region"] = (fluid, "region")
    if not rotate:
        local = _add_background(workflow, inputs, b0_direction, settings, threads, node)
        return _add_inversion(
            workflow, local, inputs, b0_direction, acquisition, settings, threads, node
        )
    node = partial(node, finer=STRAIGHT_VOXELS)
    turn = node(StraightenSlab(b0_direction=b0_direction, n_threads=threads), "straighten_slab")
    for name, (step, output) in inputs.items():
        workflow.connect(step, output, turn, name)
    turned, along = {name: (turn, name) for name in inputs}, _nearest_axis(b0_direction)
    local = _add_background(workflow, turned, along, settings, threads, node)
    straight = _add_inversion(workflow, local, turned, along, acquisition, settings, threads, node)
    back = node(RestoreSlab(b0_direction=b0_direction, n_threads=threads), "restore_slab")
    for name in ("field", "mask2", "mask3"):
        workflow.connect(*inputs[name], back, name)
    workflow.connect(
        [
            (straight.fields, back, [(n, n) for n in ("local_field", "mask4_filled")]),
            (straight.chi, back, [(n, n) for n in ("chi", "support")]),
        ]
    )
    if settings.dipole_inversion.holes == "two-pass":
        workflow.connect(straight.chi, "from_filled", back, "from_filled")
    return Maps(chi=back, fields=back)


def _add_mask2(workflow, upstream, settings, node):  # type: ignore[no-untyped-def]
    """Add Mask 2."""
    masks = settings.masks
    mask2 = node(
        FindReliablePhase(
            measure=masks.reliable_phase,
            quality_threshold=masks.quality_threshold,
            inverse_noise_factor=masks.inverse_noise_factor,
            residual_threshold=settings.total_field.relative_residual_threshold,
        ),
        "mask2",
    )
    workflow.connect(
        [
            (upstream.quality, mask2, [("quality", "quality")]),
            (upstream.noise, mask2, [("noise", "noise")]),
            (upstream.weigh, mask2, [("residual", "residual")]),
            (upstream.mask1, mask2, [("mask", "mask")]),
        ]
    )
    return mask2


def _add_mask3(workflow, upstream, mask2, settings, node):  # type: ignore[no-untyped-def]
    """Add Mask 3."""
    mask3 = node(FillBackgroundMask(closing_mm=settings.masks.closing_mm), "mask3")
    workflow.connect(upstream.mask1, "mask", mask3, "mask1")
    workflow.connect(mask2, "mask", mask3, "mask2")
    return mask3


def _add_given(workflow, upstream, mask2, given, rotate, node):  # type: ignore[no-untyped-def]
    """Add the local field of the user in place of background removal."""
    inputs = given_inputs(given)
    if rotate:
        inputs["said"].append("oblique slab: a given local field is not rotated, the kernel is")
    local = node(GivenLocalField(given=str(given.paths[0]), **inputs), "given_local_field")
    if given.mask is not None:
        local.inputs.support = str(given.mask)
    workflow.connect(upstream.prepare, "combined_magnitude", local, "like")
    workflow.connect(mask2, "mask", local, "mask2")
    return local


def _add_background(workflow, inputs, b0_direction, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add background removal."""
    background = node(
        background_removal(settings, b0_direction, threads), "remove_background_field", threads
    )
    for name in ("field", "weights", "mask2", "mask3"):
        workflow.connect(*inputs[name], background, name)
    return background


def _add_inversion(workflow, local, inputs, b0_direction, acquisition, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add the inversion of the step that has the local field, or two of them and their merge."""

    def invert(name: str, holes: str, field: tuple[Any, str], reliable: tuple[Any, str]) -> Any:
        step = node(
            dipole_inversion(settings, acquisition, b0_direction, holes, threads), name, threads
        )
        for given, name_there in (
            ("weights", "weights"),
            ("magnitude", "magnitude"),
            ("region", "fluid"),
        ):
            if given in inputs:
                workflow.connect(*inputs[given], step, name_there)
        workflow.connect(*field, step, "local_field")
        workflow.connect(*reliable, step, "mask_holes")
        workflow.connect(local, "mask4_filled", step, "mask")
        return step

    holes = settings.dipole_inversion.holes
    field, mask4 = (local, "local_field"), (local, "mask4")
    if holes != "two-pass":
        return Maps(chi=invert("invert_dipole_field", holes, field, mask4), fields=local)
    filled = invert("invert_dipole_field", "fill", field, mask4)
    aside = node(
        SetAsideStrongSources(
            b0_direction=b0_direction,
            centre_frequency=float(acquisition.centre_frequency_hz),
            n_threads=threads,
        ),
        "set_aside_strong_sources",
        threads,
    )
    tissue = invert("invert_tissue_field", "weight", (aside, "local_field"), (aside, "reliable"))
    merge = node(MergeTwoPass(), "merge_two_pass")
    workflow.connect(
        [
            (local, aside, [("local_field", "local_field"), ("mask4", "mask_holes")]),
            (filled, aside, [("chi", "chi"), ("support", "support")]),
            (filled, merge, [("chi", "chi_filled"), ("support", "support_filled")]),
            (aside, merge, [("reliable", "support_holes")]),
            (tissue, merge, [("chi", "chi_holes")]),
        ]
    )
    return Maps(chi=merge, fields=local)


def _wants_fluid(settings: Any) -> bool:
    chosen = settings.dipole_inversion
    return chosen.method == "medi" and chosen.medi_zero_reference


def _add_fluid(workflow, upstream, mask, settings, node):  # type: ignore[no-untyped-def]
    """Add the fluid of the ventricles that MEDI+0 makes homogeneous."""
    if upstream.relax is None:
        raise ConfigError(
            "MEDI+0 finds its fluid by R2*, which one echo does not give",
            "[dipole_inversion] medi_zero_reference",
            "Turn it off for this run.",
        )
    fluid = node(csf_finder(settings), "find_fluid")
    workflow.connect(
        [
            (upstream.relax, fluid, [("r2star", "r2star")]),
            (upstream.prepare, fluid, [("combined_magnitude", "magnitude")]),
        ]
    )
    workflow.connect(*mask, fluid, "mask")
    return fluid


def _nearest_axis(direction: list[float]) -> list[float]:
    """Return the array axis that is nearest to a direction, with its sign."""
    largest = max(direction, key=abs)
    return [math.copysign(1.0, d) if d == largest else 0.0 for d in direction]
