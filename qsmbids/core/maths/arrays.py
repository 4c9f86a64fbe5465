"""Names for the kinds of arrays, and the error for a mask that holds nothing."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "Box",
    "EmptyMaskError",
    "Float32Array",
    "Float64Array",
    "FloatArray",
    "IndexArray",
    "LabelArray",
    "Mask",
    "SpectrumArray",
    "Vector",
]

Mask = npt.NDArray[np.bool_]
#: What is taken: real numbers of any precision.
FloatArray = npt.NDArray[np.floating]
#: What volumes are computed in and given back as.
Float32Array = npt.NDArray[np.float32]
#: Few numbers: coordinates, matrices, statistics.
Float64Array = npt.NDArray[np.float64]
#: A volume in k-space, or a signal.
SpectrumArray = npt.NDArray[np.complex64]
LabelArray = npt.NDArray[np.integer]
IndexArray = npt.NDArray[np.int32]
#: One number for each axis of a volume.
Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]


class EmptyMaskError(ValueError):
    """No voxel is left of a mask: it was empty, or too small or thin for what is taken off.

    Other causes, a wrong shape or a field that is not finite, are a plain :class:`ValueError`.
    """
