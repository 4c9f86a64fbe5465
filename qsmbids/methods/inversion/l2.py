"""Closed form with a squared gradient: a quick look (7.a)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Answer, Clause, Method, setting
from qsmbids.methods.inversion.data import InversionData, Susceptibility

__all__ = ["L2", "METHOD"]


@dataclass(frozen=True)
class L2:
    """Settings of the closed form."""

    gradient_l2_penalty: float = setting(
        1e-2, "weight of the gradient", doc="Of its square.", minimum=1e-12
    )


def _compute(data: InversionData, settings: L2) -> Susceptibility:
    from qsmbids.core.inversion.l2 import closed_form_l2

    result = closed_form_l2(
        *data.volumes,
        centre_frequency=data.centre_frequency,
        gradient_l2_penalty=settings.gradient_l2_penalty,
        n_threads=data.n_threads,
    )
    said = "closed-form L2: a quick look, without the weights of the data"
    return Susceptibility(result.chi, data.support, decisions=(said,))


METHOD = Method(
    name="l2",
    titles=("closed-form L2",),
    settings=L2,
    doi="https://doi.org/10.1002/jmri.24365",
    answer=Answer(
        "7.a",
        "dipole inversion",
        "changed",
        "L2 regularisation: no sparsity, which smooths edges; not for final results.",
    ),
    compute=_compute,
    weighted=False,
    sentences=(
        Clause(
            "Susceptibility was calculated in closed form with L2 regularisation [@bilgic2014] of"
            " its gradient (weight {gradient_l2_penalty})."
        ),
    ),
)
