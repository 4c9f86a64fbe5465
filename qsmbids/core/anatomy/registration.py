"""Where the template lies in a run, from whatever channels the run has."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.affine import Pair, fit_affine
from qsmbids.core.anatomy.deformable import STAGES, Channel, deform
from qsmbids.core.anatomy.sampling import jacobian, pull, resample_affine
from qsmbids.core.anatomy.template import (
    EXPECTED,
    Template,
    brain_share,
    class_maps,
    expected_map,
)
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.distance import limited_distance
from qsmbids.core.maths.gaussian import gaussian
from qsmbids.core.maths.mutual_information import normalised_mutual_information

__all__ = ["Registration", "refine_registration", "register"]


#: Least normalised mutual information, less 1, between the template and a magnitude or, where
#: there is none, a susceptibility map, which shows less of the cortex. Early echoes of heads have
#: 0.07 and more, late ones, whose grey and white matter are alike, from 0.0107; random blobs have
#: 0.0074 at most, and noise 0.001.
LEAST_INFORMATION = 0.009
#: What is round shares as much with the template, wherever that lies. So the information must
#: exceed the mean of that of a template moved aside [mm] in all directions, by so many standard
#: deviations: heads by 5.3 (late echo, 3 mm; one more has 4.2) to 25; bottles by 3.3, turned heads
#: by 4.0 at most.
ASIDE = 12.0
LEAST_LEAD = 4.5
#: Affine fits that differ by less are both tried to the end.
CLOSE_COSTS = 0.03
#: Least share of the template's brain that the run shows.
LEAST_COVERAGE = 0.15
#: Share of the brain's magnitude below which there is no decay to be seen.
LEAST_SIGNAL = 0.15
#: Sizes of heads, infants to large adults, as a factor of length.
SIZES = (0.7, 1.25)
#: Least factor of volume in the brain, but for a thousandth of it; heads have 0.4 and more,
#: bottles about 0.2, and 0 would be a fold.
LEAST_JACOBIAN = 0.3


@dataclass(frozen=True, slots=True)
class Registration:
    """The template in a run."""

    affine: Float64Array
    """(4, 4), from the template's space to that of the run [mm]."""
    run_affine: Float64Array
    """(4, 4), voxels of the run to its space [mm]."""
    shift: Float32Array
    """(3, X, Y, Z) on the coarse grid of the template [its voxels]: what the run shows at ``x``
    after the affine map is the template's ``x + shift(x)``."""
    information: float
    """Normalised mutual information of magnitude or chi with the moved template, less 1."""
    lead: float
    """By how many standard deviations that exceeds the information of a template moved aside."""
    size: float
    """Cube root of the determinant: head against template."""
    coverage: float
    """Share of the template's brain within the field of view."""
    least_jacobian: float
    """Smallest factor of volume in the brain."""
    channels: tuple[str, ...]
    """What was registered."""

    @property
    def reason(self) -> str | None:
        """Why the fit must not be used, in words; ``None`` for a good one."""
        if self.coverage < LEAST_COVERAGE:
            return f"the field of view holds {100 * self.coverage:.0f} % of the template's brain"
        if not SIZES[0] <= self.size <= SIZES[1]:
            return f"the head would be {self.size:.2f} times as long as the template"
        if self.information < LEAST_INFORMATION:
            return (
                f"run and template share too little information ({self.information:.4f}, at least "
                f"{LEAST_INFORMATION:.4f})"
            )
        if self.lead < LEAST_LEAD:
            return (
                "run and template share hardly more information than they do with the template "
                f"moved aside ({self.lead:.1f} standard deviations, at least {LEAST_LEAD:g})"
            )
        if self.least_jacobian < LEAST_JACOBIAN:
            return f"the template would be squeezed to {self.least_jacobian:.2f} of its volume"
        return None

    @property
    def usable(self) -> bool:
        """Whether anything may be derived from the fit."""
        return self.reason is None


