"""From the total field to referenced susceptibility: the lower half of a run's graph."""

import math
from dataclasses import dataclass
from typing import Any

from qsmbids.errors import ConfigError
from qsmbids.interfaces.inversion import MergeTwoPass, SetAsideStrongSources
from qsmbids.interfaces.masks import FillBackgroundMask, FindReliablePhase
from qsmbids.interfaces.oblique import RestoreSlab, StraightenSlab
from qsmbids.workflows.methods import background_removal, csf_finder, dipole_inversion

__all__ = ["Maps", "Upstream", "add_chi"]


@dataclass(frozen=True)
class Upstream:
    """The steps of the upper half that the lower half needs."""

    prepare: Any
    mask1: Any
    quality: Any
    combine: Any
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
    mask2, mask3 = _add_masks(workflow, upstream, settings, node)
    inputs = {
        "field": (upstream.combine, "field"),
        "weights": (upstream.weigh, "weights"),
        "magnitude": (upstream.prepare, "combined_magnitude"),
        "mask2": (mask2, "mask"),
        "mask3": (mask3, "mask"),
    }
    if _wants_fluid(settings):
        fluid = _add_fluid(workflow, upstream, mask3, settings, node)
        inputs["region"] = (fluid, "region")
    rotate = settings.background_field.oblique == "rotate" and acquisition.tilt_degrees > 0.1
    if not rotate:
        return _add_inversion(workflow, inputs, b0_direction, acquisition, settings, threads, node)
    turn = node(StraightenSlab(b0_direction=b0_direction, n_threads=threads), "straighten_slab")
    for name, (step, output) in inputs.items():
        workflow.connect(step, output, turn, name)
    straight = _add_inversion(
        workflow,
        {name: (turn, name) for name in inputs},
        _nearest_axis(b0_direction),
        acquisition,
        settings,
        threads,
        node,
    )
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


def _add_masks(workflow, upstream, settings, node):  # type: ignore[no-untyped-def]
    """Add Masks 2 and 3."""
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
    mask3 = node(FillBackgroundMask(closing_mm=masks.closing_mm), "mask3")
    workflow.connect(
        [
            (upstream.quality, mask2, [("quality", "quality")]),
            (upstream.combine, mask2, [("noise", "noise")]),
            (upstream.weigh, mask2, [("residual", "residual")]),
            (upstream.mask1, mask2, [("mask", "mask")]),
            (upstream.mask1, mask3, [("mask", "mask1")]),
            (mask2, mask3, [("mask", "mask2")]),
        ]
    )
    return mask2, mask3


def _add_inversion(workflow, inputs, b0_direction, acquisition, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add background removal and the inversion, or two of them and their merge."""
    background = node(
        background_removal(settings, b0_direction, threads), "remove_background_field", threads
    )
    for name in ("field", "weights", "mask2", "mask3"):
        workflow.connect(*inputs[name], background, name)

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
        workflow.connect(background, "mask4_filled", step, "mask")
        return step

    holes = settings.dipole_inversion.holes
    local, mask4 = (background, "local_field"), (background, "mask4")
    if holes != "two-pass":
        return Maps(chi=invert("invert_dipole_field", holes, local, mask4), fields=background)
    filled = invert("invert_dipole_field", "fill", local, mask4)
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
            (background, aside, [("local_field", "local_field"), ("mask4", "mask_holes")]),
            (filled, aside, [("chi", "chi"), ("support", "support")]),
            (filled, merge, [("chi", "chi_filled"), ("support", "support_filled")]),
            (aside, merge, [("reliable", "support_holes")]),
            (tissue, merge, [("chi", "chi_holes")]),
        ]
    )
    return Maps(chi=merge, fields=background)


def _wants_fluid(settings: Any) -> bool:
    chosen = settings.dipole_inversion
    return chosen.method == "medi" and chosen.medi_zero_reference


def _add_fluid(workflow, upstream, mask3, settings, node):  # type: ignore[no-untyped-def]
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
            (mask3, fluid, [("mask", "mask")]),
        ]
    )
    return fluid


def _nearest_axis(direction: list[float]) -> list[float]:
    """Return the array axis that is nearest to a direction, with its sign."""
    largest = max(direction, key=abs)
    return [math.copysign(1.0, d) if d == largest else 0.0 for d in direction]
