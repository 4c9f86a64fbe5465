r"""Joint iterations of FANSI in stages, with consistency weights that grow.

The consistency weights :math:`\mu_1` and :math:`\mu_2` of
:mod:`qsmbids.core.inversion.fansi_joint` say how fast the iterations go where, and not where they
end. Those of Table S2.3 need hundreds of iterations for the low frequencies and the cone of
k-space that the dipole hardly sees. Smaller ones are fast there and slow in the rest, so the
iterations begin with small weights and go on with larger ones once a step brings little. The
variables stay as they are: a scaled dual is divided by the factor by which its weight grows.
"""

from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np

from qsmbids.core.inversion.fansi_joint import minimise_jointly
from qsmbids.core.inversion.fansi_kernels import clip, threshold
from qsmbids.core.inversion.fansi_problem import FansiProblem, FansiState
from qsmbids.core.maths.parallel import planes

__all__ = ["change_consistency", "minimise_in_stages"]


#: Factors of mu1 and mu2, and the multiple of the tolerance at which the stage ends. A step
#: of the last stage is smaller than one of plain iterations as far from the minimum.
STAGES = ((0.5, 0.1, 4.0), (1.0, 0.3, 0.6))
#: The same for linear TV, without h and with one minimum, where the first may be bolder.
LINEAR_STAGES = ((0.5, 0.03, 3.0), (1.0, 0.3, 1.0))
#: Iterations after which a stage is given up for plain iterations. With mu2 below the largest
#: squared weight a nonlinear data term has more than one minimum for s2 where a strong penalty
#: leaves much of the phase, and the iterations may not settle; else a stage takes 10 to 80.
MOST_ITERATIONS = 120


def minimise_in_stages(
    p: FansiProblem,
    state: FansiState,
    tolerance_percent: float,
    maximum_iterations: int,
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[FansiState, int, float]:
    """Iterate from a given state.

    Parameters and results are those of
    :func:`qsmbids.core.inversion.fansi_joint.minimise_jointly`; the tolerance is for the last
    stage. The state belongs to the consistency weights of ``p`` before and after.
    """
    n_done, update, last = 0, np.inf, p
    held = [state]  # a stage may let go of what it does not need
    del state
    stages = list(STAGES if p.weak_harmonic or p.n_newton else LINEAR_STAGES)
    while stages and n_done < maximum_iterations:
        gradient, fidelity, loose = stages.pop(0)
        plain = gradient == fidelity == 1.0
        most = maximum_iterations - n_done
        if not plain:
            most = min(most, MOST_ITERATIONS)
        stage = replace(
            p,
            gradient_consistency=gradient * p.gradient_consistency,
            threshold=p.threshold / gradient,
            fidelity_consistency=fidelity * p.fidelity_consistency,
            # both are counted from the first stage
            linear_start=max(-1, p.linear_start - n_done),
            least_iterations=max(2, p.least_iterations - n_done),
        )
        state, n, update = minimise_jointly(
            stage,
            change_consistency(last, stage, held.pop(), n_threads),
            loose * tolerance_percent,
            most,
            n_threads,
            _from(n_done, progress),
        )
        held.append(state)
        del state
        n_done, last = n_done + n, stage
        if not plain and n == MOST_ITERATIONS and update >= loose * tolerance_percent:
            stages = [(1.0, 1.0, 1.0)]
    return change_consistency(last, p, held.pop(), n_threads), n_done, update


def _from(
    n_done: int, progress: Callable[[int, float], None] | None
) -> Callable[[int, float], None] | None:
    """Return a callback that counts on from the iterations done."""
    if progress is None:
        return None
    return lambda iteration, update: progress(n_done + iteration, update)


def change_consistency(
    before: FansiProblem, after: FansiProblem, state: FansiState, n_threads: int = 1
) -> FansiState:
    """Rescale the duals of a state, whose variables stay, to other consistency weights.

    mu1 and mu2 may differ, and the threshold with mu1. v, s2 and the data are overwritten.
    """
    of_gradient = before.gradient_consistency / after.gradient_consistency
    of_fidelity = np.float32(before.fidelity_consistency / after.fidelity_consistency)
    if of_gradient != 1.0:
        with planes(before.y.shape[0], max(1, n_threads)) as run:
            run(_scale_dual, state.v, before.edges, *before.edge, np.float32(of_gradient))
    if of_fidelity != 1.0:
        state.data[:] += (np.float32(1) - of_fidelity) * state.s2  # z2 - s2 of the new s2
        state.s2[:] *= of_fidelity
    return state


@numba.njit(cache=True, fastmath=True, inline="always", error_model="numpy")
def _scaled(v, t, factor):  # type: ignore[no-untyped-def]
    """z1 + factor s1, of v = z1 + s1."""
    dual = clip(v, t)
    return v - dual + factor * dual


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _scale_dual(start, stop, v, w, scale, flip, factor):  # type: ignore[no-untyped-def]
    """Multiply the duals within v, for the three axes."""
    nx, ny, nz = w.shape
    for i in range(start, stop):
        for j in range(ny):
            w0, wi, wj = w[i, j], w[(i + 1) % nx, j], w[i, (j + 1) % ny]
            va, vb, vc = v[0, i, j], v[1, i, j], v[2, i, j]
            for k in range(nz):
                va[k] = _scaled(va[k], threshold(w0[k], wi[k], scale, flip), factor)
                vb[k] = _scaled(vb[k], threshold(w0[k], wj[k], scale, flip), factor)
                t = threshold(w0[k], w0[(k + 1) % nz], scale, flip)
                vc[k] = _scaled(vc[k], t, factor)
