"""Laplacian boundary value method, LBV (6.a)."""

from dataclasses import dataclass

from qsmbids.methods.background.data import BackgroundData, BackgroundRemoval
from qsmbids.methods.declaration import Answer, Clause, Method, setting

__all__ = ["METHOD", "Lbv"]


@dataclass(frozen=True)
class Lbv:
    """Settings of LBV, which suits a weak harmonic inversion."""

    peel: int = setting(
        1,
        "layers taken off the mask for LBV",
        "voxels",
        "The boundary values are those of the layer below.",
        minimum=0,
        maximum=20,
    )
    tolerance: float = setting(
        1e-4, "LBV tolerance", doc="Relative residual.", minimum=1e-9, maximum=1.0
    )


def _compute(data: BackgroundData, settings: Lbv) -> BackgroundRemoval:
    from qsmbids.core.background.lbv import lbv

    return BackgroundRemoval.of_solver(
        lbv(
            data.field,
            data.mask,
            data.voxel_size,
            peel=settings.peel,
            tolerance=settings.tolerance,
        )
    )


METHOD = Method(
    name="lbv",
    titles=("LBV",),
    settings=Lbv,
    doi="https://doi.org/10.1002/nbm.3064",
    answer=Answer(
        "6.a",
        "background field removal",
        "changed",
        "LBV instead of V-SHARP or PDF; it depends much on the mask and on noise at its rim.",
    ),
    compute=_compute,
    sentences=(
        Clause(
            "Background fields were removed by solving the Laplacian boundary value problem (LBV)"
            " [@zhou2014] to a relative residual of {tolerance}, with the outermost {peel} of the"
            " mask taken off first."
        ),
    ),
)
