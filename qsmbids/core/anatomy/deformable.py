"""Deformable registration of the template to the channels of a run.

What each class of tissue looks like in each channel is fitted to the run, so that no contrast is
assumed: a picture of the template with the contrasts of this run is made and moved until it fits.
The forces of all channels add up, weighted by how well each fits (Gauss-Newton); the steps are
smoothed and composed, so that nothing folds (Vercauteren 2009).
"""

from itertools import zip_longest
from typing import NamedTuple

import numba
import numpy as np

from qsmbids.core.anatomy.sampling import compose, enlarge, in_planes, pull
from qsmbids.core.anatomy.template import CLASSES, NUCLEI
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.gaussian import gaussian
from qsmbids.core.maths.robust import robust_std

__all__ = ["STAGES", "Channel", "Deformation", "Stage", "deform"]


N_LARGE = len(CLASSES) - len(NUCLEI)
SAMPLE = 6_000
TISSUE = 0.6  # share of the brain's magnitude from which its surroundings are no bone
FAITH = 20.0  # voxels: what the expectation of a class counts


class Channel(NamedTuple):
    """One image of the run on the grid of the template."""

    image: Float32Array
    weight: Float32Array
    """0 where the run has no data, 1 where it counts."""
    expected: Float64Array | None = None
    """What each class has by the literature; a magnitude has nothing of the kind."""
    shaded: bool = False
    """A magnitude: a smooth receive field is divided out."""
    gain: float = 1.0
    """How much more than by its fit the channel counts."""


class Stage(NamedTuple):
    """One resolution."""

    shrink: int
    """How many voxels of the grid are averaged along each axis."""
    n_iter: int
    fluid: float
    """Gaussian over each step [voxels of this stage]."""
    diffusion: float
    """Gaussian over the whole displacement [voxels of this stage]."""


#: From the size and place of lobes to the borders of nuclei, for voxels of 2 mm.
STAGES = (Stage(4, 50, 2.0, 1.0), Stage(2, 60, 3.0, 1.0), Stage(1, 8, 4.0, 1.0))


class Deformation(NamedTuple):
    """How the template is moved to fit the run."""

    shift: Float32Array
    """(3, X, Y, Z) [voxels]: the place ``x`` of the grid shows the template's ``x + shift(x)``."""
    values: tuple[Float64Array, ...]
    """Of each channel: fitted value of every class."""
    residual: tuple[float, ...]
    """Of each channel: robust spread of image less template."""
    images: tuple[Float32Array, ...]
    """Of each channel: the image of the run without its receive field."""


def deform(
    channels: list[Channel],
    maps: Float32Array,
    *,
    start: Float32Array | None = None,
    stages: tuple[Stage, ...] = STAGES,
) -> Deformation:
    """Move the class maps of the template onto the channels of a run.

    Parameters
    ----------
    channels : list of Channel
        Of the run, on the grid of the maps.
    maps : (C, X, Y, Z) ndarray
        Share of every class; the first is what lies outside the brain.
    start : (3, X, Y, Z) ndarray, optional
        Shift to begin with [voxels].
    stages : tuple of Stage
        From coarse to fine.

    References
    ----------
    Vercauteren T, Pennec X, Perchant A, Ayache N. Diffeomorphic demons: efficient non-parametric
    image registration. NeuroImage 2009;45:S61-S72. doi:10.1016/j.neuroimage.2008.10.040
    """
    shape = maps.shape[1:]
    shift = np.zeros((3, *shape), dtype=np.float32) if start is None else start.astype(np.float32)
    if not channels or not stages:
        raise ValueError("a channel and a stage are needed")
    for stage in stages:
        shift = _run_stage(channels, maps, shift, stage)
    moved = np.stack([pull(m, shift) for m in maps])
    pictures = [_fit_picture(c, moved, maps, 2.0) for c in channels]
    return Deformation(
        shift,
        tuple(p.values for p in pictures),
        tuple(p.sigma for p in pictures),
        tuple(p.run for p in pictures),
    )


