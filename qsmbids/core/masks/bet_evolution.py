r"""Motion of the surface of the brain extraction (Smith 2002, Eqs. 3 to 13).

Each iteration moves a vertex x with the outward normal n and the way d to the mean of its
neighbours by

.. math:: u = 0.5\, d_t + f_2\, d_n + 0.05\, l\, f_3\, n,

where d_t and d_n are the parts of d along and across the surface: the first spaces the vertices
evenly, f_2 flattens what is bent more than a brain, and f_3 seeks the edge of the brain.
"""

from typing import NamedTuple

import numba
import numpy as np

from qsmbids.core.masks.bet_mesh import Mesh, mean_edge
from qsmbids.core.maths.arrays import Float32Array, Float64Array, IndexArray, Vector

__all__ = ["N_ITER", "Levels", "evolve", "sample"]


N_ITER = 1000
R_MIN, R_MAX = 3.33, 10.0  # mm, radii of curvature between which the surface may bend (Smith 2002)
DEPTH_MIN, DEPTH_MAX = 7, 3  # mm inwards to look for the darkest and the brightest (bet2)
BEYOND = 20.0  # mm that the volume is continued outside its border


class Levels(NamedTuple):
    """Intensity landmarks and first guess of the head (Smith 2002, section 2.1).

    Attributes
    ----------
    t2 : float
        2nd percentile: what counts as black.
    t : float
        A tenth of the way from the 2nd to the 98th percentile: head against air.
    tm : float
        Median within the first guess.
    centre : (3,) ndarray
        Centre of gravity [mm].
    radius : float
        Of a sphere of the head's volume [mm].
    """

    t2: float
    t: float
    tm: float
    centre: Float64Array
    radius: float


