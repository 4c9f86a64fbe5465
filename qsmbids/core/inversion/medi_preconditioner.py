r"""What makes the conjugate gradients of MEDI fast: a scale for each voxel and each frequency.

The operator :math:`A = G^T V G + 2 \lambda D w^2 D` of a Gauss-Newton step differs in size between
voxels by V and w, and is small for low frequencies and in the cone of the dipole. So

.. math:: P^{-1} = s F^{-1} b^{-1} F s, \qquad s_i = A_{ii}^{-1/2},

with F the Fourier transform and b the symbol of s A s as if it were the same everywhere,

.. math:: b = (1 - \theta) \frac{L}{6} + \theta \frac{D^2}{\overline{D^2}} + 0.03,

L that of -Laplace and :math:`\theta` the mean share of the data in the diagonal. That of
:math:`D w^2 D` is the convolution of :math:`w^2` with the squared dipole: voxels without data,
such as a calcification, are held by the field around them.
"""

import numpy as np

from qsmbids.core.inversion import medi_kernels as loops
from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.gradient import laplacian_symbols
from qsmbids.core.maths.parallel import Run

__all__ = ["Preconditioner"]

#: Added to the symbol, which is zero for the mean.
FLOOR = np.float32(0.03)
#: Part of the mean diagonal of the data term that is assumed where there are no data around.
NO_DATA = np.float32(1e-3)


class Preconditioner:
    """The scales for the operator of one Gauss-Newton step after the other.

    Parameters
    ----------
    kernel : (X, Y, Z // 2 + 1) ndarray
        D on the half spectrum.
    support : (X, Y, Z) ndarray of bool
        Where there may be data.
    data_weight : float
        lambda; data weights have a mean of 1 in the support.
    run : callable
        Runs a loop over all planes.
    n_threads : int
        Threads of the transforms.
    """

    def __init__(
        self, kernel: Float32Array, support: Mask, data_weight: float, run: Run, n_threads: int
    ) -> None:
        x, y, z = support.shape
        self.grid, self.support = (x, y, z), support
        self.kernel, self.run, self.n_threads = kernel, run, n_threads
        dipole = irfft(kernel.astype(np.complex64), self.grid, n_threads, overwrite=True)
        mean_square = np.square(dipole, out=dipole).sum(dtype=np.float64)
        self.mean_square = np.float32(mean_square)  # of D over the frequencies
        self.least = NO_DATA * np.float32(2.0 * data_weight * mean_square)
        self.squared_dipole = rfft(dipole, n_threads).real.copy()  # dipoles are even
        self.voxels = np.ones(self.grid, dtype=np.float32)
        self.frequencies = np.ones_like(kernel)

    def follow(self, v: Float32Array, data: Float32Array) -> None:
        """Take the weights of the differences and 2 lambda w^2 of the next step."""
        spectrum = rfft(data, self.n_threads)
        self.run(loops.multiply, spectrum, self.squared_dipole)
        held = irfft(spectrum, self.grid, self.n_threads, overwrite=True)
        self.run(loops.inverse_root_diagonal, v, held, self.least, self.voxels)
        held *= np.square(self.voxels)
        share = np.float32(held[self.support].mean(dtype=np.float64))
        share = min(max(share, np.float32(0)), np.float32(1))
        symbols = laplacian_symbols(self.grid)
        of_data = share / self.mean_square
        self.run(
            loops.inverse_symbol,
            self.kernel,
            *symbols,
            (1 - share) / 6,
            of_data,
            FLOOR,
            self.frequencies,
        )

    def apply(self, residual: Float32Array, sums: Float64Array) -> tuple[Float32Array, float]:
        """Return z = P^-1 r and r . z; ``sums`` is room for the sum of each plane."""
        scaled = np.empty_like(residual)
        self.run(loops.scale, residual, self.voxels, scaled)
        spectrum = rfft(scaled, self.n_threads)
        self.run(loops.multiply, spectrum, self.frequencies)
        z: Float32Array = irfft(spectrum, self.grid, self.n_threads, overwrite=True)
        self.run(loops.scale_back, z, self.voxels, residual, sums)
        return z, float(sums.sum())
