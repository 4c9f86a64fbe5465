"""Susceptibility-weighted images, on request."""

from typing import Any

from qsmbids.interfaces.swi import WeightByChi, WeightByPhase

__all__ = ["add_swi"]


def add_swi(workflow, upstream, maps, plan, settings, threads, node):  # type: ignore[no-untyped-def]
    """Add the images weighted by the field, where there is a total field, and by chi.

    Parameters
    ----------
    workflow : Workflow
        Graph of a run, with its reference.
    upstream : Upstream
        The steps that have the magnitude, Mask 1 and the total field.
    maps : Maps
        The steps that have chi and its support.
    plan : RunPlan
        The run.
    settings : Settings
        What decides the images.
    threads : int
        Threads of a step.
    node : callable
        Makes a node with its memory estimate.
    """
    chosen = settings.swi
    if not chosen.enabled:
        return
    # veins are looked at in slabs across the body, whatever way the slices were acquired
    b0 = [abs(float(b)) for b in plan.acquisition.b0_direction]
    common: dict[str, Any] = {
        "bias_mm": chosen.bias_mm,
        "projection_mm": chosen.projection_mm,
        "slice_axis": b0.index(max(b0)),
        "n_threads": threads,
    }
    if upstream.field is not None:
        by_phase = node(
            WeightByPhase(
                high_pass_mm=chosen.high_pass_mm, phase_strength=chosen.phase_strength, **common
            ),
            "weight_by_phase",
            threads,
        )
        workflow.connect(
            [
                (upstream.prepare, by_phase, [("combined_magnitude", "magnitude")]),
                (upstream.mask1, by_phase, [("mask", "mask")]),
                (upstream.field, by_phase, [("field", "field")]),
            ]
        )
    by_chi = node(
        WeightByChi(chi_limit_ppm=chosen.chi_limit_ppm, chi_power=chosen.chi_power, **common),
        "weight_by_chi",
        threads,
    )
    referenced = workflow.get_node("reference_chi") or maps.chi
    workflow.connect(
        [
            (upstream.prepare, by_chi, [("combined_magnitude", "magnitude")]),
            (maps.chi, by_chi, [("support", "mask")]),
            (referenced, by_chi, [("chi", "chi")]),
        ]
    )
