r"""MEDI: morphology enabled dipole inversion with an L1 penalty.

Consensus section 6 and Table S2.4. The objective, in radians of phase over one echo spacing, is

.. math:: \min_x \lambda \| w (e^{i D x} - e^{i y}) \|_2^2 + \sum_d \| m_d \nabla_d x \|_1

with x the susceptibility, y the local field, w the data weights (mean 1 in the mask) and m_d zero
where the magnitude image has an edge. With the spherical mean value (SMV) filter S, both sides of
the data term are filtered, y by 1 - S and D as (1 - S) D, which takes away what is left of the
background field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qsmbids.core.inversion.dipole import dipole_kernel
from qsmbids.core.inversion.inversion_input import check_finite
from qsmbids.core.inversion.medi_edges import edge_mask
from qsmbids.core.inversion.medi_smv import smv_kernel
from qsmbids.core.inversion.medi_solver import Problem, gauss_newton
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Float64Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.fft import crop, fast_shape, irfft, pad_to, rfft, uncrop
from qsmbids.units import TWO_PI, radians_per_ppm

__all__ = ["MediResult", "medi"]

T = TypeVar("T")

#: A voxel stays in the mask if this part of the sphere around it lies in the mask.
SPHERE_INSIDE = 0.999
#: Most conjugate gradient steps and their relative residual, without the preconditioner and with.
CG_STEPS = {False: (100, 0.01), True: (40, 0.025)}
#: Margin [voxels] that keeps the periodic copies of unfiltered dipoles away.
FAR = 24


@dataclass(frozen=True)
class MediResult:
    """What :func:`medi` returns.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray of float32
        Susceptibility [ppm], zero outside the mask; unreferenced, or with a mean of zero in the
        cerebrospinal fluid if that was given.
    mask : (X, Y, Z) ndarray of bool
        Where the susceptibility is known: the given mask, eroded by the SMV radius.
    n_steps : int
        Gauss-Newton steps done.
    n_cg_steps : int
        Conjugate gradient steps of all of them; four transforms each.
    changes : tuple of float
        Relative change of x in every Gauss-Newton step.
    cg_residuals : tuple of float
        Relative residual at which the conjugate gradients stopped in each.
    misfit : float
        Weighted misfit of the phase, root mean square [rad].
    converged : bool
        Whether the last change was small enough.
    edge_threshold : float
        Magnitude difference per mm above which there is an edge.
    edge_fraction : float
        Differences above it for each voxel of the mask, 0 to 3.
    """

    chi: Float32Array
    mask: Mask
    n_steps: int
    n_cg_steps: int
    changes: tuple[float, ...]
    cg_residuals: tuple[float, ...]
    misfit: float
    converged: bool
    edge_threshold: float
    edge_fraction: float


def medi(
    local_field: FloatArray,
    mask: Mask,
    weights: FloatArray,
    magnitude: FloatArray,
    voxel_size: npt.ArrayLike,
    b0_direction: npt.ArrayLike,
    *,
    centre_frequency: float,
    echo_spacing: float,
    data_weight: float = 2000.0,
    edge_percentage: float = 90.0,
    smv_radius_mm: float | None = 5.0,
    merit: bool = True,
    fluid: Mask | None = None,
    fluid_weight: float = 100.0,
    maximum_steps: int = 10,
    tolerance: float = 0.1,
    maximum_cg_steps: int | None = None,
    cg_tolerance: float | None = None,
    preconditioner: bool = True,
    margin: int | str | None = "auto",
    n_threads: int = 1,
    progress: Callable[[int, float], None] | None = None,
) -> MediResult:
    r"""Return the susceptibility [ppm] behind a local field [Hz].

    Parameters
    ----------
    local_field : (X, Y, Z) ndarray
        Local field [Hz]; values outside the mask are ignored.
    mask : (X, Y, Z) ndarray of bool
        Mask 4, where the local field is known.
    weights : (X, Y, Z) ndarray
        Data weights >= 0, 1 / noise SD in any unit. A voxel of weight 0 has no data, but the
        SMV filter takes its field into the mean of its neighbours.
    magnitude : (X, Y, Z) ndarray
        Root sum of squares over the echoes, any unit.
    voxel_size : (3,) array_like
        [mm], along the array axes.
    b0_direction : (3,) array_like
        Unit vector along the array axes.
    centre_frequency : float
        Larmor frequency [Hz].
    echo_spacing : float
        [s]; the echo time if there is but one echo.
    data_weight : float
        lambda of Table S2.4, the weight of the data term: larger is sharper and noisier.
    edge_percentage : float
        Number of differences without penalty [% of the voxels of the mask].
    smv_radius_mm : float or None
        Radius of the SMV filter, which also erodes the mask by as much; None or 0 for none.
        Table S2.4 says voxels, but its software takes mm.
    merit : bool
        Lower the weights of voxels that do not fit the model, after every Gauss-Newton step.
    fluid : (X, Y, Z) ndarray of bool, optional
        Cerebrospinal fluid, to be made homogeneous and the reference (MEDI+0).
    fluid_weight : float
        Weight of that homogeneity.
    maximum_steps, tolerance : int, float
        Most Gauss-Newton steps, and the relative change of x at which they stop.
    maximum_cg_steps, cg_tolerance : int, float, or None
        Most conjugate gradient steps in one of them, and the relative residual to stop at; None
        is 40 and 0.025 with the preconditioner, and the 100 and 0.01 of the software without.
    preconditioner : bool
        Scale voxels and frequencies. False takes the plain steps of the software of the consensus
        paper, two to five times as many for the same misfit.
    margin : int, "auto" or None
        Voxels around the bounding box of the result, no fewer than the SMV radius; "auto" is
        just that radius, as the filtered dipole does not reach far, and 24 without the filter.
        None keeps the given grid.
    n_threads : int
        Threads of the transforms and loops.
    progress : callable, optional
        Called after each Gauss-Newton step with its number and the relative change.

    Returns
    -------
    MediResult

    Raises
    ------
    EmptyMaskError
        The mask is empty or too thin for the SMV sphere.
    ValueError
        A shape or parameter is wrong, the field or the weights in the mask are not finite,
        negative, or all zero, or the cerebrospinal fluid is not in it.

    Notes
    -----
    Gauss-Newton with the penalty as reweighted least squares, the inner systems solved by
    conjugate gradients. The stopping rules are loose, so the map depends on the path: it is that
    of the software, not the minimum. It also depends on the unit of phase, by lambda and by the
    smoothing of the penalty: halving the echo spacing is not the same problem.

    Without SMV and MERIT, whole turns of the phase change nothing. The filter is linear and
    spreads them over its sphere.

    About 17 volumes of the cropped grid. Single precision, norms in double.

    References
    ----------
    Liu J, Liu T, de Rochefort L, et al. Morphology enabled dipole inversion for quantitative
    susceptibility mapping using structural consistency between the magnitude image and the
    susceptibility map. NeuroImage 2012;59:2560. doi:10.1016/j.neuroimage.2011.08.082

    Liu T, Wisnieff C, Lou M, Chen W, Spincemaille P, Wang Y. Nonlinear formulation of the
    magnetic field to source relationship for robust quantitative susceptibility mapping.
    Magn Reson Med 2013;69:467. doi:10.1002/mrm.24272 (MERIT)

    Liu Z, Spincemaille P, Yao Y, Zhang Y, Wang Y. MEDI+0. Magn Reson Med 2018;79:2795.
    doi:10.1002/mrm.26946
    """
    mask = np.asarray(mask, dtype=bool)
    volumes = {"field": local_field, "weights": weights, "magnitude": magnitude}
    others = [*volumes.values()] + ([] if fluid is None else [fluid])
    if mask.ndim != 3 or any(v.shape != mask.shape for v in others):
        raise ValueError("the field, masks, weights and magnitude must be the same 3-D volume")
    most, residual = CG_STEPS[preconditioner]
    maximum_cg_steps = most if maximum_cg_steps is None else maximum_cg_steps
    cg_tolerance = residual if cg_tolerance is None else cg_tolerance
    numbers = (centre_frequency, echo_spacing, data_weight, fluid_weight, tolerance, cg_tolerance)
    if not all(np.isfinite(v) and v > 0 for v in (*numbers, maximum_steps, maximum_cg_steps)):
        raise ValueError("frequency, echo spacing, weights, tolerances and steps must be > 0")
    check_finite(mask, **volumes)
    radius, voxel = float(smv_radius_mm or 0.0), np.asarray(voxel_size, dtype=float)
    grid, support = _Grid.with_room(mask, voxel, radius, margin, n_threads)

    y = grid.place(local_field) * np.float32(TWO_PI * echo_spacing)
    kernel = dipole_kernel(grid.shape, voxel, b0_direction)
    smv = None
    if radius > 0:
        sphere = smv_kernel(grid.shape, radius, voxel)
        kernel *= 1 - sphere
        smv = partial(_filter, sphere, n_threads)
        y = np.where(support, y - smv(y), np.float32(0))
    in_fluid = None if fluid is None else _indices(grid.place(fluid.astype(bool)) & support)
    # the threshold begins at a part of the largest magnitude of the image, skin and all
    largest = float(np.max(magnitude, where=np.isfinite(magnitude), initial=0.0))
    edges = edge_mask(grid.place(magnitude), support, voxel, edge_percentage, largest=largest)

    problem = Problem(
        y=y,
        noise=_noise(grid.place(weights), support),
        support=support,
        kernel=kernel,
        penalised=edges.penalised,
        inverse_size=_three([np.float32(1 / v) for v in voxel]),
        data_weight=data_weight,
        smv=smv,
        merit=merit,
        fluid=in_fluid,
        fluid_weight=fluid_weight,
        preconditioner=preconditioner,
        n_threads=max(1, n_threads),
    )
    x, path = gauss_newton(
        problem, maximum_steps, tolerance, maximum_cg_steps, cg_tolerance, progress
    )
    if in_fluid is not None:
        x -= np.float32(x.flat[in_fluid].mean(dtype=np.float64))
    x /= np.float32(radians_per_ppm(centre_frequency, echo_spacing))
    return MediResult(
        chi=grid.restore(np.where(support, x, np.float32(0))),
        mask=grid.restore(support),
        n_steps=len(path.changes),
        n_cg_steps=path.n_cg_steps,
        changes=tuple(path.changes),
        cg_residuals=tuple(path.cg_residuals),
        misfit=path.misfit,
        converged=path.changes[-1] <= tolerance,
        edge_threshold=edges.threshold,
        edge_fraction=edges.fraction,
    )


@dataclass(frozen=True)
class _Grid:
    """The support's box with a margin, on which everything is done."""

    mask: Mask
    box: tuple[slice, slice, slice]
    offset: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def with_room(
        cls,
        mask: Mask,
        voxel: Float64Array,
        radius: float,
        margin: int | str | None,
        n_threads: int,
    ) -> tuple["_Grid", Mask]:
        """Return a grid for spheres of a radius, and on it where they lie in the mask."""
        if radius < 0:
            raise ValueError("the SMV radius must be >= 0")
        if margin == "auto":
            margin = 0 if radius > 0 else FAR
        if not (margin is None or isinstance(margin, int)):
            raise ValueError(f"unknown margin {margin!r}")
        support = mask
        if radius > 0:
            support = _erode(mask, radius, voxel, periodic=margin is None, n_threads=n_threads)
        grid = cls.around(support, mask, voxel, margin, radius)
        return grid, grid.place(support)

    @classmethod
    def around(
        cls,
        support: Mask,
        mask: Mask,
        voxel: Float64Array,
        margin: int | None,
        radius: float,
    ) -> "_Grid":
        """Leave ``margin`` around the support, and what the sphere needs of the mask around it."""
        x, y, z = mask.shape
        if margin is None:
            return cls(mask, (slice(0, x), slice(0, y), slice(0, z)), (0, 0, 0), (x, y, z))
        box, offset, shape = [], [], []
        for inner, v, n in zip(bounding_box(support), voxel, mask.shape, strict=True):
            reach = max(margin, int(np.ceil(radius / v)))
            start = max(0, inner.start - reach)
            box.append(slice(start, min(n, inner.stop + reach)))
            offset.append(start - (inner.start - reach))
            shape.append(inner.stop - inner.start + 2 * reach)
        return cls(mask, _three(box), _three(offset), fast_shape(tuple(shape)))

    def place(self, volume: npt.NDArray) -> npt.NDArray:
        """Cut a volume out of the image, zero outside the mask; floats in single precision."""
        inner = np.where(self.mask[self.box], volume[self.box], 0)
        kind = bool if volume.dtype == bool else np.float32
        return pad_to(inner.astype(kind), self.shape, self.offset)

    def restore(self, volume: npt.NDArray) -> npt.NDArray:
        return uncrop(volume, self.mask.shape, self.box, self.offset)


