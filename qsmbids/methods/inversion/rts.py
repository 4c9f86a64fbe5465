"""The rapid two-step inversion, RTS: a quick look without the streaks of a division (7.a)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Answer, Clause, Method, setting
from qsmbids.methods.inversion.data import InversionData, Susceptibility

__all__ = ["METHOD", "Rts"]


@dataclass(frozen=True)
class Rts:
    """Settings of RTS."""

    threshold: float = setting(
        0.15,
        "largest dipole kernel value of the ill-conditioned part",
        doc="Where the kernel is no larger, total variation decides.",
        minimum=1e-3,
        maximum=0.66,
    )
    least_squares_steps: int = setting(
        4, "steps of least squares", doc="Of the first step.", minimum=1, maximum=100
    )
    tolerance_percent: float = setting(
        1.0,
        "tolerance",
        "%",
        "The second step stops when an iteration changes chi by less.",
        minimum=1e-3,
        maximum=100.0,
    )
    maximum_iterations: int = setting(
        50, "maximum iterations", doc="Of the second step.", minimum=1, maximum=1000
    )


def _compute(data: InversionData, settings: Rts) -> Susceptibility:
    from qsmbids.core.inversion.rts import rts

    result = rts(
        *data.volumes,
        centre_frequency=data.centre_frequency,
        threshold=settings.threshold,
        least_squares_steps=settings.least_squares_steps,
        tolerance_percent=settings.tolerance_percent,
        maximum_iterations=settings.maximum_iterations,
        n_threads=data.n_threads,
    )
    end = f"after {result.n_iterations} iterations (last update {result.update_percent:.2f} %)"
    state = "converged" if result.converged else "stopped"
    return Susceptibility(
        result.chi,
        data.support,
        decisions=(f"RTS: a quick look, {state} {end}",),
        warnings=("" if result.converged else f"RTS did not converge, it stopped {end}",),
        facts={
            "Iterations": result.n_iterations,
            "LastUpdatePercent": float(result.update_percent),
            "Converged": bool(result.converged),
        },
    )


METHOD = Method(
    name="rts",
    titles=("RTS",),
    settings=Rts,
    doi="https://doi.org/10.1016/j.neuroimage.2017.11.018",
    answer=Answer(
        "7.a",
        "dipole inversion",
        "changed",
        "Rapid two-step inversion: sparsity fills only the cone of k-space where the dipole is"
        " small; a quick look, not for final results.",
    ),
    compute=_compute,
    sentences=(
        Clause(
            "Susceptibility was calculated by a rapid two-step inversion [@kames2018]:"
            " {least_squares_steps} steps of conjugate gradients for the weighted least squares of"
            " the field, of which the part of k-space with a dipole kernel above {threshold} was"
            " kept, and the rest of least total variation, until an iteration changed the map by"
            " less than {tolerance_percent}, for {maximum_iterations} iterations at most."
        ),
    ),
)