def register(
    template: Template,
    run_affine: npt.ArrayLike,
    mask: Mask,
    *,
    magnitude: Float32Array | None = None,
    chi: Float32Array | None = None,
    r2star: Float32Array | None = None,
) -> Registration:
    """Register the template to a run, affine and then deformable.

    Parameters
    ----------
    template : Template
    run_affine : (4, 4) array_like
        Voxels to space [mm], right and front up, as in the header.
    mask : (X, Y, Z) ndarray of bool
        A first brain mask, which may be rough. Where there is a magnitude, R2* counts wherever
        there is signal, for it tells muscle from brain without any receive field.
    magnitude, chi, r2star : (X, Y, Z) ndarray, optional
        Channels; at least one of magnitude (of an early echo, with the head around the brain) and
        chi [ppm], which counts inside the mask alone.

    Returns
    -------
    Registration
        Ask its ``usable`` and ``reason`` before anything is derived from it.
    """
    run_affine = np.asarray(run_affine, dtype=np.float64)
    maps = class_maps(template)
    brain = brain_share(maps)
    if magnitude is not None:
        pairs = [Pair(np.asarray(magnitude, dtype=np.float32), template.t1)]
    elif chi is not None:
        pairs = [Pair(_clipped(chi, "chi") * mask, expected_map(maps, "chi") * brain)]
    else:
        raise ValueError("a magnitude or a susceptibility map is needed")
    if magnitude is not None:
        found = [fit_affine(pairs, mask, run_affine, brain, template.grid).matrix]
    else:
        found = _fit_headings(pairs, mask, run_affine, brain, template.grid)
    fits = [
        refine_registration(
            _start(affine, run_affine, template),
            template,
            mask,
            magnitude=magnitude,
            chi=chi,
            r2star=r2star,
            maps=maps,
            rough=True,
        )
        for affine in found
    ]
    return max(fits, key=lambda fit: fit.lead)


def _start(affine: Float64Array, run_affine: Float64Array, template: Template) -> Registration:
    """Return a registration that nothing is known of but where it begins."""
    return Registration(
        affine=affine,
        run_affine=run_affine,
        shift=np.zeros((3, *template.t1.shape), dtype=np.float32),
        information=0.0,
        lead=0.0,
        size=float(np.cbrt(np.linalg.det(affine[:3, :3]))),
        coverage=0.0,
        least_jacobian=1.0,
        channels=(),
    )


