"""Segmentations of the user and the susceptibility of their regions (paper section 8)."""

from qsmbids.interfaces.registration import RegisterT1w
from qsmbids.interfaces.roi import BringSegmentation, MeasureRois
from qsmbids.io.transforms import IDENTITY

__all__ = ["add_rois"]

#: Reference to the step that has chi under it.
_REFERENCED = {
    "wholebrain": "reference_chi",
    "csf": "reference_chi_csf",
    "region": "reference_chi_region",
}


def add_rois(workflow, maps, prepare, mask1, plan, node):  # type: ignore[no-untyped-def]
    """Add what measures chi in the regions of every segmentation of the plan, if there is one.

    Parameters
    ----------
    workflow : Workflow
        Graph of a run, with its references.
    maps : Maps
        The steps that have chi, its support and Mask 4.
    prepare, mask1 : Node
        The steps that have the magnitude and Mask 1, for the registration of a T1w image.
    plan : RunPlan
        The run.
    node : callable
        Makes a node with its memory estimate.
    """
    if not plan.segmentations:
        return
    regions = [[tuple(region) for region in s.regions] for s in plan.segmentations]
    bring = node(
        BringSegmentation(
            segmentations=[str(s.image) for s in plan.segmentations],
            spaces=[s.space for s in plan.segmentations],
            regions=regions,
        ),
        "bring_segmentation",
    )
    workflow.connect(prepare, "combined_magnitude", bring, "like")
    if plan.t1w_transform == IDENTITY:
        bring.inputs.identity = True
    elif plan.t1w_transform:
        bring.inputs.transform = plan.t1w_transform
    elif plan.t1w is not None:
        register = node(RegisterT1w(t1w=str(plan.t1w)), "register_t1w")
        workflow.connect(
            [
                (prepare, register, [("combined_magnitude", "magnitude")]),
                (mask1, register, [("mask", "mask")]),
                (register, bring, [("transform", "transform")]),
            ]
        )
    measure = node(
        MeasureRois(
            names=[s.label for s in plan.segmentations],
            regions=regions,
            only_named=[s.only_named for s in plan.segmentations],
        ),
        "measure_rois",
    )
    workflow.connect(
        [
            (bring, measure, [("labels", "labels")]),
            (maps.fields, measure, [("mask4_filled", "mask")]),
            (maps.chi, measure, [("support", "support")]),
        ]
    )
    there = [n for n, step in _REFERENCED.items() if workflow.get_node(step) is not None]
    for name in there:
        workflow.connect(workflow.get_node(_REFERENCED[name]), "chi", measure, name)
    if not there:
        workflow.connect(maps.chi, "chi", measure, "unreferenced")
