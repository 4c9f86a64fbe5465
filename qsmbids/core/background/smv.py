"""Spherical mean values: what the background filters of the SHARP family have in common.

A harmonic field equals its mean over any sphere, so that a background field does not survive the
difference of a field and its spherical means.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi

from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.distance import limited_distance
from qsmbids.core.maths.fft import irfft, rfft
from qsmbids.core.maths.parallel import planes
from qsmbids.units import TWO_PI

__all__ = [
    "TIE",
    "EvenFilter",
    "distance_to_border",
    "multiply_even",
    "remove_plane",
    "sphere_support",
    "sphere_transform",
    "sphere_unit",
]


#: Voxels are taken to be isotropic up to this ratio of the largest to the smallest side.
ISOTROPY = 1.2
#: Keeps a sphere and the distance map on the same side of a tie.
TIE = 1e-6


def sphere_unit(voxel_size: npt.ArrayLike) -> Float64Array:
    """Return the voxel size in the unit in which radii are counted.

    (1, 1, 1) for near-isotropic voxels, whose radii are voxels as in Table S2.2, else the size
    [mm] itself.

    Raises
    ------
    ValueError
        The voxel size is not three positive numbers.
    """
    voxel = np.asarray(voxel_size, dtype=float)
    if voxel.shape != (3,) or not (np.isfinite(voxel).all() and (voxel > 0).all()):
        raise ValueError(f"the voxel size {voxel.tolist()} must be three positive numbers")
    return np.ones(3) if voxel.max() <= ISOTROPY * voxel.min() else voxel


def remove_plane(field: Float32Array, mask: Mask) -> Float32Array:
    """Subtract the least-squares constant and gradient in a mask; zero outside.

    Both are harmonic, so nothing of the local field is lost that a background filter would keep,
    and what is left fits single precision better.
    """
    where = np.nonzero(mask)
    values = field[where].astype(np.float64)
    axes = np.stack([index.astype(np.float64) for index in where])
    axes -= axes.mean(axis=1, keepdims=True)
    values -= values.mean()
    slope = np.linalg.lstsq(axes @ axes.T, axes @ values, rcond=None)[0]
    out = np.zeros_like(field)
    out[where] = values - slope @ axes
    return out


def distance_to_border(mask: Mask, unit: Float64Array, radius: float = np.inf) -> FloatArray:
    """Return the distance of every voxel to the next one outside the mask.

    A sphere fits where it is above ``radius * (1 + TIE)``; with a largest radius, distances need
    be right only up to there. The mask must not touch the border of the array.
    """
    distance = np.zeros(mask.shape, dtype=np.float32)
    # the margin of the mask holds no distances, and one voxel of it is enough
    box = tuple(slice(b.start - 1, b.stop + 1) for b in bounding_box(mask))
    if np.isfinite(radius):
        distance[box] = limited_distance(~mask[box], unit, radius * (1.0 + 100 * TIE))
    else:
        distance[box] = ndi.distance_transform_edt(mask[box], sampling=unit)
    return distance


def widened(mask: Mask, radius: float, unit: Float64Array) -> Mask:
    """Return a mask with all voxels that spheres around its own reach, cut at the array.

    Spheres of this radius around the voxels of the mask then fit into it.

    Examples
    --------
    >>> mask = np.zeros((5, 5, 5), dtype=bool)
    >>> mask[2, 2, 2] = True
    >>> int(widened(mask, 1.0, np.ones(3)).sum())
    7
    """
    near = limited_distance(mask, unit, radius * (1.0 + 100 * TIE))
    return np.asarray(near <= radius * (1.0 + TIE))


def sphere_support(
    mask: Mask, voxel_size: npt.ArrayLike, radius: float
) -> tuple[Mask, Float32Array]:
    """Return where a sphere fits into a mask, and the transform of the sphere.

    Parameters
    ----------
    mask : (X, Y, Z) ndarray of bool
        Must not touch the border of the array.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    radius : float
        In voxels, or in mm for clearly anisotropic voxels (:func:`sphere_unit`).

    Returns
    -------
    support : (X, Y, Z) ndarray of bool
        Centres of the spheres inside the mask.
    kernel : ndarray of float32
        :func:`sphere_transform`.

    Raises
    ------
    EmptyMaskError
        The sphere fits nowhere.
    ValueError
        The voxel size is wrong, or the radius is less than a voxel.
    """
    unit = sphere_unit(voxel_size)
    if not unit.max() <= radius < np.inf:
        raise ValueError(f"the radius {radius} must be at least the longest side, {unit.max():g}")
    support = distance_to_border(mask, unit, radius) > radius * (1.0 + TIE)
    if not support.any():
        raise EmptyMaskError(f"the mask is too thin for a sphere of radius {radius:g}")
    return support, sphere_transform(mask.shape, radius, unit)


def sphere_transform(shape: tuple[int, ...], radius: float, unit: Float64Array) -> Float32Array:
    """Transform a digital sphere of unit sum, as a cosine sum over one octant.

    Only the non-negative frequencies are kept, the sphere being even along every axis.
    """
    reach = [int(radius / u * (1.0 + TIE)) for u in unit]
    axes = [np.arange(r + 1) * u for r, u in zip(reach, unit, strict=True)]
    gx, gy, gz = np.meshgrid(*axes, indexing="ij", sparse=True)
    ball = (gx**2 + gy**2 + gz**2 <= (radius * (1.0 + TIE)) ** 2).astype(np.float64)
    for axis, n in enumerate(shape):
        offset = np.arange(reach[axis] + 1)
        wave = np.cos(TWO_PI / n * np.outer(np.arange(n // 2 + 1), offset))
        wave[:, 1:] *= 2.0  # the mirrored half
        ball = np.moveaxis(np.tensordot(wave, ball, axes=(1, axis)), 0, axis)
    return (ball / ball[0, 0, 0]).astype(np.float32)


def multiply_even(
    spectrum: npt.NDArray[np.complexfloating],
    kernel: Float32Array,
    out: npt.NDArray[np.complexfloating] | None = None,
    n_threads: int = 1,
) -> npt.NDArray[np.complexfloating]:
    """Multiply a half spectrum by a kernel that is even and known at frequencies >= 0."""
    if out is None:
        out = np.empty_like(spectrum)
    halves = []
    for n in spectrum.shape[:2]:
        positive = (slice(0, n // 2 + 1), slice(0, n // 2 + 1))
        negative = (slice(n // 2 + 1, n), slice((n - 1) // 2, 0, -1))
        halves.append((positive, negative))

    def multiply(first: int, last: int) -> None:
        for x, kx in halves[0][first:last]:
            for y, ky in halves[1]:
                np.multiply(spectrum[x, y], kernel[kx, ky], out=out[x, y])

    with planes(2, min(n_threads, 2)) as run:
        run(multiply)
    return out


@dataclass(frozen=True)
class EvenFilter:
    """Convolution of volumes on a periodic grid with a kernel that is even along every axis.

    The spherical mean S, if ``kernel`` is :func:`sphere_transform`.
    """

    shape: tuple[int, int, int]
    kernel: Float32Array  # transform at frequencies >= 0
    n_threads: int

    def __call__(self, volume: Float32Array) -> Float32Array:
        """Return the filtered volume; two transforms."""
        spectrum = rfft(volume, self.n_threads)
        multiply_even(spectrum, self.kernel, spectrum, self.n_threads)
        return irfft(spectrum, self.shape, self.n_threads, overwrite=True)