def refine_registration(
    start: Registration,
    template: Template,
    mask: Mask,
    *,
    magnitude: Float32Array | None = None,
    chi: Float32Array | None = None,
    r2star: Float32Array | None = None,
    maps: Float32Array | None = None,
    rough: bool = False,
) -> Registration:
    """Go on from a registration with other channels: chi is known later than the magnitude.

    Parameters are those of :func:`register`; ``mask`` is where chi and R2* count, or of a
    ``rough`` one chi alone.
    """
    if maps is None:
        maps = class_maps(template)
    to_run = np.linalg.inv(start.run_affine) @ start.affine @ template.grid

    def seen(volume: npt.NDArray) -> Float32Array:
        blurred = np.ascontiguousarray(volume, dtype=np.float32)
        return resample_affine(blurred, to_run, template.t1.shape, 0.0)

    in_view = seen(np.ones(mask.shape))
    in_mask = seen(mask)
    channels, names, level = [], [], 1.0
    rough = rough and magnitude is not None
    core = mask if chi is None and (rough or r2star is None) else _inner(mask, start.run_affine)
    compare = template.t1 if magnitude is not None else expected_map(maps, "chi")
    if magnitude is not None:
        level = max(float(np.percentile(magnitude[mask], 90)), 1e-12)
        image = seen(magnitude / level)
        channels.append(Channel(image, in_view, shaded=True))
        names.append("magnitude")
    for name, values in (("chi", chi), ("r2star", r2star)):
        if values is None:
            continue
        inside = core
        if name == "r2star" and rough and magnitude is not None:
            inside = np.asarray(magnitude > LEAST_SIGNAL * level)
        share = np.maximum(seen(inside), 1e-3)
        image = (seen(_clipped(values, name) * inside) / share).astype(np.float32, copy=False)
        expected = np.asarray(EXPECTED[name], dtype=np.float64)
        channels.append(Channel(image, seen(inside), expected, gain=2.0))
        names.append(name)
    if not channels:
        raise ValueError("a magnitude or a susceptibility map is needed")
    # what was registered before is near; size and place of lobes are settled
    stages = STAGES[1:] if start.channels else STAGES
    fit = deform(channels, maps, start=start.shift, stages=stages)
    brain = pull(brain_share(maps), fit.shift) > 0.5
    counted = brain & (in_view > 0.6) & ((in_mask > 0.3) if magnitude is None else True)
    information = lead = 0.0
    if np.count_nonzero(counted) >= 100:
        moved = pull(compare, fit.shift)
        # the rim of anything round fits; only a brain has a brain's inside
        inner = counted & (gaussian(brain, 3.0) > 0.95)
        counted = inner if np.count_nonzero(inner) >= 100 else counted
        information = normalised_mutual_information(fit.images[0], moved, counted) - 1.0
        lead = _lead(information, fit.images[0], moved, counted, template.grid)
    return replace(
        start,
        shift=fit.shift,
        information=information,
        lead=lead,
        coverage=float((in_view[brain] > 0.6).mean()) if brain.any() else 0.0,
        least_jacobian=float(np.percentile(jacobian(fit.shift)[brain], 0.1))
        if brain.any()
        else 0.0,
        channels=tuple(dict.fromkeys((*start.channels, *names))),
    )


def _lead(
    information: float, image: Float32Array, moved: Float32Array, counted: Mask, grid: FloatArray
) -> float:
    """Return how far the information exceeds that of templates aside [standard deviations]."""
    step = np.rint(ASIDE / np.linalg.norm(grid[:3, :3], axis=0)).astype(int)
    aside = [
        normalised_mutual_information(image, np.roll(moved, step * way, (0, 1, 2)), counted) - 1.0
        for way in product((-1, 0, 1), repeat=3)
        if any(way)
    ]
    return float((information - np.mean(aside)) / max(float(np.std(aside)), 1e-12))


def _fit_headings(
    pairs: list[Pair],
    mask: Mask,
    run_affine: Float64Array,
    brain: Float32Array,
    grid: Float64Array,
) -> list[Float64Array]:
    """Fit a map without its magnitude, which may also have lost where it looks.

    A header without orientation leaves front and back open; up is told by the direction of B0.
    Where neither is clearly better, both are returned, that of the header first.
    """
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    straight = fit_affine(pairs, mask, run_affine, brain, grid, partial=True)
    turned = fit_affine(pairs, mask, turn @ run_affine, brain, grid, partial=True)
    back = np.asarray(turn @ turned.matrix, dtype=np.float64)
    if abs(turned.cost - straight.cost) < CLOSE_COSTS:
        return [straight.matrix, back]
    return [back] if turned.cost < straight.cost else [straight.matrix]


def _clipped(values: npt.NDArray, name: str) -> Float32Array:
    """Cut what is of vessels, calcifications and streaks."""
    low, high = (-0.12, 0.22) if name == "chi" else (0.0, 80.0)
    return np.clip(values, low, high).astype(np.float32)


def _inner(mask: Mask, run_affine: Float64Array) -> Mask:
    """Leave out the rim, where maps are least certain, and keep something of thin masks."""
    voxel = np.linalg.norm(run_affine[:3, :3], axis=0)
    inner = limited_distance(~mask, voxel, 3.0 + float(voxel.max())) > 3.0
    return inner if np.count_nonzero(inner) > 0.3 * np.count_nonzero(mask) else mask
