"""Read the voxels of NIfTI files; writing is imported from :mod:`qsmbids.io.write`.

A volume is decompressed in one go, or read in slabs where it is not compressed, and cast once to
where it is wanted. What is where in a file its header tells, of :mod:`qsmbids.io.nifti_header`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from qsmbids.core.maths.axis_order import in_c_order
from qsmbids.core.maths.head_size import length_scale
from qsmbids.errors import InputError
from qsmbids.io.nifti_header import (
    DAMAGED,
    GZIP,
    GZIP_MAGIC,
    Header,
    check_matrix,
    is_gzip,
    opened,
    parse_header,
    read_header,
    truncated,
)
from qsmbids.io.write import write_json, write_text, write_volume

__all__ = [
    "Echoes",
    "Stored",
    "Volume",
    "read_echoes",
    "read_stored",
    "read_volume",
    "write_json",
    "write_text",
    "write_volume",
]

#: What is read at a time of a file that is not compressed; slabs of few planes take longer.
_SLAB_BYTES = 2**25


class Volume(NamedTuple):
    """A volume and where it lies."""

    array: npt.NDArray
    affine: npt.NDArray[np.float64]
    voxel_size: tuple[float, float, float]

    @property
    def length_scale(self) -> float:
        """Factor for the lengths [mm] of the settings, 1 but for small heads."""
        return length_scale(np.multiply(self.array.shape, self.voxel_size))

    @property
    def adult_voxel_size(self) -> tuple[float, float, float]:
        """The voxel size [mm] if the head were an adult's, for methods that have lengths.

        The field of dipoles knows no length, so that nothing else changes.
        """
        x, y, z = np.divide(self.voxel_size, self.length_scale)
        return float(x), float(y), float(z)


class Stored(NamedTuple):
    """The numbers of a file, before slope and intercept."""

    array: npt.NDArray  #: (X, Y, Z) in Fortran order
    header: Header

    def scaled(self, numbers: npt.NDArray, dtype: npt.DTypeLike = np.float32) -> npt.NDArray:
        """Return what some of the numbers stand for, as :func:`read_volume` does for all."""
        return _scaled(numbers, self.header, np.dtype(dtype))


class Echoes(NamedTuple):
    """The volumes of all echoes and where they lie."""

    array: npt.NDArray
    affine: npt.NDArray[np.float64]


def read_volume(path: str | Path, dtype: npt.DTypeLike = np.float32) -> Volume:
    """Read one volume, with the slope and intercept of its header applied.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file; a 4-D file must hold one volume.
    dtype : dtype
        float32 for images, bool for masks (nonzero), an integer type for labels (rounded).

    Returns
    -------
    Volume
        ``array`` is (X, Y, Z) and C-contiguous, in the voxel axes of the file.

    Raises
    ------
    InputError
        As for :func:`read_header`, or the voxels are truncated or damaged.
    """
    path = Path(path)
    with opened(path) as file:
        header = parse_header(path, file)
        array = np.empty(header.shape, dtype=dtype)
        _read_into(path, file, header, array)
    return Volume(array, header.affine, header.voxel_size)


def read_stored(path: str | Path) -> Stored:
    """Read one volume as it lies in the file.

    Raises
    ------
    InputError
        As for :func:`read_volume`.
    """
    path = Path(path)
    with opened(path) as file:
        header = parse_header(path, file)
        return Stored(_voxels(path, file, header), header)


def read_echoes(
    paths: Sequence[str | Path], dtype: npt.DTypeLike = np.float32, *, n_threads: int = 1
) -> Echoes:
    """Read one volume per echo into an echo-first array.

    Parameters
    ----------
    paths : sequence of path
        One file per echo, in the order wanted.
    dtype : dtype
        As for :func:`read_volume`.
    n_threads : int
        Files read at a time.

    Returns
    -------
    Echoes
        ``array`` is (E, X, Y, Z) and C-contiguous; ``affine`` is that of the first echo.

    Raises
    ------
    InputError
        As for :func:`read_volume`, or the shapes differ, or there is no file.
    """
    if not paths:
        raise InputError("there is no echo to read", fix="Check the BIDS filters.")
    files = [Path(path) for path in paths]
    headers = [read_header(path) for path in files]
    for path, header in zip(files, headers, strict=True):
        check_matrix(path, header, files[0], headers[0])
    echoes = np.empty((len(headers), *headers[0].shape), dtype=dtype)

    def load(index: int) -> None:
        with opened(files[index]) as file:
            _read_into(files[index], file, headers[index], echoes[index])

    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        list(pool.map(load, range(len(headers))))
    return Echoes(echoes, headers[0].affine)


def _voxels(path: Path, file: BinaryIO, header: Header) -> npt.NDArray:
    """Return the stored voxels, (X, Y, Z) in Fortran order."""
    end = header.offset + header.n_bytes
    gzipped = is_gzip(file)
    file.seek(0)
    content = _gunzip(path, file.read(), end) if gzipped else file.read(end)
    if len(content) < end:
        raise truncated(path)
    count = header.n_bytes // header.dtype.itemsize
    flat = np.frombuffer(content, header.dtype, count, header.offset)
    return flat.reshape(header.shape, order="F")


def _read_into(path: Path, file: BinaryIO, header: Header, out: npt.NDArray) -> None:
    """Fill an array in C order; without a second volume in memory if there is no compression."""
    if is_gzip(file):
        _scaled(_voxels(path, file, header), header, out.dtype, out)
        return
    x, y, n_planes = header.shape
    plane = x * y * header.dtype.itemsize
    step = max(1, _SLAB_BYTES // plane)
    buffer = memoryview(bytearray(min(step, n_planes) * plane))
    file.seek(header.offset)
    for first in range(0, n_planes, step):
        here = slice(first, min(first + step, n_planes))
        part = buffer[: (here.stop - first) * plane]
        if file.readinto(part) < len(part):  # type: ignore[attr-defined]
            raise truncated(path)
        slab = np.frombuffer(part, header.dtype).reshape((x, y, -1), order="F")
        _scaled(slab, header, out.dtype, out[..., here])


def _gunzip(path: Path, packed: bytes, size: int) -> bytes:
    """Decompress at most ``size`` bytes and verify the checksum of what ends there."""
    parts: list[bytes] = []
    missing = size
    while packed and missing > 0:  # one turn, unless the file is a chain of gzip members
        member = isal_zlib.decompressobj(GZIP)
        try:
            # one byte more than wanted makes it read on to the checksum
            parts.append(member.decompress(packed, missing + 1))
        except isal_zlib.error as error:  # type: ignore[misc]  # no stubs
            raise InputError("is damaged (gzip checksum or data)", str(path), DAMAGED) from error
        missing -= len(parts[-1])
        if not member.eof:
            if missing < 0:  # there is more in the file than the volume needs
                break
            raise InputError("is truncated: the gzip data end too early", str(path), DAMAGED)
        packed = member.unused_data
        if not packed.startswith(GZIP_MAGIC):  # padding, as tapes add it
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _scaled(
    stored: npt.NDArray, header: Header, dtype: np.dtype, out: npt.NDArray | None = None
) -> npt.NDArray:
    """Return slope * stored + intercept in C order; float32 is exact for up to 24 stored bits.

    With ``out``, of that type, they are written there.
    """
    values: npt.NDArray
    plain = header.slope == 1 and header.inter == 0
    if plain and (stored.dtype.kind in "iu" or dtype.kind == "f"):
        values = stored
    else:
        wide = dtype.itemsize > 4 or stored.dtype.itemsize > 4
        working = np.dtype(np.float64 if wide else np.float32)
        values = in_c_order(stored, working, out if dtype == working else None)
        if not plain:
            values = np.multiply(
                values, working.type(header.slope), out=values if values is out else None
            )
            values += working.type(header.inter)
        if dtype.kind in "biu":  # masks and labels: outside where it is not a number
            values = np.nan_to_num(values, nan=0.0)
            values = values if dtype.kind == "b" else np.rint(values)
    with np.errstate(invalid="ignore", over="ignore"):  # no type holds what a broken file may say
        return in_c_order(values, dtype, out)