def _run_stage(
    channels: list[Channel], maps: Float32Array, shift: Float32Array, stage: Stage
) -> Float32Array:
    """Move the template at one resolution."""
    n = stage.shrink
    small_maps = np.stack([_shrink(m, n) for m in maps])
    small = [
        c._replace(image=_shrink(c.image * c.weight, n), weight=_shrink(c.weight, n))
        for c in channels
    ]
    small = [
        c._replace(
            image=(c.image / np.maximum(c.weight, 1e-3)).astype(np.float32),
            weight=(c.weight > 0.6).astype(np.float32) * c.weight,
        )
        for c in small
    ]
    coarse = np.stack([_shrink(c / n, n) for c in shift])
    pictures: list[_Picture] = []
    for iteration in range(stage.n_iter):
        if iteration % 10 == 0:
            moved = np.stack([pull(m, coarse) for m in small_maps])
            pictures = [
                _fit_picture(c, moved, small_maps, 2.0 * n, before)
                for c, before in zip_longest(small, pictures)
            ]
        force = _step(pictures, coarse)
        coarse = compose(coarse, _smooth(force, stage.fluid))
        if iteration % 2:
            coarse = _smooth(coarse, stage.diffusion * 2**0.5)
    return np.stack([_grow(c * n, n, shift.shape[1:]) for c in coarse])


class _Picture(NamedTuple):
    run: Float32Array
    weight: Float32Array
    template: Float32Array
    values: Float64Array
    sigma: float
    gain: float


def _fit_picture(
    channel: Channel,
    moved: Float32Array,
    maps: Float32Array,
    spacing: float,
    before: _Picture | None = None,
) -> _Picture:
    """Give the classes the values that they have in this channel of the run."""
    image = channel.image if before is None else before.run
    outside = moved[0]
    # some millimetres of skull belong to the picture, the scalp does not
    near = (channel.weight > 0.6) & (_blur(moved[0], 6.0 / spacing) < 0.85)
    values = _class_values(image, moved, near, channel.expected)
    if channel.shaded:
        for _ in range(3 if before is None else 1):
            seen = np.tensordot(values.astype(np.float32), moved, axes=1)
            image = _unshade(channel.image, seen, near, outside, spacing)
            values = _class_values(image, moved, near, None)
    picture = np.tensordot(values.astype(np.float32), maps, axes=1)
    counted = near * channel.weight
    if channel.shaded:
        counted = counted * ~_beside_tissue(image, outside, values, spacing)
    brain = near & (outside < 0.5)
    rest = (image - np.tensordot(values.astype(np.float32), moved, axes=1))[brain]
    sigma = robust_std(rest) if rest.size else 1.0
    sigma = max(sigma, 1e-6)
    return _Picture(
        np.ascontiguousarray(image, dtype=np.float32),
        np.ascontiguousarray(counted, dtype=np.float32),
        np.ascontiguousarray(picture, dtype=np.float32),
        values,
        sigma,
        channel.gain,
    )


def _beside_tissue(
    image: Float32Array, outside: Float32Array, values: Float64Array, spacing: float
) -> Mask:
    """Return where muscle, and no bone, lies beside the brain: its edge cannot be seen there.

    The template has one value for all that is outside, and would be drawn into the muscle.
    """
    ring = (outside > 0.9).astype(np.float32)
    bright = np.clip(image, 0, 1.2 * float(values[CLASSES.index("grey")])) * ring
    sigma = 6.0 / spacing
    level = _blur(bright, sigma) / np.maximum(_blur(ring, sigma), 1e-2)
    return np.asarray((outside > 0.3) & (level > TISSUE * values[CLASSES.index("grey")]))


