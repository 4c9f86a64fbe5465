"""What neighbouring voxels say of each other, among chosen voxels of a volume."""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Float64Array, IndexArray, Mask

__all__ = ["Neighbours"]


class Neighbours(NamedTuple):
    """The six neighbours of every chosen voxel."""

    place: IndexArray
    """(N, 6) number of the neighbour, -1 where it is not chosen."""
    weight: Float32Array
    """(6,) what each counts: farther ones, along thick slices, count less."""

    @classmethod
    def of(cls, chosen: Mask, voxel_size: npt.ArrayLike) -> "Neighbours":
        """Find the neighbours among chosen voxels.

        Examples
        --------
        >>> found = Neighbours.of(np.ones((1, 1, 3), dtype=bool), (1, 1, 2))
        >>> found.place[:, 4:].tolist(), found.weight.tolist()
        ([[-1, 1], [0, 2], [1, -1]], [1.0, 1.0, 1.0, 1.0, 0.25, 0.25])
        """
        voxel: Float64Array = np.asarray(voxel_size, dtype=np.float64)
        number = np.full(tuple(n + 2 for n in chosen.shape), -1, dtype=np.int32)
        inner = number[1:-1, 1:-1, 1:-1]
        inner[chosen] = np.arange(np.count_nonzero(chosen), dtype=np.int32)
        place = []
        for axis in range(3):
            for way in (0, 2):
                part = [slice(1, -1)] * 3
                part[axis] = slice(way, way + chosen.shape[axis])
                place.append(number[tuple(part)][chosen])
        weight = np.repeat((voxel.min() / voxel) ** 2, 2).astype(np.float32)
        return cls(np.ascontiguousarray(np.stack(place, axis=-1)), weight)

    def settle(self, own: Float32Array, share: Float32Array, together: float) -> Float32Array:
        """Return the share of every class, by what a voxel has of its own and its neighbours.

        Parameters
        ----------
        own : (N, K) ndarray
            Logarithm of how probable each class is without neighbours.
        share : (N, K) ndarray
            Shares so far.
        together : float
            What one neighbour of a class adds to the logarithm.
        """
        out = np.empty_like(share)
        _settle(own, share, self.place, self.weight * np.float32(together), out)
        return out


@numba.njit(cache=True, nogil=True)
def _settle(
    own: Float32Array,
    share: Float32Array,
    place: IndexArray,
    weight: Float32Array,
    out: Float32Array,
) -> None:
    n_classes = own.shape[1]
    for i in range(own.shape[0]):
        for k in range(n_classes):  # a row at once would compile numba's text of an error, for 2 s
            out[i, k] = own[i, k]
        for side in range(6):
            j = place[i, side]
            if j >= 0:
                for k in range(n_classes):
                    out[i, k] += weight[side] * share[j, k]
        top = out[i, 0]
        for k in range(1, n_classes):
            top = max(top, out[i, k])
        total = np.float32(0)
        for k in range(n_classes):
            out[i, k] = np.exp(out[i, k] - top)
            total += out[i, k]
        for k in range(n_classes):
            out[i, k] /= total
