"""DICOM files that were packed one by one with gzip."""

import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

from qsmbids.errors import InputError
from qsmbids.io.archive import ARCHIVE_SUFFIXES, FIX, MAX_BYTES, MAX_FILES, copy_within

__all__ = ["is_gzipped_dicom", "unpack_gzipped"]


def is_gzipped_dicom(path: str | Path) -> bool:
    """Tell by its name and its first bytes whether a file is one DICOM file, packed by gzip."""
    name = Path(path).name.lower()
    if not name.endswith(".gz") or name.endswith((".nii.gz", *ARCHIVE_SUFFIXES)):
        return False
    if name.endswith((".dcm.gz", ".ima.gz")):
        return Path(path).is_file()
    try:
        with gzip.open(path) as packed:
            return packed.read(132)[128:] == b"DICM"
    except (OSError, EOFError, zlib.error):
        return False


def unpack_gzipped(
    paths: Sequence[Path],
    folder: Path,
    *,
    max_files: int = MAX_FILES,
    max_bytes: int = MAX_BYTES,
) -> tuple[Path, int]:
    """Unpack files that were packed one by one; names do not matter and are not kept.

    Parameters
    ----------
    paths : sequence of Path
    folder : path
        Made; must not exist.
    max_files, max_bytes : int
        Most files, and most bytes after unpacking all of them.

    Returns
    -------
    folder : Path
    n_damaged : int
        Files that are no whole gzip file; they are left out.

    Raises
    ------
    InputError
        There are too many files, they are too large, or cannot be written.
    """
    if len(paths) > max_files:
        raise InputError(f"are more than {max_files} files", "the .gz files", FIX)
    left, n_damaged = max_bytes, 0
    try:
        folder.mkdir(parents=True)
        for number, path in enumerate(paths):
            target = folder / f"{number:06d}.dcm"
            try:
                with gzip.open(path) as packed, target.open("xb") as file:
                    left = copy_within(packed, file, left)
            except (gzip.BadGzipFile, EOFError, zlib.error):
                target.unlink(missing_ok=True)
                n_damaged += 1
            if left < 0:
                size = f"{max_bytes / 2**30:.3g} GiB"
                raise InputError(f"unpack to more than {size}", "the .gz files", FIX)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(
            f"cannot be unpacked ({error.strerror or error})", "the .gz files"
        ) from error
    return folder, n_damaged
