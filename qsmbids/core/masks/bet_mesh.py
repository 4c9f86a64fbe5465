"""Closed surface of the brain extraction: icosphere, self-intersection, filling."""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from scipy.ndimage import label
from scipy.spatial import cKDTree

from qsmbids.core.maths.arrays import Float64Array, Mask

__all__ = ["Mesh", "fill_mesh", "icosphere", "mean_edge", "self_intersection"]


class Mesh(NamedTuple):
    """Closed triangle mesh on the sphere; the topology stays when the vertices move.

    Attributes
    ----------
    vertices : (V, 3) ndarray of float64
    faces : (F, 3) ndarray of int32
        Vertices of each triangle, counter-clockwise seen from outside.
    neighbours : (V, 6) ndarray of int32
        Vertices one edge away; -1 fills the last place of the 12 that have five.
    around : (V, 6) ndarray of int32
        Faces that meet in the vertex; -1 as above.
    """

    vertices: Float64Array
    faces: npt.NDArray[np.int32]
    neighbours: npt.NDArray[np.int32]
    around: npt.NDArray[np.int32]


def icosphere(subdivisions: int = 4) -> Mesh:
    """Return a unit icosahedron with every triangle split in four ``subdivisions`` times.

    The corners are (0, 1, golden ratio) with all signs and cyclic permutations, so the mesh maps
    to itself when an axis is mirrored: a mirrored head then gives the mirrored surface.

    Parameters
    ----------
    subdivisions : int
        4 gives 2562 vertices and 5120 faces.
    """
    golden = (1 + 5**0.5) / 2
    corners = [(0.0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    vertices = np.array([np.roll(c, shift) for shift in range(3) for c in corners])
    vertices /= np.linalg.norm(vertices[0])
    # the 20 faces are the triples of corners at the smallest distance from one another
    near = np.linalg.norm(vertices[:, None] - vertices, axis=2) < 1.1
    faces = np.array(
        [
            (i, j, k)
            for i in range(12)
            for j in range(i + 1, 12)
            for k in range(j + 1, 12)
            if near[i, j] and near[j, k] and near[i, k]
        ]
    )
    for _ in range(subdivisions):
        vertices, faces = _subdivide(vertices, faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward][:, ::-1]
    return Mesh(vertices, faces.astype(np.int32), *_adjacency(len(vertices), faces))


def _subdivide(
    vertices: Float64Array, faces: npt.NDArray[np.int64]
) -> tuple[Float64Array, npt.NDArray[np.int64]]:
    """Split each triangle in four and put the new vertices on the unit sphere."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, index = np.unique(edges, axis=0, return_inverse=True)
    middle = vertices[unique].sum(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    ab, bc, ca = len(vertices) + index.reshape(3, -1)
    a, b, c = faces.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([vertices, middle]), np.concatenate([np.stack(p, 1) for p in parts])


def _adjacency(
    n_vertices: int, faces: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the neighbour vertices and the faces of every vertex."""
    neighbours = np.full((n_vertices, 6), -1, dtype=np.int32)
    around = np.full((n_vertices, 6), -1, dtype=np.int32)
    filled = np.zeros(n_vertices, dtype=int)
    for f, corners in enumerate(faces):
        for i in range(3):
            v = corners[i]
            # on a closed, consistently oriented mesh each edge leaves its vertex in one face
            neighbours[v, filled[v]] = corners[(i + 1) % 3]
            around[v, filled[v]] = f
            filled[v] += 1
    return neighbours, around


@numba.njit(cache=True, nogil=True)
def mean_edge(vertices: Float64Array, neighbours: npt.NDArray[np.int32]) -> float:
    """Return the mean edge length."""
    total, count = 0.0, 0
    for v in range(vertices.shape[0]):
        for w in neighbours[v]:
            if w >= 0:
                d2 = 0.0
                for k in range(3):
                    d2 += (vertices[v, k] - vertices[w, k]) ** 2
                total += np.sqrt(d2)
                count += 1
    return total / count


def self_intersection(mesh: Mesh, moved: Float64Array, edge: float, edge_before: float) -> float:
    """Return how far vertices came closer than an edge length, against the undeformed mesh.

    Parameters
    ----------
    mesh : Mesh
        Before the deformation.
    moved : (V, 3) ndarray
        Its vertices after the deformation.
    edge, edge_before : float
        Mean edge length after and before.

    Returns
    -------
    float
        Sum over vertex pairs closer than ``edge`` of ``(d / edge - d0 / edge_before)^2``; a few
        hundred for a smooth brain, thousands when the surface has folded over itself.
    """
    pairs = cKDTree(moved).query_pairs(edge, output_type="ndarray")
    i, j = pairs.T
    now = np.linalg.norm(moved[i] - moved[j], axis=1) / edge
    before = np.linalg.norm(mesh.vertices[i] - mesh.vertices[j], axis=1) / edge_before
    return float(((now - before) ** 2).sum())


def fill_mesh(
    vertices: Float64Array, faces: npt.NDArray[np.int32], shape: tuple[int, int, int]
) -> Mask:
    """Return the voxels on or inside a closed surface.

    The surface is drawn as a wall of voxels; all that cannot be reached from outside is inside.
    The flood starts outside since the centre of a dented surface may lie in the wall.

    Parameters
    ----------
    vertices : (V, 3) ndarray
        In voxel indices; may lie outside the volume.
    faces : (F, 3) ndarray of int32
    shape : (3,) tuple of int
        Shape of the volume.

    Returns
    -------
    (X, Y, Z) ndarray of bool
        Largest connected component, without holes.
    """
    low = np.floor(vertices.min(axis=0)).astype(int) - 1
    high = np.ceil(vertices.max(axis=0)).astype(int) + 2
    wall = np.zeros(high - low, dtype=np.bool_)
    _draw_triangles(vertices - low, faces, wall)
    regions, _ = label(~wall)
    inside = regions != regions[0, 0, 0]

    filled = np.zeros(shape, dtype=bool)
    start, stop = np.maximum(low, 0), np.minimum(high, shape)
    if np.all(start < stop):
        volume_box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        mesh_box = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))
        parts, n_parts = label(inside[mesh_box])
        if n_parts:
            largest = 1 + np.argmax(np.bincount(parts.ravel())[1:])
            filled[volume_box] = parts == largest
    return filled


@numba.njit(cache=True, nogil=True)
def _draw_triangles(vertices: Float64Array, faces: npt.NDArray[np.int32], wall: Mask) -> None:
    """Mark the voxels that the triangles pass, sampled at most 0.4 voxels apart."""
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        longest = 0.0
        for k in range(3):
            longest = max(longest, abs(b[k] - a[k]), abs(c[k] - a[k]), abs(c[k] - b[k]))
        n = int(longest / 0.4) + 1
        for i in range(n + 1):
            for j in range(n + 1 - i):
                u, w = i / n, j / n
                x = a[0] + u * (b[0] - a[0]) + w * (c[0] - a[0])
                y = a[1] + u * (b[1] - a[1]) + w * (c[1] - a[1])
                z = a[2] + u * (b[2] - a[2]) + w * (c[2] - a[2])
                wall[int(x + 0.5), int(y + 0.5), int(z + 0.5)] = True
