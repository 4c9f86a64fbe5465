"""Volumes from the order of memory to that of files and back, plane by plane."""

import numpy as np
import numpy.typing as npt

__all__ = ["in_c_order", "in_fortran_order"]

#: Of a cache.
_LINE_BYTES = 64


def in_c_order(
    volume: npt.NDArray, dtype: npt.DTypeLike, out: npt.NDArray | None = None
) -> npt.NDArray:
    """Return a volume in C order and a type; itself where it is so already.

    With ``out``, of that type, its content is there, and ``out`` is returned.

    Examples
    --------
    >>> stored = np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    >>> in_c_order(stored, np.float32).strides
    (48, 16, 4)
    """
    if out is not None:
        return out if volume is out else _filled(volume, out)
    if volume.flags.c_contiguous:
        return volume.astype(dtype, copy=False)
    return _filled(volume, np.empty(volume.shape, dtype=dtype))


def in_fortran_order(volume: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
    """Return a volume in Fortran order and a type; itself where it is so already."""
    if volume.flags.f_contiguous:
        return volume.astype(dtype, copy=False)
    return _filled(volume, np.empty(volume.shape, dtype=dtype, order="F"))


def _filled(volume: npt.NDArray, out: npt.NDArray) -> npt.NDArray:
    """Copy plane by plane, each by way of a buffer whose rows do not displace each other.

    The planes of a volume of 256 x 256 are a power of two apart, and a cache then keeps no more
    than eight of the lines that are needed together: without the buffer it takes four times as
    long.
    """
    turned = volume.strides[0] <= volume.strides[2]  # as in files, the first axis is the inner one
    n_rows, n = (volume.shape[2], volume.shape[0]) if turned else volume.shape[::2]
    n_lines = -(-n * out.itemsize // _LINE_BYTES) | 1
    buffer = np.empty((n_rows, n_lines * _LINE_BYTES // out.itemsize), dtype=out.dtype)[:, :n]
    here = buffer.T if turned else buffer
    for plane in range(volume.shape[1]):
        here[...] = volume[:, plane]
        out[:, plane] = here
    return out
