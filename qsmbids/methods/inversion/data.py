"""What a dipole inversion gets, and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from qsmbids.core.background.result import BackgroundResult

__all__ = ["InversionData", "Susceptibility"]


@dataclass(frozen=True)
class InversionData:
    """The input of a dipole inversion.

    Attributes
    ----------
    field : (X, Y, Z) ndarray
        Local field [Hz].
    support : (X, Y, Z) ndarray of bool
        Where chi is wanted: Mask 4 without holes.
    weights : (X, Y, Z) ndarray
        Of the data.
    magnitude : (X, Y, Z) ndarray
        Combined over the echoes, for edges.
    voxel_size : tuple of float
        [mm], of a head of the size of an adult's.
    b0_direction : (3,) sequence of float
        Along the voxel axes.
    centre_frequency : float
        [Hz].
    echo_times : sequence of float
        [s].
    r2star : (X, Y, Z) ndarray, optional
        [1/s], for edges, for a method that asks for it, where the run has it.
    fluid : (X, Y, Z) ndarray of bool, optional
        Cerebrospinal fluid of the ventricles, for a method that asks for it.
    removal : callable, optional
        The background removal that left the field, as a linear map of a field on blocks of
        voxels of the whole volume, where what it took of the local field can be put back, for a
        method that does.
    uncertainty : bool
        Whether the standard error is wanted.
    n_threads : int
    """

    field: npt.NDArray[np.float32]
    support: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32]
    magnitude: npt.NDArray[np.float32]
    voxel_size: tuple[float, float, float]
    b0_direction: Sequence[float]
    centre_frequency: float
    echo_times: Sequence[float]
    r2star: npt.NDArray[np.float32] | None = None
    fluid: npt.NDArray[np.bool_] | None = None
    removal: Callable[[npt.NDArray[np.float32], list[int]], "BackgroundResult"] | None = None
    uncertainty: bool = False
    n_threads: int = 1

    @property
    def echo_spacing(self) -> float:
        """Mean time between echoes [s]; the echo time of a single echo."""
        times = self.echo_times
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0]

    @property
    def volumes(self) -> tuple[Any, ...]:
        """The arguments that every inversion of the core begins with."""
        return self.field, self.support, self.weights, self.voxel_size, self.b0_direction


@dataclass(frozen=True)
class Susceptibility:
    """What a method made of a field.

    Attributes
    ----------
    chi : (X, Y, Z) ndarray
        [ppm], not referenced, 0 outside ``support``.
    support : (X, Y, Z) ndarray of bool
        Where chi is known.
    title : str
        Of the method, where it has variants; "" for its usual one.
    decisions, warnings : tuple of str
        For the log.
    parameters : dict
        Settings that came to another value than was asked, and those that the data decide.
    facts : dict
        How the iterations ended.
    standard_error : (X, Y, Z) ndarray, optional
        [ppm], where it was wanted.
    errors : (N, X, Y, Z) ndarray, optional
        Simulated errors that it is the size of [ppm], for means of regions.
    error_factor : float
        How many times those the errors of chi are.
    """

    chi: npt.NDArray[np.float32]
    support: npt.NDArray[np.bool_]
    title: str = ""
    decisions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    standard_error: npt.NDArray[np.float32] | None = None
    errors: npt.NDArray[np.float32] | None = None
    error_factor: float = 1.0