def evolve(
    volume: Float32Array,
    voxel: Float64Array,
    mesh: Mesh,
    start: Float64Array,
    levels: Levels,
    threshold: float,
    slope: Float64Array,
    stiffness: float,
    iterations: int = N_ITER,
) -> Float64Array:
    """Move the vertices outwards until they meet the dark ring around the brain.

    Parameters
    ----------
    volume : (X, Y, Z) ndarray of float32
    voxel : (3,) ndarray
        [mm].
    mesh : Mesh
        For its topology.
    start : (V, 3) ndarray
        Vertices [mm] at the start; voxel index times voxel size.
    levels : Levels
    threshold : float
        Part of the local brightest intensity at which brain ends.
    slope : (3,) ndarray
        Change of ``threshold`` per radius from the centre, along each axis.
    stiffness : float
        1 at the first pass, more to keep a surface from folding inwards.
    iterations : int
        Of the surface.

    Returns
    -------
    (V, 3) ndarray of float64
        Vertices [mm] after the last iteration.
    """
    # also with larger voxels every millimetre counts: bet2 interpolates
    step = min(1.0, float(voxel.min()))
    depths = np.arange(1.0, DEPTH_MIN + 0.5 * step, step)
    n_bright = int(np.count_nonzero(depths < DEPTH_MAX + 0.5 * step))
    gradient = slope / levels.radius
    offset = threshold - float(gradient @ levels.centre)
    return _iterate(
        *(volume, voxel, start, mesh.faces, mesh.neighbours, mesh.around, depths, n_bright),
        *(levels.t2, levels.t, levels.tm, offset, gradient, float(stiffness), int(iterations)),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _iterate(
    volume: Float32Array,
    voxel: Float64Array,
    start: Float64Array,
    faces: IndexArray,
    neighbours: IndexArray,
    around: IndexArray,
    depths: Float64Array,
    n_bright: int,
    t2: float,
    t: float,
    tm: float,
    offset: float,
    gradient: Float64Array,
    stiffness: float,
    iterations: int,
) -> Float64Array:
    """Run all iterations; ``offset + gradient . x`` is the threshold at x."""
    old, new = start.copy(), start.copy()
    normals = np.empty((faces.shape[0], 3))
    n, d = np.empty(3), np.empty(3)
    middle = (1 / R_MIN + 1 / R_MAX) / 2
    sharpness = 6 / (1 / R_MIN - 1 / R_MAX)
    beyond = (BEYOND / voxel[0], BEYOND / voxel[1], BEYOND / voxel[2])
    edge = 0.0
    for iteration in range(iterations):
        if iteration % 100 == 0:
            edge = mean_edge(old, neighbours)
        boost = stiffness
        if stiffness > 1 and iteration > 0.75 * iterations:
            boost = 4 * (1 - iteration / iterations) * (stiffness - 1) + 1
        _face_normals(old, faces, normals)
        for v in range(old.shape[0]):
            _normal_and_pull(old, v, neighbours, around, normals, n, d)
            along = d[0] * n[0] + d[1] * n[1] + d[2] * n[2]
            curvature = 2 * abs(along) / edge**2
            smooth = 0.5 * (1 + np.tanh(sharpness * (curvature - middle)))
            if along > 0:
                smooth = min(1.0, smooth * boost)
            x, y, z = old[v, 0], old[v, 1], old[v, 2]
            part = offset + gradient[0] * x + gradient[1] * y + gradient[2] * z
            part = min(1.0, max(0.0, part))
            at = (x / voxel[0], y / voxel[1], z / voxel[2])
            per_mm = (n[0] / voxel[0], n[1] / voxel[1], n[2] / voxel[2])
            push = _push(volume, at, per_mm, beyond, depths, n_bright, t2, t, tm, part)
            out = smooth * along + 0.05 * edge * push
            for k in range(3):
                new[v, k] = old[v, k] + 0.5 * (d[k] - along * n[k]) + out * n[k]
        old, new = new, old
    return old


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _face_normals(vertices: Float64Array, faces: IndexArray, normals: Float64Array) -> None:
    for f in range(faces.shape[0]):
        a, b, c = faces[f]
        a0, a1, a2 = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - a0, vertices[b, 1] - a1, vertices[b, 2] - a2
        wx, wy, wz = vertices[c, 0] - a0, vertices[c, 1] - a1, vertices[c, 2] - a2
        x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        length = max(np.sqrt(x * x + y * y + z * z), 1e-12)
        normals[f, 0], normals[f, 1], normals[f, 2] = x / length, y / length, z / length


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _normal_and_pull(
    vertices: Float64Array,
    v: int,
    neighbours: IndexArray,
    around: IndexArray,
    normals: Float64Array,
    n: Float64Array,
    d: Float64Array,
) -> None:
    """Write the unit normal and the way to the mean of the neighbours into ``n`` and ``d``."""
    count = 0
    n[:] = 0.0
    d[:] = 0.0
    for q in range(6):
        w, f = neighbours[v, q], around[v, q]
        if w >= 0:
            count += 1
            for k in range(3):
                n[k] += normals[f, k]
                d[k] += vertices[w, k]
    length = max(np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2), 1e-12)
    for k in range(3):
        n[k] /= length
        d[k] = d[k] / count - vertices[v, k]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _push(
    volume: Float32Array,
    at: Vector,
    per_mm: Vector,
    beyond: Vector,
    depths: Float64Array,
    n_bright: int,
    t2: float,
    t: float,
    tm: float,
    threshold: float,
) -> float:
    """Return the outward drive f3: positive while the darkest sample is above the threshold.

    ``at`` is the vertex, ``per_mm`` the normal, both in voxels.
    """
    (x, y, z), (dx, dy, dz) = at, per_mm
    deep = DEPTH_MIN - 1.0
    if not (
        _within(volume, x - dx, y - dy, z - dz, beyond)
        and _within(volume, x - deep * dx, y - deep * dy, z - deep * dz, beyond)
    ):
        return 0.0
    darkest, brightest = tm, t
    for i in range(depths.size):
        depth = depths[i]
        value = sample(volume, x - depth * dx, y - depth * dy, z - depth * dz)
        darkest = min(darkest, value)
        if i < n_bright:
            brightest = max(brightest, value)
    darkest, brightest = max(t2, darkest), min(tm, brightest)
    if brightest <= t2:
        return 0.0
    return 2 * (darkest - t2 - (brightest - t2) * threshold) / (brightest - t2)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _within(volume: Float32Array, x: float, y: float, z: float, beyond: Vector) -> bool:
    nx, ny, nz = volume.shape
    return (
        -beyond[0] <= x <= nx - 1 + beyond[0]
        and -beyond[1] <= y <= ny - 1 + beyond[1]
        and -beyond[2] <= z <= nz - 1 + beyond[2]
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sample(volume: Float32Array, x: float, y: float, z: float) -> float:
    """Interpolate linearly at a voxel index; outside, the last voxels continue."""
    nx, ny, nz = volume.shape
    x, y, z = min(max(x, 0.0), nx - 1.0), min(max(y, 0.0), ny - 1.0), min(max(z, 0.0), nz - 1.0)
    i, j, k = min(int(x), nx - 2), min(int(y), ny - 2), min(int(z), nz - 2)
    a, b, c = x - i, y - j, z - k
    c00 = volume[i, j, k] * (1 - c) + volume[i, j, k + 1] * c
    c01 = volume[i, j + 1, k] * (1 - c) + volume[i, j + 1, k + 1] * c
    c10 = volume[i + 1, j, k] * (1 - c) + volume[i + 1, j, k + 1] * c
    c11 = volume[i + 1, j + 1, k] * (1 - c) + volume[i + 1, j + 1, k + 1] * c
    return (c00 * (1 - b) + c01 * b) * (1 - a) + (c10 * (1 - b) + c11 * b) * a
