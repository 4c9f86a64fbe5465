"""The echoes of a run inside a mask, for methods that compare three echoes or more."""

import numpy as np
import numpy.typing as npt

from qsmbids.core.field.echo_combination import checked_echo_times
from qsmbids.core.field.romeo_weights import as_volume
from qsmbids.core.maths.arrays import Float32Array, Float64Array, FloatArray, Mask

__all__ = ["checked_echoes", "echoes_inside"]


def checked_echoes(
    phase: FloatArray, magnitude: FloatArray, echo_times: npt.ArrayLike, mask: npt.NDArray
) -> tuple[Float32Array, Float32Array, Mask, Float64Array]:
    """Return three echoes or more, their times and a mask in the types they are used in."""
    phase = as_volume(phase, "phase", ndim=4)
    magnitude = as_volume(magnitude, "magnitude", phase.shape, ndim=4)
    mask = as_volume(mask, "mask", phase.shape[1:], np.bool_)
    return phase, magnitude, mask, checked_echo_times(echo_times, phase, at_least=3)


def echoes_inside(
    phase: Float32Array, magnitude: Float32Array, mask: Mask, box: tuple[slice, ...]
) -> tuple[Mask, list[Float32Array], list[Float32Array]]:
    """Return the finite voxels of a mask in its box; phase and magnitude there, 0 elsewhere."""
    inside = (
        mask[box] & np.isfinite(phase[:, *box]).all(0) & np.isfinite(magnitude[:, *box]).all(0)
    )
    phi = [np.where(inside, p[box], np.float32(0)) for p in phase]
    size = [np.where(inside, m[box], np.float32(0)) for m in magnitude]
    return inside, phi, size
