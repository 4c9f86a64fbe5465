"""Affine registration of the template to a run, by mutual information.

Nothing is assumed of the contrast. From some hundred starts the best are refined, first by
position, angle and size, then by all twelve parameters, from coarse to fine.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.sampling import trilinear
from qsmbids.core.maths.arrays import Float32Array, Float64Array, Mask
from qsmbids.core.maths.boxes import centroid
from qsmbids.core.maths.gaussian import gaussian
from qsmbids.core.maths.mutual_information import information_of_shares
from qsmbids.core.maths.parallel import planes

__all__ = ["AffineFit", "Pair", "fit_affine"]


BINS = 32
MARGIN = 8.0  # mm around the template's brain where images are compared
#: One step of each parameter: shift [mm], angle [rad], logarithm of the size, shear.
STEPS = np.array([8.0] * 3 + [0.12] * 3 + [0.06] * 3 + [0.03] * 3)
#: Spread of heads: what is further off must be worth it.
SPREAD = np.array([np.inf] * 3 + [0.35] * 3 + [0.10] * 3 + [0.05] * 3)
PRIOR = 0.002
#: The points are counted in so many parts, by any number of threads: the sums are the same.
_PARTS = 4
#: Points for which a second thread is not worth its start.
_FEW = 8_000


class Pair(NamedTuple):
    """The same channel of the run and of the template."""

    run: Float32Array
    template: Float32Array


class AffineFit(NamedTuple):
    """Where the template lies in the run."""

    matrix: Float64Array
    """(4, 4), from the template's space to that of the run [mm]."""
    cost: float
    """Negative: mutual information, with overlap and prior; comparable within one run."""


class _Level(NamedTuple):
    points: Float32Array
    binned: tuple[npt.NDArray[np.int16], ...]
    inside: Float32Array
    run: tuple[Float32Array, ...]
    mask: Float32Array
    mask_volume: float
    point_volume: float
    to_voxel: Float64Array
    overlap_weight: float
    partial: bool


def fit_affine(
    pairs: list[Pair],
    mask: Mask,
    run_affine: npt.ArrayLike,
    template_brain: Float32Array,
    template_grid: npt.ArrayLike,
    *,
    partial: bool = False,
) -> AffineFit:
    """Find the affine map from the template to the run.

    Parameters
    ----------
    pairs : list of Pair
        Channels to compare; magnitudes without their receive field.
    mask : (X, Y, Z) ndarray of bool
        A first brain mask of the run; it may run down the neck.
    run_affine : (4, 4) array_like
        Voxels of the run to its space [mm], right and front up.
    template_brain : ndarray
        Share of brain in the voxels of the template.
    template_grid : (4, 4) array_like
        Voxels of the template to its space [mm].
    partial : bool
        The run is known inside the mask alone, which may be a part of the brain.

    References
    ----------
    Studholme C, Hill DLG, Hawkes DJ. An overlap invariant entropy measure of 3D medical image
    alignment. Pattern Recognition 1999;32:71-86. doi:10.1016/S0031-3203(98)00091-0
    """
    run_affine = np.asarray(run_affine, dtype=np.float64)
    grid = np.asarray(template_grid, dtype=np.float64)
    if not mask.any():
        raise ValueError("the brain mask is empty")
    centre_run = run_affine[:3, :3] @ centroid(mask) + run_affine[:3, 3]
    inside = template_brain > 0.5
    centre = grid[:3, :3] @ centroid(inside) + grid[:3, 3]

    def level(spacing: float, weight: float) -> _Level:
        return _make_level(pairs, mask, run_affine, template_brain, grid, spacing, weight, partial)

    def refine(
        start: Float64Array, at: _Level, free: list[int], tol: float
    ) -> tuple[float, Float64Array]:
        return _powell(start, at, free, centre, centre_run, tol)

    coarse = level(8.0, 0.3)
    starts = _starts(partial)
    rigid = [0, 1, 2, 3, 4, 5, 6]
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        finer, finest = pool.submit(level, 6.0, 0.15), pool.submit(level, 5.0, 0.1)
        costs = list(pool.map(lambda p: _cost(p, coarse, centre, centre_run), starts))
        best_first = sorted(range(len(starts)), key=lambda n: (costs[n], n))
        found = list(pool.map(lambda n: refine(starts[n], coarse, rigid, 1e-3), best_first[:6]))
        best = min(found, key=lambda s: s[0])[1]
        cost, best = refine(best, finer.result(), [*range(9)], 1e-3)
        cost, best = refine(best, finest.result(), [*range(12)], 1e-3)
    return AffineFit(_matrix(best, centre, centre_run), cost)


