"""The lower half of the frequencies of a grid, on a grid of half the samples along each axis.

What is smooth needs no more samples, and its transforms take an eighth of the time.
"""

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, SpectrumArray
from qsmbids.core.maths.fft import fast_shape, irfft, rfft

__all__ = ["HalfGrid"]


class HalfGrid:
    """Where the samples and frequencies of the half grid lie in those of a grid.

    Attributes
    ----------
    grid, half : (3,) tuple of int
        Shapes of the two.
    ratio : float32
        Samples of the half grid over those of the grid: of equal volumes, so differ the spectra.
    picked : tuple of ndarray
        Voxels of the grid that lie where those of the half grid do, as an index.
    """

    def __init__(self, grid: tuple[int, int, int], n_threads: int = 1) -> None:
        self.grid, self.n_threads = grid, n_threads
        self.half = fast_shape(tuple((n + 1) // 2 for n in grid))
        self._parts = _parts(grid, self.half, self.depth)
        ratio = np.prod(self.half, dtype=np.float64) / np.prod(grid, dtype=np.float64)
        self.ratio = np.float32(ratio)
        self.picked = np.ix_(
            *(np.arange(n) * m // n for n, m in zip(self.half, grid, strict=True))
        )

    @property
    def depth(self) -> int:
        """Frequencies along the last axis that both have."""
        return min(self.half[2] // 2, self.grid[2] // 2)

    @property
    def spectrum_shape(self) -> tuple[int, int, int]:
        """Shape of the half spectrum of the half grid."""
        return self.half[0], self.half[1], self.half[2] // 2 + 1

    def radius(self) -> Float64Array:
        """Return the distance from the centre of k-space [cycles per voxel of the grid]."""
        axes = [np.fft.fftfreq(n, 1 / n) for n in self.half]
        axes[2] = np.fft.rfftfreq(self.half[2], 1 / self.half[2])
        x, y, z = (a / n for a, n in zip(axes, self.grid, strict=True))
        return np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)

    def take(self, spectrum: npt.NDArray) -> npt.NDArray:
        """Return the lower frequencies of a half spectrum, as they are."""
        low = np.zeros(self.spectrum_shape, dtype=spectrum.dtype)
        for whole, part in self._parts:
            low[part] = spectrum[whole]
        return low

    def add(self, low: npt.NDArray, spectrum: npt.NDArray) -> None:
        """Add lower frequencies to a half spectrum of the grid, as they are."""
        for whole, part in self._parts:
            spectrum[whole] += low[part]

    def rfft(self, volume: Float32Array) -> SpectrumArray:
        """Transform a volume of the half grid."""
        return rfft(volume, self.n_threads)

    def irfft(self, spectrum: SpectrumArray) -> Float32Array:
        """Transform back to a volume of the half grid; the spectrum is lost."""
        return irfft(spectrum, self.half, self.n_threads, overwrite=True)  # type: ignore[return-value]


def _parts(
    grid: tuple[int, int, int], half: tuple[int, ...], depth: int
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Return where the samples of the half grid lie in the half spectrum, and in theirs."""
    sides = []
    for n, m in zip(grid[:2], half[:2], strict=True):
        low = min(m // 2, n // 2)
        sides.append(
            [(slice(0, low), slice(0, low)), (slice(n - low + 1, n), slice(m - low + 1, m))]
        )
    last = slice(0, depth)
    return [((a, b, last), (c, d, last)) for a, c in sides[0] for b, d in sides[1]]
