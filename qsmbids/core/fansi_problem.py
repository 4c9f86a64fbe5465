"""What the iterations of FANSI start from and end with."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FansiProblem", "FansiState"]

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


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
    mu1: float
    mu2: float
    beta: float
    muh: float
    weak_harmonic: bool
    n_newton: int
    linear_start: int


@dataclass(frozen=True)
class FansiState:
    """The variables of the iterations [rad], on the padded grid; seven volumes.

    Their duals are scaled by the consistency weights. With a constant ratio of ``mu1`` to
    ``alpha1`` they stay those of the solution when both change.
    """

    x: Volume
    h: Volume
    u: Volume
    s2: Volume
    data: Volume
    v: npt.NDArray[np.float32]
