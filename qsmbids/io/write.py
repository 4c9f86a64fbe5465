"""Write files atomically, and NIfTI volumes so that the same content gives the same bytes.

Every file is written beside its final name and then moved there: readers never see half a file.
A file whose content would not change is left alone, with its time stamp.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from qsmbids.core.maths.axis_order import in_fortran_order
from qsmbids.errors import OutputError

__all__ = ["require_space", "write_bytes", "write_json", "write_text", "write_volume"]

_GZIP = 31  # window bits by which the gzip container is written
_PACKED = 2  # level, of 0 to 3: as small as zlib's fastest, in a sixth of its time


def write_volume(
    path: str | Path,
    array: npt.NDArray,
    affine: npt.ArrayLike,
    *,
    dtype: npt.DTypeLike | None = None,
    code: int = 1,
    aligned: tuple[npt.NDArray[np.float64], int] | None = None,
) -> Path:
    """Write one volume; the same content gives the same bytes.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``; its folder is made when it is missing.
    array : (X, Y, Z) ndarray
    affine : (4, 4) array_like
        Voxel to scanner RAS+ [mm], stored as sform and qform.
    dtype : dtype, optional
        Default: uint8 for bool, float32 for floats, int32 for 64-bit integers, else unchanged.
    code : int
        NIfTI code of both transforms; 1 is scanner space.
    aligned : tuple of ndarray and int, optional
        Affine and code of an sform that leads elsewhere, as of a source that was aligned to
        another image.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The file cannot be written; no temporary file stays behind.
    """
    import nibabel as nib  # 0.3 s that --help need not wait for

    path = Path(path)
    if array.ndim != 3 or not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"{path.name}: {array.ndim}-D array; 3-D to .nii or .nii.gz is written")
    stored = _on_disk(np.dtype(dtype) if dtype is not None else None, array)
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_qform(np.asarray(affine, dtype=float), code=code)
    header.set_sform(*((np.asarray(affine, dtype=float), code) if aligned is None else aligned))
    header.set_xyzt_units("mm", "sec")
    header["magic"] = b"n+1"
    header["vox_offset"] = 352  # the header and four zero bytes: no extensions
    header["scl_slope"], header["scl_inter"] = 1, 0
    content = [header.binaryblock + bytes(4), stored.T.reshape(-1).view(np.uint8).data]
    if path.name.endswith(".gz"):
        # the gzip container of the library itself holds neither a time nor a file name
        packer = isal_zlib.compressobj(_PACKED, isal_zlib.DEFLATED, _GZIP)
        content = [*(packer.compress(part) for part in content), packer.flush()]
    return write_bytes(path, *content)


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file atomically, with the keys in the order given; see :func:`write_volume`.

    What is not finite becomes null, for JSON has no NaN.
    """
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file (UTF-8) atomically; see :func:`write_volume`."""
    return write_bytes(Path(path), text.encode())


def require_space(size: int, folder: Path) -> None:
    """Raise an OutputError where a disk has no room for so many bytes more."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OutputError(
            f"{size / 1e9:.2f} GB are to come, {free / 1e9:.2f} GB are free",
            str(folder),
            "Make room, or choose another folder; the same command then goes on where it was.",
        )


def _on_disk(dtype: np.dtype | None, array: npt.NDArray) -> npt.NDArray:
    """Return the voxels in the type and the order that they have on disk, little endian."""
    wanted = dtype if dtype is not None else array.dtype
    if wanted.kind == "b":
        wanted = np.dtype(np.uint8)
    elif dtype is None and wanted.kind == "f":
        wanted = np.dtype(np.float32)
    elif dtype is None and wanted.itemsize > 4:
        wanted = np.dtype(np.int32)
    return in_fortran_order(array, wanted.newbyteorder("<"))


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def write_bytes(path: Path, *content: bytes | memoryview) -> Path:
    """Move a complete file into place, unless it already has this content, part after part."""
    temporary = path.with_name(f".{path.name[:120]}.{uuid.uuid4().hex}.tmp")
    try:
        if _has_content(path, content):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.writelines(content)
            os.replace(temporary, path)
        except BaseException:  # also on Ctrl-C: never leave a temporary behind
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error, sum(map(len, content))) from error
    return path


def _has_content(path: Path, content: Sequence[bytes | memoryview]) -> bool:
    try:
        if path.stat().st_size != sum(map(len, content)):
            return False
        with path.open("rb") as file:
            return all(file.read(len(part)) == part for part in content)
    except OSError:  # absent, or not to be read: then write it
        return False


def _unwritable(path: Path, error: OSError, size: int) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = f"It needs {size / 2**20:.1f} MiB; free some space or raise the quota."
        return OutputError("cannot be written, the disk or the quota is full", str(path), fix)
    if error.errno == errno.EROFS:
        fix = "Choose another output folder, or mount it without ':ro'."
        return OutputError("cannot be written, the file system is read-only", str(path), fix)
    if isinstance(error, PermissionError):
        fix = "Check the owner and the permissions of the folder, and the user of the container."
        return OutputError("may not be written", str(path), fix)
    return OutputError(f"cannot be written ({error.strerror})", str(path), "Check the folder.")
