"""The header of a NIfTI file: read, and compared with the file before it is believed.

A header that promises more than its file can hold is refused, so that a corrupt one cannot exhaust
the memory. The voxels are read by :mod:`qsmbids.io.nifti`.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from nibabel.spatialimages import HeaderDataError

from qsmbids.errors import InputError, SeveralVolumesError
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.orientation import CONVERT, scanner_affine

__all__ = [
    "DAMAGED",
    "GZIP",
    "GZIP_MAGIC",
    "Header",
    "check_matrix",
    "is_gzip",
    "opened",
    "parse_header",
    "read_header",
    "truncated",
]

#: No single volume of a head is larger; a header that says so is corrupt.
MAX_BYTES = 8 * 2**30

GZIP_MAGIC = b"\x1f\x8b"
GZIP = 31  # window bits by which zlib reads and writes the gzip container
#: How to mend a file that is damaged.
DAMAGED = "Copy or convert the file again; 'gzip -t FILE' tells whether it is intact."

_DEFLATE_MAX_RATIO = 1032  # of the format: a volume larger than this cannot be in the file
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
    with opened(path) as file:
        return parse_header(path, file)


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


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
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


def parse_header(path: Path, file: BinaryIO) -> Header:
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
            DAMAGED,
        )
    if offset + n_bytes > file_size * (_DEFLATE_MAX_RATIO if is_gzip(file) else 1):
        raise truncated(path)
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


def truncated(path: Path) -> InputError:
    """Return the error of a file that ends before its last voxel."""
    return InputError("is truncated: its header promises more voxels", str(path), DAMAGED)


def is_gzip(file: BinaryIO) -> bool:
    """Tell by its first bytes whether a file is compressed; the next read goes on after them."""
    file.seek(0)
    return file.read(2) == GZIP_MAGIC


def _nifti_header(path: Path, file: BinaryIO) -> Any:
    """Return the header as nibabel's class for NIfTI-1 or -2, in the byte order of the file."""
    gzipped = is_gzip(file)
    file.seek(0)
    start = file.read(16384)
    try:
        head = isal_zlib.decompressobj(GZIP).decompress(start, 1024) if gzipped else start
    except isal_zlib.error as error:  # type: ignore[misc]
        raise InputError("is no intact gzip file", str(path), DAMAGED) from error
    if not head:
        raise InputError("is empty", str(path), DAMAGED)
    for size, magic_at, kind in ((348, 344, nib.Nifti1Header), (540, 4, nib.Nifti2Header)):
        if size in (int.from_bytes(head[:4], order) for order in ("little", "big")):
            if len(head) < size:
                raise InputError("is truncated within the header", str(path), DAMAGED)
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
        raise InputError("has a corrupt header (dimensions)", str(path), DAMAGED)
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


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
