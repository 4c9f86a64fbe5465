"""Iterative Tikhonov inversion: least squares with a small map, for comparisons (7.a)."""

from dataclasses import dataclass

from qsmbids.methods.declaration import Answer, Clause, Method, setting
from qsmbids.methods.inversion.data import InversionData, Susceptibility

__all__ = ["METHOD", "Tikhonov"]


@dataclass(frozen=True)
class Tikhonov:
    """Settings of the iterative Tikhonov inversion."""

    size_penalty: float = setting(
        0.01, "weight of the size of the map", doc="Of its square.", minimum=1e-12
    )
    tolerance: float = setting(
        1e-2, "relative residual at the end", doc="Relative residual.", minimum=1e-9, maximum=1.0
    )
    maximum_iterations: int = setting(
        100, "maximum iterations", doc="Upper limit.", minimum=1, maximum=10000
    )


def _compute(data: InversionData, settings: Tikhonov) -> Susceptibility:
    from qsmbids.core.inversion.tikhonov import iterative_tikhonov

    result = iterative_tikhonov(
        *data.volumes,
        centre_frequency=data.centre_frequency,
        size_penalty=settings.size_penalty,
        tolerance=settings.tolerance,
        maximum_iterations=settings.maximum_iterations,
        n_threads=data.n_threads,
    )
    end = (
        f"iterative Tikhonov {'converged' if result.converged else 'stopped'} after"
        f" {result.n_iterations} iterations (relative residual {result.relative_residual:.2g})"
    )
    return Susceptibility(
        result.chi,
        data.support,
        decisions=(end,),
        facts={"Iterations": result.n_iterations, "Converged": result.converged},
    )


METHOD = Method(
    name="tikhonov",
    titles=("iterative Tikhonov",),
    settings=Tikhonov,
    doi="https://doi.org/10.1002/mrm.28377",
    answer=Answer(
        "7.a",
        "dipole inversion",
        "changed",
        "Iterative Tikhonov: no sparsity, so contrasts are too small; not for final results.",
    ),
    compute=_compute,
    sentences=(
        Clause(
            "Susceptibility was calculated by iterative Tikhonov inversion [@karsa2020] (weight of"
            " its size {size_penalty}), by conjugate gradients to a relative residual of"
            " {tolerance}, in {maximum_iterations} iterations at most."
        ),
    ),
)
