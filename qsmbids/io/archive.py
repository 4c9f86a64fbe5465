"""Unpack archives that somebody else made: no member leaves the folder, none is a link.

The sizes that an archive states are not believed; what is written is counted.
"""

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from qsmbids.errors import InputError

__all__ = [
    "ARCHIVE_SUFFIXES",
    "is_archive",
    "is_gzipped_dicom",
    "safe_members",
    "unpack",
    "unpack_gzipped",
]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_FILES = 500_000
MAX_BYTES = 64 * 2**30
_BLOCK = 1 << 20
_FIX = "Unpack it yourself, check what it holds, and give the folder instead."
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    UnicodeError,
)


class _Member(NamedTuple):
    """One entry of an archive."""

    name: str
    kind: str  # "file", "folder" or what else it is
    content: IO[bytes] | None


def is_archive(path: str | Path) -> bool:
    """Tell by its name whether a file is an archive that can be unpacked."""
    return Path(path).name.lower().endswith(ARCHIVE_SUFFIXES) and Path(path).is_file()


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    max_files: int = MAX_FILES,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Unpack a zip or tar archive into a new folder.

    Parameters
    ----------
    archive : path
        ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
    folder : path
        Made; must not exist. Removed again when the archive is refused.
    max_files, max_bytes : int
        Most files, and most bytes after unpacking.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        The archive is damaged, encrypted or too large, or has a member that is a link or a
        device, leaves the folder or appears twice.
    """
    archive, folder = Path(archive), Path(folder)
    where = archive.name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot be unpacked ({error.strerror})", where) from error
    try:
        _write_members(archive, folder, max_files, max_bytes)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, _DAMAGED):
            raise InputError(f"is damaged or encrypted ({error})", where, _FIX) from error
        if isinstance(error, OSError):
            raise InputError(f"cannot be unpacked ({error.strerror or error})", where) from error
        raise
    return folder


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
        raise InputError(f"are more than {max_files} files", "the .gz files", _FIX)
    left, n_damaged = max_bytes, 0
    try:
        folder.mkdir(parents=True)
        for number, path in enumerate(paths):
            target = folder / f"{number:06d}.dcm"
            try:
                with target.open("xb") as file:
                    left = _gunzip(path, file, left, max_bytes)
            except (gzip.BadGzipFile, EOFError, zlib.error):
                target.unlink()
                n_damaged += 1
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(
            f"cannot be unpacked ({error.strerror or error})", "the .gz files"
        ) from error
    return folder, n_damaged


def _gunzip(path: Path, file: IO[bytes], left: int, max_bytes: int) -> int:
    """Unpack one file and return how many bytes may follow."""
    with gzip.open(path) as packed:
        while block := packed.read(_BLOCK):
            left -= len(block)
            if left < 0:
                size = f"{max_bytes / 2**30:.3g} GiB"
                raise InputError(f"unpack to more than {size}", "the .gz files", _FIX)
            file.write(block)
    return left


def _write_members(archive: Path, folder: Path, max_files: int, max_bytes: int) -> None:
    left = max_bytes
    with _opened(archive) as members:
        for count, member in enumerate(members):
            if count >= max_files:
                raise InputError(f"holds more than {max_files} files", archive.name, _FIX)
            target = folder / _safe_path(member.name, member.kind, archive.name)
            if member.kind == "folder":
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise InputError(f"holds {member.name!r} twice", archive.name, _FIX)
            with target.open("xb") as file:
                while member.content is not None and (block := member.content.read(_BLOCK)):
                    left -= len(block)
                    if left < 0:
                        size = f"{max_bytes / 2**30:.3g} GiB"
                        raise InputError(f"unpacks to more than {size}", archive.name, _FIX)
                    file.write(block)


def safe_members(packed: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of a zip archive, for those who take only some of them.

    Raises
    ------
    InputError
        A member would leave the folder, is a link or a device, or is encrypted.
    """
    where = Path(str(packed.filename)).name
    members = packed.infolist()
    for info in members:
        _safe_path(info.filename, _zip_kind(info), where)
        if info.flag_bits & 1:
            raise InputError("is encrypted", where, _FIX)
    return [info for info in members if not info.is_dir()]


def _safe_path(name: str, kind: str, archive: str) -> Path:
    """Return where a member goes within the folder; refuse what would leave it, and links."""
    if kind not in ("file", "folder"):
        raise InputError(f"holds {kind}: {name!r}", archive, _FIX)
    plain = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in plain.parts if part != "."]
    outside = plain.is_absolute() or ".." in parts or (parts and parts[0].endswith(":"))
    if outside or not name.isprintable() or any(len(os.fsencode(p)) > 255 for p in parts):
        raise InputError(f"holds a member with an unsafe name: {name!r}", archive, _FIX)
    return Path(*parts)


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(packed)
    else:
        with tarfile.open(archive) as packed_tar:
            yield _tar_members(packed_tar)


def _zip_members(packed: zipfile.ZipFile) -> Iterator[_Member]:
    for info in packed.infolist():
        kind = _zip_kind(info)
        if kind == "file":
            with packed.open(info) as content:
                yield _Member(info.filename, kind, content)
        else:
            yield _Member(info.filename, kind, None)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.is_dir():
        return "folder"
    regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
    return "file" if regular else "a link or a device"


def _tar_members(packed: tarfile.TarFile) -> Iterator[_Member]:
    for info in packed:
        if info.isdir():
            yield _Member(info.name, "folder", None)
        elif info.isreg():
            yield _Member(info.name, "file", packed.extractfile(info))
        else:
            yield _Member(info.name, "a link or a device", None)
