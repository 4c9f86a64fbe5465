"""What the inversions by one division in k-space share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qsmbids.core.inversion.inversion_input import check_inversion
from qsmbids.core.maths.arrays import Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import crop, irfft, rfft, uncrop

__all__ = ["QuickInversion", "invert_spectrum", "symmetric_mean"]


@dataclass(frozen=True)
class QuickInversion:
    """What an inversion in one step returns.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility [ppm], unreferenced, zero outside the mask.
    n_iterations : int
        Always 1.
    converged : bool
        Always true.
    """

    chi: Float32Array
    n_iterations: int = 1
    converged: bool = True


def invert_spectrum(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    inverse: Callable[[tuple[int, int, int]], Float32Array],
    centre_frequency: float,
    margin: int | None,
    n_threads: int,
) -> QuickInversion:
    """Multiply the spectrum of a field by the inverse filter that ``inverse(shape)`` makes.

    Raises
    ------
    ValueError
        See :func:`qsmbids.core.inversion.inversion_input.check_inversion`; or the frequency or
        margin is wrong.
    """
    mask = np.asarray(mask, dtype=bool)
    check_inversion(local_field, mask, weights)
    if not (np.isfinite(centre_frequency) and centre_frequency > 0):
        raise ValueError("the centre frequency must be > 0")
    if margin is not None and margin < 0:
        raise ValueError("the margin must be >= 0")
    ppm = np.where(mask & (weights > 0), local_field / (1e-6 * centre_frequency), 0.0)
    ppm = ppm.astype(np.float32)
    box = bounding_box(mask)
    pad = (margin or 0,) * 3
    field = ppm if margin is None else crop(ppm, box, (pad[0], pad[1], pad[2]))
    grid = (field.shape[0], field.shape[1], field.shape[2])
    chi = irfft(rfft(field, n_threads) * inverse(grid), grid, n_threads, overwrite=True)
    if margin is not None:
        chi = uncrop(chi, ppm.shape, box, (pad[0], pad[1], pad[2]))  # type: ignore[arg-type]
    return QuickInversion(np.where(mask, chi, 0.0).astype(np.float32))


def symmetric_mean(half: FloatArray, shape: tuple[int, int, int]) -> float:
    """Return the mean over the whole spectrum of a symmetric quantity given on its half."""
    twice = 2.0 * half.sum(dtype=np.float64) - half[:, :, 0].sum(dtype=np.float64)
    if shape[2] % 2 == 0:
        twice -= half[:, :, -1].sum(dtype=np.float64)
    return float(twice / np.prod(shape))