def _class_values(
    image: Float32Array, moved: Float32Array, near: Mask, expected: Float64Array | None
) -> Float64Array:
    """Regress the image on the class maps, twice, the second time without outliers.

    A class that is not seen keeps its expectation, or the value of grey matter.
    """
    # nuclei are small and count whole; of the rest a sample tells as much
    nuclei = moved[N_LARGE:].sum(axis=0) > 0.1
    step = max(1, np.count_nonzero(near) // SAMPLE)
    some = np.zeros(near.size, dtype=bool)
    some[::step] = True
    chosen = near & (nuclei | some.reshape(near.shape))
    design = moved[:, chosen].astype(np.float64)
    target = image[chosen].astype(np.float64)
    weight = np.ones(target.size)
    grey = CLASSES.index("grey")
    ridge = np.full(len(moved), FAITH)
    centre = np.full(len(moved), float(np.median(target))) if expected is None else expected.copy()
    values = centre
    for _ in range(4):
        weighted = design * weight
        values = np.linalg.solve(
            weighted @ design.T + np.diag(ridge), weighted @ target + ridge * centre
        )
        if expected is None:
            centre = np.full(len(moved), float(values[grey]))
        rest = target - values @ design
        # fluid is rare and unlike the rest, and still no outlier
        weight = 1.0 / (1.0 + (rest / max(3 * float(rest.std()), 1e-9)) ** 2)
    return values


def _unshade(
    image: Float32Array, picture: Float32Array, near: Mask, outside: Float32Array, spacing: float
) -> Float32Array:
    """Divide by the smooth field between image and picture, seen in the brain."""
    ratio = np.where(picture > 0, image / np.maximum(picture, 1e-6), 1.0)
    weight = near * (1 - outside) * ((ratio > 0.2) & (ratio < 4)) * picture**2
    field = _polynomial_field(ratio, weight)
    # what is left is small, so that a one-sided mean at the border does little harm
    left = np.where(weight > 0, ratio / field, 1.0)
    sigma = 20.0 / spacing
    scale = float(weight.mean()) * 0.1
    top = _blur((weight * left).astype(np.float32), sigma)
    bottom = _blur(weight.astype(np.float32), sigma)
    field = field * (top + scale) / (bottom + scale)
    return (image / np.maximum(field, 0.1)).astype(np.float32)


def _polynomial_field(ratio: Float32Array, weight: Float32Array) -> Float32Array:
    """Fit exp(polynomial of third order), without outliers; beyond the brain it stays in range."""
    axes = [np.linspace(-1, 1, n) for n in ratio.shape]
    powers = [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j)]
    step = max(1, round((np.count_nonzero(weight) / 6000) ** (1 / 3)))
    chosen = tuple(step * at for at in np.nonzero(weight[::step, ::step, ::step] > 0))
    raised = [np.stack([axis**n for n in range(4)]) for axis in axes]
    x, y, z = (r[:, at] for r, at in zip(raised, chosen, strict=True))
    design = np.stack([x[i] * y[j] * z[k] for i, j, k in powers])
    target, trust = np.log(ratio[chosen]), weight[chosen].astype(np.float64)
    coefficients: FloatArray = np.zeros(len(powers))
    for _ in range(4):
        scaled = design * trust
        ridge = 1e-4 * float(trust.sum()) * np.eye(len(powers))
        coefficients = np.linalg.solve(scaled @ design.T + ridge, scaled @ target)
        rest = target - coefficients @ design
        spread = max(robust_std(rest), 0.02)
        trust = weight[chosen] / (1 + (rest / (2 * spread)) ** 2) ** 2
    low, high = np.percentile(coefficients @ design, (0.5, 99.5))
    cube = np.zeros((4, 4, 4))
    for c, (i, j, k) in zip(coefficients, powers, strict=True):
        cube[i, j, k] = c
    few = [r[:, ::4] for r in raised]
    field = np.einsum("ijk,ix,jy,kz->xyz", cube, *few, optimize=True)
    field = np.exp(np.clip(field, low - 0.2, high + 0.2)).astype(np.float32)
    return _grow(field, 4, ratio.shape)


