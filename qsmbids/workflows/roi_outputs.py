"""Segmentations and tables of regions of interest among the outputs of a run."""

from typing import Any

from qsmbids.workflows.output import Output
from qsmbids.workflows.output_steps import CHI

__all__ = ["roi_outputs"]


def roi_outputs() -> tuple[Output, ...]:
    """Return the outputs of segmentations."""
    return (
        Output(
            "t1w_transform",
            "register_t1w",
            "transform",
            "standard",
            "xfm",
            "Rigid transform that brings images from the T1w image to the gradient echo (ITK)",
            {"from": "T1w", "to": "MEGRE", "mode": "image"},
            steps=("register_t1w",),
            sources=("magnitude",),
            extension=".txt",
        ),
        _segmentation("segmentation", "labels", ".nii.gz", labels=True),
        _segmentation("segmentation_table", "tables", ".tsv", own_sidecar=False),
        _rois("wholebrain", "reference_chi", "relative to the brain", requires="reference_chi"),
        _rois(
            "csf",
            "reference_chi_csf",
            "relative to the fluid of the ventricles",
            requires="reference_chi_csf",
            optional=True,
        ),
        _rois(
            "region",
            "reference_chi_region",
            "relative to the region that was given",
            requires="reference_chi_region",
        ),
        _rois("unreferenced", "", "without a reference", unless="reference_chi"),
    )


def _segmentation(name: str, field: str, extension: str, **kwargs: Any) -> Output:
    return Output(
        name,
        "bring_segmentation",
        field,
        "standard",
        "dseg",
        "Regions of interest on the grid of the gradient echo",
        per_segmentation=True,
        extension=extension,
        steps=("register_t1w", "bring_segmentation"),
        sources=("magnitude",),
        **kwargs,
    )


def _rois(reference: str, step: str, title: str, **kwargs: Any) -> Output:
    return Output(
        f"rois_{reference}",
        "measure_rois",
        reference,
        "minimal",
        "stats",
        f"Susceptibility of regions of interest inside Mask 4 without holes, {title}",
        {"desc": reference},
        units="ppm",
        consensus="8.b, 8.d, 8.f",
        steps=(*CHI, step, "register_t1w", "bring_segmentation", "measure_rois"),
        sources=("mask4noholes", "segmentation"),
        extension=".tsv",
        per_segmentation=True,
        **kwargs,
    )