def _noise(weights: Float32Array, support: Mask) -> Float32Array:
    """Return the SD of the noise in any unit, 0 where there are no data."""
    if weights.min() < 0 or not weights[support].any():
        raise ValueError("the weights must be >= 0, and not 0 in the whole mask")
    return np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)


def _indices(fluid: Mask) -> npt.NDArray[np.intp]:
    """Return the flat indices of the voxels of fluid."""
    indices = np.flatnonzero(fluid)
    if indices.size == 0:
        raise ValueError("the mask holds no voxel of the cerebrospinal fluid")
    return indices


def _erode(
    mask: Mask,
    radius: float,
    voxel: Float64Array,
    *,
    periodic: bool,
    n_threads: int,
) -> Mask:
    """Return the voxels around which the sphere lies in the mask."""
    box, margin = bounding_box(mask), (0, 0, 0)
    if periodic:
        box = _three([slice(0, n) for n in mask.shape])
        inside = mask
    else:  # the sphere must not reach the periodic copy of the mask
        margin = _three([int(np.ceil(radius / v / 2)) for v in voxel])
        inside = crop(mask, box, margin)
    sphere = smv_kernel(_three(inside.shape), radius, voxel)
    mean = _filter(sphere, n_threads, inside.astype(np.float32))
    support = uncrop(inside & (mean > SPHERE_INSIDE), mask.shape, box, margin)
    if not support.any():
        raise EmptyMaskError("the mask is too thin for the SMV sphere")
    return support


def _filter(sphere: Float32Array, n_threads: int, volume: Float32Array) -> Float32Array:
    """Return the spherical mean value."""
    spectrum = rfft(volume, n_threads)
    spectrum *= sphere
    return irfft(spectrum, _three(volume.shape), n_threads, overwrite=True)  # type: ignore[return-value]


def _three(values: Sequence[T]) -> tuple[T, T, T]:
    x, y, z = values
    return x, y, z
