"""References of the susceptibility map and the checks made on it (paper section 8)."""

from typing import Any

from qsmbids.interfaces.checks import CheckSign
from qsmbids.interfaces.reference import DescribeReferences, GivenRegion, ReferenceChi
from qsmbids.workflows.methods import csf_finder

__all__ = ["add_references"]


def add_references(workflow, maps, prepare, relax, plan, settings, n_echoes, node):  # type: ignore[no-untyped-def]
    """Add chi relative to every region that there is, a table of the regions, and the sign check.

    Parameters
    ----------
    workflow : Workflow
        Graph of a run.
    maps : Maps
        The steps that have chi, its support and Mask 4.
    prepare, relax : Node
        The steps that have the magnitude and R2*; the latter None for one echo.
    plan : RunPlan
        The run; a region of the user is taken from it.
    settings : Settings
        What decides the maps.
    n_echoes : int
        R2* of two echoes is too noisy to find fluid by.
    node : callable
        Makes a node with its memory estimate.
    """
    chosen = settings.reference
    table = node(DescribeReferences(chosen=chosen.region), "describe_references")
    workflow.connect(
        [
            (maps.chi, table, [("chi", "chi"), ("support", "support")]),
            (maps.fields, table, [("mask4", "brain")]),
        ]
    )

    def reference(name: str, region: tuple[Any, str], title: str) -> Any:
        step = node(ReferenceChi(region_name=title), name)
        workflow.connect([(maps.chi, step, [("chi", "chi"), ("support", "mask")])])
        workflow.connect(*region, step, "region")
        return step

    if relax is not None:
        sign = node(CheckSign(), "check_sign")
        workflow.connect(relax, "r2star", sign, "r2star")
        workflow.connect([(maps.chi, sign, [("chi", "chi"), ("support", "mask")])])
    if chosen.region == "none":
        return
    reference("reference_chi", (maps.fields, "mask4"), "brain (Mask 4)")
    if relax is not None and n_echoes > 2:
        csf = node(
            csf_finder(settings),
            "find_csf",
        )
        workflow.connect(
            [
                (maps.chi, csf, [("chi", "chi"), ("support", "mask")]),
                (prepare, csf, [("combined_magnitude", "magnitude")]),
                (relax, csf, [("r2star", "r2star")]),
                (csf, table, [("region", "csf")]),
            ]
        )
        reference("reference_chi_csf", (csf, "region"), "cerebrospinal fluid of the ventricles")
    if plan.region is not None:
        given = node(GivenRegion(region=str(plan.region)), "given_region")
        workflow.connect(maps.chi, "support", given, "mask")
        workflow.connect(given, "region", table, "given")
        reference("reference_chi_region", (given, "region"), f"given: {plan.region.name}")
