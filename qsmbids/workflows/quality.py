"""The last step of a run: quality measures of what the others have made."""

from qsmbids.interfaces.quality import MeasureQuality

__all__ = ["add_quality"]

#: Steps whose own findings are among the measures.
_RECORDED = ("check_phase", "check_sign", "invert_dipole_field")


def add_quality(workflow, upstream, maps, plan, threads, node):  # type: ignore[no-untyped-def]
    """Add the quality measures (Table 1).

    Parameters
    ----------
    workflow : Workflow
        Graph of a run, with its maps and checks.
    upstream : Upstream
        The steps of the upper half.
    maps : Maps
        The steps that have chi, its support and the fields, on the array of the images.
    plan : RunPlan
        The run.
    threads : int
        Threads of a step.
    node : callable
        Makes a node with its memory estimate.

    Notes
    -----
    A run that starts from a local field has neither the total field nor the masks that most
    measures are about, and is not measured.
    """
    if plan.gives("local") is not None:
        return
    acquisition = plan.acquisition
    recorded = [step for step in map(workflow.get_node, _RECORDED) if step is not None]
    measure = node(
        MeasureQuality(
            len(recorded),
            echo_times=[float(t) for t in acquisition.echo_times],
            b0_direction=[float(b) for b in acquisition.b0_direction],
            centre_frequency_hz=float(acquisition.centre_frequency_hz),
            n_threads=threads,
        ),
        "measure_quality",
        threads,
    )
    workflow.connect(
        [
            (maps.chi, measure, [("chi", "chi"), ("support", "support")]),
            (maps.fields, measure, [(n, n) for n in ("local_field", "mask4", "mask4_filled")]),
            (upstream.field, measure, [("field", "total_field")]),
            (upstream.noise, measure, [("noise", "noise")]),
            (
                upstream.prepare,
                measure,
                [("combined_magnitude", "magnitude"), ("phase", "wrapped")],
            ),
            (upstream.mask1, measure, [("mask", "mask1")]),
            (workflow.get_node("mask2"), measure, [("mask", "mask2")]),
            (workflow.get_node("mask3"), measure, [("mask", "mask3")]),
        ]
    )
    if upstream.relax is not None:
        workflow.connect(upstream.relax, "r2star", measure, "r2star")
    for name in ("unwrap_phase", "given_phase"):  # of a nonlinear fit no echo is unwrapped
        if (step := workflow.get_node(name)) is not None:
            workflow.connect(step, "phase", measure, "unwrapped")
    for number, step in enumerate(recorded, 1):
        workflow.connect(step, "record", measure, f"record{number}")
