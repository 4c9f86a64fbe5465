r"""What the iterations of FANSI start from and end with.

Names here and in the loops, and the symbols of the papers that :mod:`qsmbids.core.inversion.fansi`
cites. All are in radians of phase at the reference echo, lengths in voxels.

========================  ========================  =============================================
name                      symbol                    meaning
========================  ========================  =============================================
``x``                     :math:`x`                 susceptibility, as phase
``h``                     :math:`\phi_h`            weak harmonic field
``y``                     :math:`\phi`              local field, the data
``weights``               :math:`W`                 data weights, times ``weight_scale``
``kernel``                :math:`D`                 dipole, on the half spectrum
``v``                     :math:`z_1 + s_1`         gradient split and its dual
``s2``                    :math:`s_2`               dual of the fidelity split
``data``                  :math:`z_2 - s_2`         what Dx + h is drawn to; alternating: less h
``u``                     :math:`z_h + s_h`         harmonic split and its dual
``bend``                  :math:`z_h - s_h`         what the Laplacian of h is drawn to
``gradient_l1_penalty``   :math:`\alpha_1`          penalty of the gradient
``gradient_consistency``  :math:`\mu_1`             of z1 = grad x; ``mu1`` in the loops
``fidelity_consistency``  :math:`\mu_2`             of z2 = Dx + h; ``mu2``
``harmonic_consistency``  :math:`\mu_h`             of zh = Lap h; ``muh``
``harmonic_constraint``   :math:`\beta`             penalty of Lap h in the mask
``harmonic_share``        :math:`\rho`              muh / (muh + beta)
``threshold``             :math:`\alpha_1 / \mu_1`  of the soft thresholding, times the mean edge
========================  ========================  =============================================

A split variable (z) stands for what it is consistent with: at the minimum the two are the same.
The scaled dual (s) remembers by how much they have differed.
"""

from dataclasses import dataclass

import numpy as np

from qsmbids.core.maths.arrays import Float32Array, Mask

__all__ = ["FansiProblem", "FansiState"]


@dataclass(frozen=True)
class FansiState:
    """The variables of the iterations [rad], on the padded grid; seven volumes.

    Their duals are scaled by the consistency weights. With a constant ratio of the gradient's
    consistency to its penalty they stay those of the solution when both change.
    """

    x: Float32Array
    h: Float32Array
    u: Float32Array
    s2: Float32Array
    data: Float32Array
    v: Float32Array

    def copy(self) -> "FansiState":
        """Return a state that iterations may overwrite; they leave x and h as they are."""
        u, s2, data, v = (a.copy() for a in (self.u, self.s2, self.data, self.v))
        return FansiState(self.x, self.h, u, s2, data, v)


@dataclass(frozen=True)
class FansiProblem:
    """Everything that stays the same between iterations, in radians, on the padded grid."""

    y: Float32Array
    weights: Float32Array
    mask: Mask
    kernel: Float32Array
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
    def edges(self) -> Float32Array:
        """The map whose differences lower the threshold; a flat one has none."""
        return self.weights if self.edge_sign else np.zeros_like(self.y)

    def zero_start(self) -> FansiState:
        """Return the state from which FANSI's own software starts."""
        x, h, u, s2 = (np.zeros_like(self.y) for _ in range(4))
        data = (np.float32(self.weight_scale) * self.weights) ** 2 * self.y  # the first z2
        return FansiState(x, h, u, s2, data, np.zeros((3, *self.y.shape), np.float32))
