"""Iterated spherical mean values, iSMV (6.a)."""

from dataclasses import dataclass

from qsmbids.methods.background.data import BackgroundData, BackgroundRemoval
from qsmbids.methods.declaration import Answer, Clause, Method, setting

__all__ = ["METHOD", "Ismv"]


@dataclass(frozen=True)
class Ismv:
    """Settings of iSMV."""

    radius: float = setting(4.0, "iSMV sphere", "voxels", "Radius.", minimum=1.0, maximum=60.0)
    tolerance: float = setting(
        1e-3, "iSMV tolerance", doc="Relative change.", minimum=1e-9, maximum=1.0
    )


def _compute(data: BackgroundData, settings: Ismv) -> BackgroundRemoval:
    from qsmbids.core.background.ismv import ismv

    result = ismv(
        data.field,
        data.mask,
        data.voxel_size,
        radius=settings.radius,
        tolerance=settings.tolerance,
        n_threads=data.n_threads,
    )
    return BackgroundRemoval.of_solver(result, RadiusUnit=data.radius_unit)


METHOD = Method(
    name="ismv",
    titles=("iSMV",),
    settings=Ismv,
    doi="https://doi.org/10.1002/mrm.24998",
    answer=Answer(
        "6.a",
        "background field removal",
        "changed",
        "iSMV, of spherical mean values too, instead of V-SHARP or PDF; its radius is eroded.",
    ),
    compute=_compute,
    sentences=(
        Clause(
            "Background fields were removed by iterated spherical mean values (iSMV) [@wen2014]"
            " with spheres of {radius} in radius, until the relative change was {tolerance}."
        ),
    ),
)