def _step(pictures: list[_Picture], shift: Float32Array) -> Float32Array:
    shape = shift.shape[1:]
    normal = np.zeros((6, *shape), dtype=np.float32)
    right = np.zeros((3, *shape), dtype=np.float32)
    energy = np.zeros(shape, dtype=np.float32)
    out = np.zeros_like(right)
    with in_planes(energy) as run:
        for p in pictures:
            moved = pull(p.template, shift)
            run(_add_forces, p.run, moved, p.weight, p.sigma, p.gain, normal, right, energy)
        run(_solve, normal, right, energy, out)
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_forces(
    start: int,
    stop: int,
    run: Float32Array,
    moved: Float32Array,
    weight: Float32Array,
    sigma: float,
    gain: float,
    normal: Float32Array,
    right: Float32Array,
    energy: Float32Array,
) -> None:
    """Add one channel; differences far beyond sigma are of something the template has not."""
    nx, ny, nz = run.shape
    for i in range(max(start, 1), min(stop, nx - 1)):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if weight[i, j, k] == 0:
                    continue
                rest = (run[i, j, k] - moved[i, j, k]) / sigma
                robust = gain * weight[i, j, k] / (1 + (rest / 4) ** 2)
                # both images tell where the border is; what the run lacks gives no direction
                g0 = (moved[i + 1, j, k] - moved[i - 1, j, k]) / (2 * sigma)
                g1 = (moved[i, j + 1, k] - moved[i, j - 1, k]) / (2 * sigma)
                g2 = (moved[i, j, k + 1] - moved[i, j, k - 1]) / (2 * sigma)
                normal[0, i, j, k] += robust * g0 * g0
                normal[1, i, j, k] += robust * g0 * g1
                normal[2, i, j, k] += robust * g0 * g2
                normal[3, i, j, k] += robust * g1 * g1
                normal[4, i, j, k] += robust * g1 * g2
                normal[5, i, j, k] += robust * g2 * g2
                right[0, i, j, k] += robust * rest * g0
                right[1, i, j, k] += robust * rest * g1
                right[2, i, j, k] += robust * rest * g2
                energy[i, j, k] += robust * rest * rest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _solve(
    start: int,
    stop: int,
    normal: Float32Array,
    right: Float32Array,
    energy: Float32Array,
    out: Float32Array,
) -> None:
    """Solve (N + e) step = r in every voxel; no step is longer than about one voxel."""
    _, ny, nz = energy.shape
    for i in range(start, stop):
        for j in range(ny):
            for k in range(nz):
                damping = energy[i, j, k] / 4 + 0.02
                a = normal[0, i, j, k] + damping
                b, c = normal[1, i, j, k], normal[2, i, j, k]
                d = normal[3, i, j, k] + damping
                e = normal[4, i, j, k]
                f = normal[5, i, j, k] + damping
                x, y, z = right[0, i, j, k], right[1, i, j, k], right[2, i, j, k]
                p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
                determinant = a * p + b * q + c * r
                if determinant <= 0:
                    continue
                out[0, i, j, k] = (p * x + q * y + r * z) / determinant
                out[1, i, j, k] = (q * x + (a * f - c * c) * y + (b * c - a * e) * z) / determinant
                out[2, i, j, k] = (r * x + (b * c - a * e) * y + (a * d - b * b) * z) / determinant


def _smooth(field: Float32Array, sigma: float) -> Float32Array:
    """Smooth each component."""
    return np.stack([_blur(c, sigma) for c in field])


def _blur(volume: Float32Array, sigma: float) -> Float32Array:
    """Convolve with a Gaussian; a wide one is as good on every second or fourth voxel."""
    n = 1 if sigma < 2.5 else 2 if sigma < 6 else 4
    rest = float(np.sqrt(sigma**2 - (0.42 * n) ** 2)) / n if n > 1 else sigma
    smooth = gaussian(_shrink(volume, n), rest, mode="nearest", truncate=2.5)
    return _grow(smooth, n, volume.shape)


def _shrink(volume: Float32Array, n: int) -> Float32Array:
    """Average over n voxels along each axis; the first voxel keeps its centre."""
    if n == 1:
        return np.ascontiguousarray(volume, dtype=np.float32)
    smooth = gaussian(volume, 0.42 * n, mode="nearest", truncate=2.5)
    return np.ascontiguousarray(smooth[::n, ::n, ::n], dtype=np.float32)


def _grow(volume: Float32Array, n: int, shape: tuple[int, ...]) -> Float32Array:
    """Interpolate back to the grid before it was shrunk."""
    if n == 1:
        return volume
    return enlarge(volume, n, (shape[0], shape[1], shape[2]))
