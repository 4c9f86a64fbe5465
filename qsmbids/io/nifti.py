"""Read NIfTI volumes and their headers; writing is imported from :mod:`qsmbids.io.write`.

A volume is decompressed in one go, or read in slabs where it is not compressed, and cast once to
where it is wanted. A header is believed only after its size was compared with that of the file, so
that a corrupt one cannot exhaust the memory.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from nibabel.spatialimages import HeaderDataError

from qsmbids.core.maths.axis_order import in_c_order
from qsmbids.core.maths.head_size import length_scale
from qsmbids.errors import InputError, SeveralVolumesError
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.orientation import CONVERT, scanner_affine
from qsmbids.io.write import write_json, write_text, write_volume

__all__ = [
    "Echoes",
    "Header",
    "Stored",
    "Volume",
    "check_matrix",
    "read_echoes",
    "read_header",
    "read_stored",
    "read_volume",
    "write_json",
    "write_text",
    "write_volume",
]

#: No single volume of a head is larger; a header that says so is corrupt.
MAX_BYTES = 8 * 2**30

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # window bits by which zlib reads and writes the gzip container
#: What is read at a time of a file that is not compressed; slabs of few planes take longer.
_SLAB_BYTES = 2**25
_DEFLATE_MAX_RATIO = 1032  # of the format: a volume larger than this cannot be in the file
_DAMAGED = "Copy or convert the file again; 'gzip -t FILE' tells whether it is intact."
#: By how much the square of a rotation's quaternion may be larger than 1, as some tools round it.
_QUATERNION_SLACK = 1e-5


class Header(NamedTuple):
    """What a NIfTI header says about one volume."""

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]  #: (4, 4), voxel to scanner RAS+ [mm]
    voxel_size: tuple[float, float, float]  #: [mm], of the affine
    dtype: np.dtype
    affine_source: str  #: "sform", "qform", or "none" when the orientation is not known
    affine_doubt: str  #: what speaks against the affine; "" where nothing does
    #: sform that leads elsewhere than to the scanner, and its code; viewers show the image there
    aligned: tuple[npt.NDArray[np.float64], int] | None
    zooms: tuple[float, float, float]  #: pixdim, which may contradict the affine
    slope: float
    inter: float
    offset: int  #: bytes before the first voxel
    n_bytes: int  #: bytes of all voxels


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
        return _triple(np.divide(self.voxel_size, self.length_scale))


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


def read_header(path: str | Path) -> Header:
    """Read the header of one volume without its voxels.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file; a 4-D file must hold one volume.

    Returns
    -------
    Header

    Raises
    ------
    InputError
        The file is missing, no NIfTI, not one volume, or its header is corrupt.
    """
    path = Path(path)
    with _opened(path) as file:
        return _parse(path, file)


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
    with _opened(path) as file:
        header = _parse(path, file)
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
    with _opened(path) as file:
        header = _parse(path, file)
        return Stored(_voxels(path, file, header), header)


def check_matrix(path: str | Path, header: Header, first: str | Path, of_first: Header) -> None:
    """Refuse an echo with another matrix than the first.

    Raises
    ------
    InputError
        The shapes differ.
    """
    if header.shape != of_first.shape:
        raise InputError(
            f"has the shape {header.shape}, but {Path(first).name} has {of_first.shape}",
            str(path),
            "Export all echoes with the same matrix.",
        )


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
        with _opened(files[index]) as file:
            _read_into(files[index], file, headers[index], echoes[index])

    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        list(pool.map(load, range(len(headers))))
    return Echoes(echoes, headers[0].affine)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; say what to do when that, or reading, fails."""
    raise_if_not_fetched(path)
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("does not exist", str(path), "Check the path and the bind mounts.")
    if isinstance(error, IsADirectoryError):
        return InputError("is a folder, not an image", str(path), "Name a .nii or .nii.gz file.")
    if isinstance(error, PermissionError):
        return InputError("may not be read", str(path), "Check the permissions of the file.")
    return InputError(f"cannot be read ({error.strerror})", str(path), "Check the file system.")


def _parse(path: Path, file: BinaryIO) -> Header:
    """Check a header against the size of its file, and keep what is used of it."""
    file_size = file.seek(0, io.SEEK_END)
    header = _nifti_header(path, file)
    shape = _shape(path, header)
    dtype = _data_type(path, header)
    n_bytes = shape[0] * shape[1] * shape[2] * dtype.itemsize
    offset = float(header["vox_offset"])
    if n_bytes > MAX_BYTES or not 0 <= offset < 2**31:
        raise InputError(
            f"has a corrupt header ({n_bytes / 2**30:.3g} GiB of voxels from byte {offset:.0f})",
            str(path),
            _DAMAGED,
        )
    if offset + n_bytes > file_size * (_DEFLATE_MAX_RATIO if _is_gzip(file) else 1):
        raise _truncated(path)
    affine, source, doubt = scanner_affine(path, header)
    beside = None
    if source == "qform" and header["sform_code"] > 0:
        beside = np.asarray(header.get_sform(), dtype=np.float64), int(header["sform_code"])
    zooms = np.abs(header["pixdim"][1:4].astype(float))
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # float32 columns give 0.9999999; the pixdim is the rounder number where both agree
    lengths = np.where(np.isclose(lengths, zooms, rtol=1e-3, atol=0), zooms, lengths).round(6)
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0:  # by the standard, the data are not scaled
        slope, inter = 1.0, 0.0
    return Header(
        shape=shape,
        affine=affine,
        voxel_size=_triple(lengths),
        dtype=dtype,
        affine_source=source,
        affine_doubt=doubt,
        aligned=beside,
        zooms=_triple(zooms),
        slope=slope,
        inter=inter if np.isfinite(inter) else 0.0,
        offset=int(offset),
        n_bytes=n_bytes,
    )


