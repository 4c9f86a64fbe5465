"""Segmentations and tables of regions of interest among the outputs of a run."""

from typing import Any

from qsmbids.io.lesions import LESIONS
from qsmbids.workflows.output import Output

__all__ = ["roi_outputs"]


def roi_outputs() -> tuple[Output, ...]:
    """Return the outputs of segmentations."""
    return (
        Output(
            "t1w_transform",
            "t1w_transform",
            "standard",
            "xfm",
            "Rigid transform that brings images from the T1w image to the gradient echo (ITK)",
            {"from": "T1w", "to": "MEGRE", "mode": "image"},
            sources=("magnitude",),
            extension=".txt",
        ),
        _segmentation("segmentation", ".nii.gz", labels=True),
        _segmentation("segmentation_table", ".tsv", own_sidecar=False),
        _lesions("lesions", "measure_lesions.labels", ".nii.gz", labels=True),
        _lesions("lesion_names", "measure_lesions.names", ".tsv", own_sidecar=False),
        Output(
            "lesion_values",
            "measure_lesions.table",
            "minimal",
            "stats",
            "Volume and susceptibility of every lesion, its rim and its core, under every"
            " reference",
            {"desc": LESIONS},
            units="ppm, see the columns",
            consensus="8.b, 8.d",
            sources=("mask4noholes", "lesions"),
            extension=".tsv",
        ),
        _rois("wholebrain", "relative to the brain"),
        _rois("csf", "relative to the fluid of the ventricles", optional=True),
        _rois("whitematter", "relative to white matter", optional=True),
        _rois("internalcapsule", "relative to the internal capsule", optional=True),
        _rois("region", "relative to the region that was given"),
        _rois("unreferenced", "without a reference"),
    )


def _segmentation(name: str, extension: str, **kwargs: Any) -> Output:
    return Output(
        name,
        name,
        "standard",
        "dseg",
        "Regions of interest on the grid of the gradient echo",
        per_segmentation=True,
        extension=extension,
        sources=("magnitude",),
        **kwargs,
    )


def _lesions(name: str, quantity: str, extension: str, **kwargs: Any) -> Output:
    return Output(
        name,
        quantity,
        "standard",
        "dseg",
        "Lesions on the grid of the gradient echo",
        {"segmentation": LESIONS},
        extension=extension,
        sources=("magnitude",),
        **kwargs,
    )


def _rois(reference: str, title: str, **kwargs: Any) -> Output:
    return Output(
        f"rois_{reference}",
        f"rois_{reference}",
        "minimal",
        "stats",
        f"Susceptibility and R2* of regions of interest inside Mask 4 without holes, {title}",
        {"desc": reference},
        units="ppm; R2* in 1/s",
        consensus="8.b, 8.d, 8.f",
        sources=("mask4noholes", "segmentation"),
        extension=".tsv",
        per_segmentation=True,
        **kwargs,
    )
