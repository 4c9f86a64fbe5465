"""Projection onto dipole fields, PDF (6.a, 6.b)."""

from dataclasses import dataclass

from qsmbids.methods.background.data import BackgroundData, BackgroundRemoval
from qsmbids.methods.declaration import Answer, Clause, Method, setting

__all__ = ["METHOD", "Pdf"]


@dataclass(frozen=True)
class Pdf:
    """Settings of PDF; Mask 4 is Mask 3."""

    padding_mm: float = setting(
        20.0,
        "room for sources around the mask",
        "mm",
        "On every side.",
        minimum=0.0,
        maximum=200.0,
    )
    tissue: float = setting(
        0.0,
        "size of sources inside the mask to those outside",
        doc="0 is PDF, 0.03 keeps more of the field of the outer tissue.",
        minimum=0.0,
        maximum=1.0,
    )
    tolerance: float = setting(
        2e-3, "PDF tolerance", doc="Relative residual.", minimum=1e-9, maximum=1.0
    )
    maximum_iterations: int = setting(
        30, "PDF maximum iterations", doc="Upper limit.", minimum=1, maximum=10000
    )


def _compute(data: BackgroundData, settings: Pdf) -> BackgroundRemoval:
    from qsmbids.core.background.pdf import pdf

    return BackgroundRemoval.of_solver(
        pdf(
            data.field,
            data.mask,
            data.voxel_size,
            data.b0_direction,
            weights=data.weights,
            padding_mm=settings.padding_mm,
            tissue=settings.tissue,
            tolerance=settings.tolerance,
            maximum_iterations=settings.maximum_iterations,
            n_threads=data.n_threads,
        )
    )


METHOD = Method(
    name="pdf",
    titles=("PDF",),
    settings=Pdf,
    doi="https://doi.org/10.1002/nbm.1670",
    answer=Answer(
        "6.b",
        "background field removal",
        "pass",
        "PDF, for the whole brain to its surface; it needs a good brain mask.",
    ),
    compute=_compute,
    sentences=(
        Clause(
            "Background fields were removed by projection onto dipole fields (PDF) [@liu2011pdf]"
            " with {padding_mm} of room for sources around the mask, in {maximum_iterations}"
            " iterations of conjugate gradients at most and to a relative residual of"
            " {tolerance}."
        ),
        Clause(
            "Sources inside the mask were allowed for, with {tissue} times the size of those"
            " outside.",
            {"run.pdf_tissue": True},
        ),
        Clause("All sources were taken to lie outside the mask.", {"tissue": 0}),
    ),
)