def _starts(partial: bool) -> list[Float64Array]:
    """Return shifts along the body, nods and sizes to begin with; of a part also to the sides."""
    starts = []
    for z, y, nod, size, x in product(
        (-60, -45, -30, -15, 0, 15, 30, 45, 60),
        (-15, 0, 15),
        (-0.25, 0.0, 0.25),
        (-0.1, 0.05),
        (-35, -15, 0, 15, 35) if partial else (0,),
    ):
        p = np.zeros(12)
        p[0], p[1], p[2], p[3], p[6:9] = x, y, z, nod, size
        starts.append(p)
    return starts


def _powell(
    start: Float64Array,
    level: _Level,
    free: list[int],
    centre: Float64Array,
    centre_run: Float64Array,
    tol: float,
) -> tuple[float, Float64Array]:
    from scipy.optimize import minimize  # 0.1 s that a dry run need not wait for

    isotropic = len(free) == 7

    def full(q: Float64Array) -> Float64Array:
        p = start.copy()
        p[free] = start[free] + q * STEPS[free]
        if isotropic:
            p[7:9] = start[7:9] + q[6] * STEPS[6]
        return p

    result = minimize(
        lambda q: _cost(full(q), level, centre, centre_run),
        np.zeros(len(free)),
        method="Powell",
        options={"xtol": 0.1, "ftol": tol, "maxiter": 4},
    )
    return float(result.fun), full(np.atleast_1d(result.x))


