"""What all methods that remove the background field take and give."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.core.background.smv import remove_plane
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, FloatArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.maths.cg import Solution
from qsmbids.core.maths.fft import crop, uncrop

__all__ = ["BackgroundResult", "CroppedField", "EmptyMaskError"]


@dataclass(frozen=True)
class BackgroundResult:
    """Local and background field [Hz], zero outside ``mask``, and how the solver ended."""

    local_field: Float32Array
    background_field: Float32Array
    mask: Mask
    n_iterations: int = 0  # as of a method that does not iterate until it converges
    relative_residual: float = 0.0
    converged: bool = True


@dataclass(frozen=True)
class CroppedField:
    """A total field less its plane, on a padded grid of a fast size; see :meth:`of`."""

    field: Float32Array
    mask: Mask
    total: FloatArray  # as given
    box: tuple[slice, slice, slice]
    margin: tuple[int, int, int]

    @classmethod
    def of(cls, field: FloatArray, mask: Mask, margin: tuple[int, int, int]) -> "CroppedField":
        """Check a field and a mask, cut out the box of the mask and put ``margin`` around it.

        Raises
        ------
        EmptyMaskError
            The mask is empty.
        ValueError
            The shapes differ, or the field is not finite in the mask.
        """
        mask = np.asarray(mask, dtype=bool)
        if field.ndim != 3 or field.shape != mask.shape:
            raise ValueError(f"field {field.shape} and mask {mask.shape} must be one volume")
        box = bounding_box(mask)
        if not np.isfinite(field[box][mask[box]]).all():
            raise ValueError("the field is not finite in the mask")
        inside = crop(mask, box, margin)
        cut = crop(field.astype(np.float32, copy=False), box, margin)
        return cls(remove_plane(cut, inside), inside, field, box, margin)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the padded grid."""
        x, y, z = self.field.shape
        return x, y, z

    def crop(self, volume: npt.NDArray) -> npt.NDArray:
        """Cut the same box out of another volume."""
        return crop(volume, self.box, self.margin)

    def result(
        self, local: Float32Array, support: Mask, solution: Solution | None = None
    ) -> BackgroundResult:
        """Put a local field, known in ``support``, back into the whole volume."""
        shape = self.total.shape
        mask = uncrop(support, shape, self.box, self.margin)
        whole = uncrop(local, shape, self.box, self.margin)
        whole = np.where(mask, whole, np.float32(0.0))
        rest = np.where(mask, self.total - whole, 0.0).astype(np.float32)
        if solution is None:
            return BackgroundResult(whole, rest, mask)
        return BackgroundResult(
            whole,
            rest,
            mask,
            solution.n_iterations,
            solution.relative_residual,
            solution.converged,
        )
