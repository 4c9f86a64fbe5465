"""Thresholded division in k-space, TKD: a quick look (7.a)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Answer, Clause, Method, setting
from qsmbids.methods.inversion.data import InversionData, Susceptibility

__all__ = ["METHOD", "Tkd"]


@dataclass(frozen=True)
class Tkd:
    """Settings of TKD."""

    threshold: float = setting(
        0.2,
        "smallest dipole kernel value inverted",
        doc="Smaller ones count as this.",
        minimum=1e-3,
        maximum=0.66,
    )


def _compute(data: InversionData, settings: Tkd) -> Susceptibility:
    from qsmbids.core.inversion.tkd import tkd

    result = tkd(
        *data.volumes,
        centre_frequency=data.centre_frequency,
        threshold=settings.threshold,
        n_threads=data.n_threads,
    )
    said = "TKD: a quick look, without the weights of the data"
    return Susceptibility(result.chi, data.support, decisions=(said,))


METHOD = Method(
    name="tkd",
    titles=("TKD",),
    settings=Tkd,
    doi="https://doi.org/10.1002/mrm.22135",
    answer=Answer(
        "7.a",
        "dipole inversion",
        "changed",
        "Truncated k-space division: no sparsity, so streaks remain; not for final results.",
    ),
    compute=_compute,
    weighted=False,
    sentences=(
        Clause(
            "Susceptibility was calculated by thresholded k-space division (TKD) [@shmueli2009]"
            " with a threshold of {threshold}."
        ),
    ),
)