def _truncated(path: Path) -> InputError:
    return InputError("is truncated: its header promises more voxels", str(path), _DAMAGED)


def _is_gzip(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(2) == _GZIP_MAGIC


def _nifti_header(path: Path, file: BinaryIO) -> Any:
    """Return the header as nibabel's class for NIfTI-1 or -2, in the byte order of the file."""
    gzipped = _is_gzip(file)
    file.seek(0)
    start = file.read(16384)
    try:
        head = isal_zlib.decompressobj(_GZIP).decompress(start, 1024) if gzipped else start
    except isal_zlib.error as error:  # type: ignore[misc]
        raise InputError("is no intact gzip file", str(path), _DAMAGED) from error
    if not head:
        raise InputError("is empty", str(path), _DAMAGED)
    for size, magic_at, kind in ((348, 344, nib.Nifti1Header), (540, 4, nib.Nifti2Header)):
        if size in (int.from_bytes(head[:4], order) for order in ("little", "big")):
            if len(head) < size:
                raise InputError("is truncated within the header", str(path), _DAMAGED)
            if head[magic_at : magic_at + 3] not in (b"n+1", b"n+2"):
                raise InputError(
                    "is no single-file NIfTI (Analyze or a .hdr/.img pair)", str(path), CONVERT
                )
            header = kind(head[:size], check=False)
            header.quaternion_threshold = -_QUATERNION_SLACK
            return header
    raise InputError("is not a NIfTI file", str(path), CONVERT)


def _shape(path: Path, header: Any) -> tuple[int, int, int]:
    """Return the shape of the one volume that a file may hold."""
    dim = [int(n) for n in header["dim"]]
    n_dim, sizes = dim[0], dim[1:]
    if not 1 <= n_dim <= 7 or min(sizes[:n_dim]) < 0:
        raise InputError("has a corrupt header (dimensions)", str(path), _DAMAGED)
    if n_dim < 3 or 0 in sizes[:n_dim]:
        raise InputError(
            f"has the shape {tuple(sizes[:n_dim])}, which is not a volume", str(path), CONVERT
        )
    if any(n > 1 for n in sizes[3:n_dim]):
        raise SeveralVolumesError(
            f"holds several volumes, its shape is {tuple(sizes[:n_dim])}",
            str(path),
            "If these are receive coils, combine them first, with their phase: by the scanner, "
            "MCPC-3D-S or ASPIRE. If they are repetitions or echoes, BIDS wants one 3-D file for "
            "each, named run-1, run-2 or echo-1, echo-2 and so on; 'fslsplit' splits them.",
        )
    return sizes[0], sizes[1], sizes[2]


def _data_type(path: Path, header: Any) -> np.dtype:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise InputError("has an unknown data type", str(path), CONVERT) from error
    if dtype.kind not in "iuf":
        raise InputError(
            f"holds {'complex' if dtype.kind == 'c' else 'colour'} values",
            str(path),
            "Export magnitude and phase as separate, real-valued images.",
        )
    return dtype


def _voxels(path: Path, file: BinaryIO, header: Header) -> npt.NDArray:
    """Return the stored voxels, (X, Y, Z) in Fortran order."""
    end = header.offset + header.n_bytes
    gzipped = _is_gzip(file)
    file.seek(0)
    content = _gunzip(path, file.read(), end) if gzipped else file.read(end)
    if len(content) < end:
        raise _truncated(path)
    count = header.n_bytes // header.dtype.itemsize
    flat = np.frombuffer(content, header.dtype, count, header.offset)
    return flat.reshape(header.shape, order="F")


def _read_into(path: Path, file: BinaryIO, header: Header, out: npt.NDArray) -> None:
    """Fill an array in C order; without a second volume in memory if there is no compression."""
    if _is_gzip(file):
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
            raise _truncated(path)
        slab = np.frombuffer(part, header.dtype).reshape((x, y, -1), order="F")
        _scaled(slab, header, out.dtype, out[..., here])


def _gunzip(path: Path, packed: bytes, size: int) -> bytes:
    """Decompress at most ``size`` bytes and verify the checksum of what ends there."""
    parts: list[bytes] = []
    missing = size
    while packed and missing > 0:  # one turn, unless the file is a chain of gzip members
        member = isal_zlib.decompressobj(_GZIP)
        try:
            # one byte more than wanted makes it read on to the checksum
            parts.append(member.decompress(packed, missing + 1))
        except isal_zlib.error as error:  # type: ignore[misc]  # no stubs
            raise InputError("is damaged (gzip checksum or data)", str(path), _DAMAGED) from error
        missing -= len(parts[-1])
        if not member.eof:
            if missing < 0:  # there is more in the file than the volume needs
                break
            raise InputError("is truncated: the gzip data end too early", str(path), _DAMAGED)
        packed = member.unused_data
        if not packed.startswith(_GZIP_MAGIC):  # padding, as tapes add it
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


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
