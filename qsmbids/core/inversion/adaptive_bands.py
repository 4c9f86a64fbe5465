r"""Square penalties of the low frequencies of a map, each by place.

They are for an error of the field with the spectrum of the tissue, which is mostly low. Three
bands of k-space, an octave apart and the last all that is below, are held by Wiener's filter for
the place: by the share of the error over the root of the energy that the band has around the
voxel. They reach up to a quarter of a cycle per voxel, so that half of the grid holds them, and
their transforms take an eighth of the time.

.. math:: \tfrac12 \sum_i \sum w_i(r) (B_i x)^2
"""

import numpy as np

from qsmbids.core.inversion.half_grid import HalfGrid
from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask, SpectrumArray
from qsmbids.core.maths.fft import rfft
from qsmbids.core.maths.smoothing import LocalMean

__all__ = ["BandSplit", "LowBands"]


#: Upper ends of the bands [cycles per voxel]; each begins two octaves below, the last at 0.
ENDS = (0.25, 0.125, 0.0625)
#: Standard deviation of the window of their energy [voxels], its power and least part.
WIDTH, POWER, FLOOR = 3.2, 0.5, 0.1
#: Consistency of the bands over the share that they are held by, and the least.
CONSISTENCY, LEAST_CONSISTENCY = 4.0, 1e-4


class LowBands:
    """The bands of a grid, on the half grid that holds them."""

    def __init__(self, half: HalfGrid, strength: float) -> None:
        self.half, self.strength = half, strength
        self.grid, self.n_threads = half.grid, half.n_threads
        self.mu = np.float32(max(CONSISTENCY * strength, LEAST_CONSISTENCY))
        self.bands = _bands(self.half.radius())

    def held(self) -> Float32Array:
        """Return the sum of their squares on the half spectrum of the grid, times mu."""
        out = np.zeros((*self.grid[:2], self.grid[2] // 2 + 1), dtype=np.float32)
        self.half.add(self.mu * np.sum([band**2 for band in self.bands], axis=0), out)
        return out

    def split(self, spectrum: SpectrumArray) -> list[Float32Array]:
        """Return the bands of a map, by its half spectrum."""
        low: SpectrumArray = self.half.take(spectrum)
        low *= self.half.ratio
        return [self.half.irfft(low * band) for band in self.bands]

    def join(self, parts: list[Float32Array], spectrum: SpectrumArray) -> None:
        """Add the bands of volumes on the half grid to a half spectrum, times mu."""
        total = np.zeros_like(spectrum, shape=self.bands[0].shape)
        for band, volume in zip(self.bands, parts, strict=True):
            total += band * self.half.rfft(volume)
        total *= self.mu / self.half.ratio
        self.half.add(total, spectrum)

    def weights(self, x: Float32Array, mask: Mask, square: Float32Array) -> list[Float32Array]:
        """Return the weights of the bands by place, from a map and its local square term."""
        inside = mask[self.half.picked]
        width = WIDTH * float(np.cbrt(self.half.ratio))
        window = LocalMean(inside, width, self.n_threads, 2e-2)
        spared = square[self.half.picked]
        out = []
        for part in self.split(rfft(x, self.n_threads)):
            energy = window(np.where(inside, part, 0) ** 2)
            typical = float(energy[inside].mean(dtype=np.float64)) if inside.any() else 0.0
            relative = energy / np.float32(typical) if typical > 0 else np.ones_like(energy)
            relative = np.where(inside, relative, 0) + np.float32(FLOOR)
            out.append((np.float32(self.strength) * spared * relative**-POWER).astype(np.float32))
        return out


class BandSplit:
    """Bands of x as split variables: each is stored as its sum with the scaled dual."""

    def __init__(
        self, bands: LowBands, x: Float32Array, weights: list[Float32Array], relax: np.float32
    ) -> None:
        self.bands, self.held, self._relax = bands, bands.held(), relax
        shares = [w / (bands.mu + w) for w in weights]  # of the sum that is the dual
        self._pulls = [1 - 2 * share for share in shares]
        self._keeps = [1 - relax + relax * share for share in shares]
        parts = bands.split(rfft(x, bands.n_threads))
        self._sums = [b * (1 + w / bands.mu) for b, w in zip(parts, weights, strict=True)]

    def source(self, spectrum: SpectrumArray) -> None:
        """Add what the bands pull x by to the right-hand side."""
        pulls = [s * pull for s, pull in zip(self._sums, self._pulls, strict=True)]
        self.bands.join(pulls, spectrum)

    def update(self, spectrum: SpectrumArray) -> None:
        """Go on with a new map, by its half spectrum."""
        parts = self.bands.split(spectrum)
        for total, keep, part in zip(self._sums, self._keeps, parts, strict=True):
            total *= keep
            part *= self._relax
            total += part


def _bands(radius: Float64Array) -> list[Float32Array]:
    """Return windows by frequency whose squares add up to 1 where the last ends, and fall to 0."""
    octave = np.log2(np.maximum(radius, 1e-9))
    out = []
    for number, end in enumerate(ENDS):
        rise = np.clip(np.log2(end) - octave, 0, 1)
        fall = np.clip(octave - np.log2(end / 4), 0, 1) if number < len(ENDS) - 1 else 1.0
        out.append(np.sin(np.pi / 2 * np.minimum(rise, fall)).astype(np.float32))
    return out
