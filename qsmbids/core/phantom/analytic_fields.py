"""Fields that are known in closed form, to test the rest against."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, Vector

__all__ = ["checked_vector", "cylinder_field", "grid", "sphere_field", "unit_vector"]


def sphere_field(
    shape: tuple[int, int, int],
    voxel_size: npt.ArrayLike,
    *,
    radius_mm: float,
    chi: float = 1.0,
    b0_direction: npt.ArrayLike = (0.0, 0.0, 1.0),
    centre_mm: Vector = (0.0, 0.0, 0.0),
) -> Float32Array:
    """Return the relative field [ppm] of a sphere of ``chi`` [ppm] in closed form.

    Zero inside (Lorentz corrected), ``chi/3 (a/r)^3 (3 cos^2 - 1)`` outside. ``centre_mm`` is from
    the middle of the array.
    """
    b = unit_vector(b0_direction)
    p = [a - c for a, c in zip(grid(shape, voxel_size), centre_mm, strict=True)]
    r2 = np.maximum(sum(a**2 for a in p), 1e-12)
    along = sum(a * c for a, c in zip(p, b, strict=True))
    outside = chi / 3.0 * (radius_mm**2 / r2) ** 1.5 * (3.0 * along**2 / r2 - 1.0)
    return np.where(r2 < radius_mm**2, 0.0, outside).astype(np.float32)


def cylinder_field(
    shape: tuple[int, int, int],
    voxel_size: npt.ArrayLike,
    *,
    radius_mm: float,
    axis: npt.ArrayLike,
    chi: float = 1.0,
    b0_direction: npt.ArrayLike = (0.0, 0.0, 1.0),
    centre_mm: Vector = (0.0, 0.0, 0.0),
) -> Float32Array:
    """Return the relative field [ppm] of an infinite cylinder of ``chi`` [ppm] in closed form.

    With theta between ``axis`` and B0: ``chi/2 (cos^2 theta - 1/3)`` inside (Lorentz corrected),
    ``chi/2 sin^2 theta (a/r)^2 cos 2 phi`` outside, phi from the projection of B0.
    """
    b, t = unit_vector(b0_direction), unit_vector(axis)
    cosine = float(b @ t)
    across = b - cosine * t  # its length is sin(theta)
    p = [a - c for a, c in zip(grid(shape, voxel_size), centre_mm, strict=True)]
    on_axis = sum(a * c for a, c in zip(p, t, strict=True))
    r2 = np.maximum(sum(a**2 for a in p) - on_axis**2, 1e-12)
    along = sum(a * c for a, c in zip(p, across, strict=True))  # r sin(theta) cos(phi)
    outside = chi / 2.0 * radius_mm**2 / r2 * (2.0 * along**2 / r2 - across @ across)
    inside = chi / 2.0 * (cosine**2 - 1.0 / 3.0)
    return np.where(r2 < radius_mm**2, inside, outside).astype(np.float32)


def grid(shape: tuple[int, ...], voxel_size: npt.ArrayLike) -> list[Float32Array]:
    """Coordinates from the middle of the array, one broadcastable axis each."""
    voxel = checked_vector(voxel_size, "voxel size")
    axes = [
        ((np.arange(n) - (n - 1) / 2.0) * v).astype(np.float32)
        for n, v in zip(shape, voxel, strict=True)
    ]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def checked_vector(value: npt.ArrayLike, name: str, *, positive: bool = True) -> Vector:
    """Return three finite numbers, not all zero, as floats; ``name`` is for the error."""
    array = np.asarray(value, dtype=float)
    good = array.shape == (3,) and bool(np.all(np.isfinite(array)))
    if not good or (positive and array.min() <= 0) or not np.any(array):
        raise ValueError(f"the {name} {value!r} is not a valid vector of three numbers")
    return float(array[0]), float(array[1]), float(array[2])


def unit_vector(direction: npt.ArrayLike) -> Float64Array:
    """Return a direction with length 1."""
    b = np.asarray(checked_vector(direction, "direction", positive=False))
    return b / np.linalg.norm(b)
