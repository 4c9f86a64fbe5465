"""What the iterations of FANSI start from and end with."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FansiProblem", "FansiState"]

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FansiState:
    """The variables of the iterations [rad], on the padded grid; seven volumes.

    Their duals are scaled by the consistency weights. With a constant ratio of the gradient's
    consistency to its penalty they stay those of the solution when both change.
    """

    x: Volume
    h: Volume
    u: Volume
    s2: Volume
    data: Volume
    v: npt.NDArray[np.float32]

    def copy(self) -> "FansiState":
        """Return a state that iterations may overwrite; they leave x and h as they are."""
        u, s2, data, v = (a.copy() for a in (self.u, self.s2, self.data, self.v))
        return FansiState(self.x, self.h, u, s2, data, v)


@dataclass(frozen=True)
class FansiProblem:
    """Everything that stays the same between iterations, in radians, on the padded grid."""

    y: Volume
    weights: Volume
    mask: Mask
    kernel: Volume
    weight_scale: float
    threshold: float
    edge_sign: float
    gradient_consistency: float
    fidelity_consistency: float
    harmonic_constraint: float
    harmonic_consistency: float
    weak_harmonic: bool
    n_newton: int
    linear_start: int
    least_iterations: int = 2

    @property
    def harmonic_share(self) -> float:
        """How much of u = Lap h + sh is zh in the mask; the rest is the dual sh."""
        return self.harmonic_consistency / (self.harmonic_consistency + self.harmonic_constraint)

    @property
    def edge(self) -> tuple[np.float32, np.float32]:
        """Scale of the gradient threshold, and what the sign of an edge does to it."""
        return np.float32(self.threshold), np.float32(self.edge_sign)

    @property
    def edges(self) -> Volume:
        """The map whose differences lower the threshold; a flat one has none."""
        return self.weights if self.edge_sign else np.zeros_like(self.y)

    def zero_start(self) -> FansiState:
        """Return the state from which FANSI's own software starts."""
        x, h, u, s2 = (np.zeros_like(self.y) for _ in range(4))
        data = (np.float32(self.weight_scale) * self.weights) ** 2 * self.y  # the first z2
        return FansiState(x, h, u, s2, data, np.zeros((3, *self.y.shape), np.float32))
