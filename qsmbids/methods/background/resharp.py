"""Regularised SHARP, RESHARP (6.a)."""

from dataclasses import dataclass

from qsmbids.methods.background.data import BackgroundData, BackgroundRemoval
from qsmbids.methods.declaration import Answer, Clause, Method, setting

__all__ = ["METHOD", "Resharp"]


@dataclass(frozen=True)
class Resharp:
    """Settings of RESHARP."""

    radius: float = setting(4.0, "RESHARP sphere", "voxels", "Radius.", minimum=1.0, maximum=60.0)
    tikhonov_weight: float = setting(
        1e-4, "RESHARP Tikhonov weight", doc="Of the size of the local field.", minimum=1e-12
    )
    tolerance: float = setting(
        1e-4, "RESHARP tolerance", doc="Relative residual.", minimum=1e-9, maximum=1.0
    )


def _compute(data: BackgroundData, settings: Resharp) -> BackgroundRemoval:
    from qsmbids.core.background.resharp import resharp

    result = resharp(
        data.field,
        data.mask,
        data.voxel_size,
        radius=settings.radius,
        tikhonov_weight=settings.tikhonov_weight,
        tolerance=settings.tolerance,
        n_threads=data.n_threads,
    )
    return BackgroundRemoval.of_solver(result, RadiusUnit=data.radius_unit)


METHOD = Method(
    name="resharp",
    titles=("RESHARP",),
    settings=Resharp,
    doi="https://doi.org/10.1002/mrm.24765",
    answer=Answer(
        "6.a",
        "background field removal",
        "changed",
        "RESHARP, of the SHARP family, instead of V-SHARP or PDF; its radius is eroded.",
    ),
    compute=_compute,
    sentences=(
        Clause(
            "Background fields were removed by RESHARP [@sun2014] with spheres of {radius} in"
            " radius, a Tikhonov weight of {tikhonov_weight} and a relative residual of"
            " {tolerance}."
        ),
    ),
)
