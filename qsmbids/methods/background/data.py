"""What a background removal gets, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from qsmbids.core.background.result import BackgroundResult

__all__ = ["BackgroundData", "BackgroundRemoval"]


@dataclass(frozen=True)
class BackgroundData:
    """The input of a background removal.

    Attributes
    ----------
    field : (X, Y, Z) ndarray
        Total field [Hz].
    mask : (X, Y, Z) ndarray of bool
        Mask 3, eroded.
    weights : (X, Y, Z) ndarray
        Of the data.
    voxel_size : tuple of float
        [mm], of a head of the size of an adult's.
    true_voxel_size : tuple of float
        [mm], as it was acquired.
    length_scale : float
        Lengths of the settings are counted so many times.
    b0_direction : (3,) sequence of float
        Along the voxel axes.
    n_threads : int
    """

    field: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32]
    voxel_size: tuple[float, float, float]
    true_voxel_size: tuple[float, float, float]
    length_scale: float
    b0_direction: Sequence[float]
    n_threads: int = 1

    @property
    def radius_unit(self) -> str:
        """What radii of spheres count: mm where the voxels are clearly anisotropic."""
        from qsmbids.core.background.smv import sphere_unit

        return "mm" if np.any(sphere_unit(self.true_voxel_size) != 1.0) else "voxel"


@dataclass(frozen=True)
class BackgroundRemoval:
    """What a method made of a field.

    Attributes
    ----------
    result : BackgroundResult
    text : str
        How it ended, for the log.
    facts : dict
        For the sidecar, beside the settings.
    """

    result: "BackgroundResult"
    text: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_solver(cls, result: "BackgroundResult", **facts: Any) -> "BackgroundRemoval":
        """Say how a solver ended."""
        end = (
            f"{'converged' if result.converged else 'stopped'} after {result.n_iterations}"
            f" iterations (relative residual {result.relative_residual:.2g})"
        )
        solved = {"Iterations": result.n_iterations, "Converged": result.converged}
        return cls(result, end, {**facts, **solved})