def _matrix(p: Float64Array, centre: Float64Array, centre_run: Float64Array) -> Float64Array:
    """Return the map from the template to the run that the parameters stand for."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(p[3:6]), np.cos(p[3:6])
    turn = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
    shear = np.array([[1, p[9], p[10]], [0, 1, p[11]], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(np.exp(p[6:9])) @ shear
    matrix[:3, 3] = centre_run + p[:3] - matrix[:3, :3] @ centre
    return matrix


def _make_level(
    pairs: list[Pair],
    mask: Mask,
    run_affine: Float64Array,
    brain: Float32Array,
    grid: Float64Array,
    spacing: float,
    weight: float,
    partial: bool,
) -> _Level:
    voxel = np.linalg.norm(grid[:3, :3], axis=0)
    near = gaussian(brain, MARGIN / 1.5 / voxel) > 0.08
    step = np.maximum(np.rint(spacing / voxel), 1).astype(int)
    keep = np.zeros(brain.shape, dtype=bool)
    keep[:: step[0], :: step[1], :: step[2]] = True
    chosen = np.argwhere(near & keep)
    points = (chosen @ grid[:3, :3].T + grid[:3, 3]).astype(np.float32)
    at = tuple(chosen.T)
    run_voxel = np.linalg.norm(run_affine[:3, :3], axis=0)
    blur_run = np.maximum(0.5 * spacing / run_voxel - 0.3, 0)
    blur = np.maximum(0.5 * spacing / voxel - 0.3, 0)
    return _Level(
        points=points,
        binned=tuple(_binned(gaussian(p.template, blur)[at]) for p in pairs),
        inside=brain[at].astype(np.float32),
        run=tuple(_scaled(_blurred(p.run, blur_run, mask, partial), mask) for p in pairs),
        mask=mask.astype(np.float32),
        mask_volume=float(np.count_nonzero(mask) * run_voxel.prod()),
        point_volume=float((voxel * step).prod()),
        to_voxel=np.asarray(np.linalg.inv(run_affine), dtype=np.float64),
        overlap_weight=weight,
        partial=partial,
    )


def _blurred(run: Float32Array, sigma: Float64Array, mask: Mask, partial: bool) -> Float32Array:
    """Smooth a channel; of a part nothing comes from beyond the mask, where nothing is known."""
    if not partial:
        return gaussian(run, sigma)
    share = gaussian(mask, sigma)
    smooth = gaussian(run * mask, sigma) / np.maximum(share, 1e-3)
    return np.where(mask, smooth, np.nan).astype(np.float32)


def _binned(values: Float32Array) -> npt.NDArray[np.int16]:
    low, high = np.percentile(values, (1, 99))
    scaled = (values - low) / max(float(high - low), 1e-12) * (BINS - 1)
    return np.clip(np.rint(scaled), 0, BINS - 1).astype(np.int16)


def _scaled(values: Float32Array, mask: Mask) -> Float32Array:
    """Scale a channel of the run to bins, by its values in the brain."""
    low, high = np.percentile(values[mask], (1, 99))
    low = min(float(low), float(np.nanpercentile(values, 5)))
    scaled = (values - low) / max(float(high) - low, 1e-12) * (BINS - 1)
    return np.clip(scaled, 0, BINS - 1).astype(np.float32)


def _cost(p: Float64Array, level: _Level, centre: Float64Array, centre_run: Float64Array) -> float:
    matrix = _matrix(p, centre, centre_run)
    to_voxel = level.to_voxel @ matrix
    information = 0.0
    both = total = 0.0
    for run, binned in zip(level.run, level.binned, strict=True):
        value, share, both, total = _compare(run, binned, level, to_voxel)
        if share < 0.15:
            return 1.0
        information += value - 1.0
    volume = level.point_volume * abs(float(np.linalg.det(matrix[:3, :3])))
    both, total = both * volume, total * volume
    # a part need not fill the brain, but must lie in it
    overlap = both / level.mask_volume if level.partial else 2 * both / (level.mask_volume + total)
    prior = float(((p / SPREAD) ** 2).sum())
    return -information / len(level.run) - level.overlap_weight * overlap + PRIOR * prior


def _compare(
    run: Float32Array, binned: npt.NDArray[np.int16], level: _Level, matrix: Float64Array
) -> tuple[float, float, float, float]:
    """Return the normalised mutual information, and the share of points within the run.

    And the sums over them of the template's brain, inside the mask and in all.
    """
    points = level.points
    joint = np.zeros((_PARTS, BINS, BINS))
    sums = np.zeros((_PARTS, 3))
    n_threads = numba.get_num_threads() if len(points) > _FEW else 1
    with planes(_PARTS, n_threads) as over_parts:
        over_parts(_count, run, level.mask, points, binned, level.inside, matrix, joint, sums)
    inside, both, total = sums.sum(axis=0)
    if inside < 100:
        return 1.0, 0.0, both, total
    shares = joint.sum(axis=0) / inside
    return information_of_shares(shares), inside / len(points), both, total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _count(
    start: int,
    stop: int,
    run: Float32Array,
    mask: Float32Array,
    points: Float32Array,
    binned: npt.NDArray[np.int16],
    brain: Float32Array,
    matrix: Float64Array,
    joint: Float64Array,
    sums: Float64Array,
) -> None:
    """Fill the joint histogram of parts of the points; and count them, and the brain in them."""
    nx, ny, nz = run.shape
    n_points, n_parts = points.shape[0], joint.shape[0]
    for part in range(start, stop):
        inside = both = total = 0.0
        for n in range(part * n_points // n_parts, (part + 1) * n_points // n_parts):
            p, q, r = points[n, 0], points[n, 1], points[n, 2]
            x = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
            y = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
            z = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
            if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5 and -0.5 <= z <= nz - 0.5):
                continue
            if brain[n] > 0:
                both += brain[n] * trilinear(mask, x, y, z)
                total += brain[n]
            value = trilinear(run, x, y, z)
            if np.isnan(value):
                continue
            low = min(int(value), BINS - 2)
            above = value - low
            joint[part, binned[n], low] += 1 - above
            joint[part, binned[n], low + 1] += above
            inside += 1
        sums[part, 0], sums[part, 1], sums[part, 2] = inside, both, total
