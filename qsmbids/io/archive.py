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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from qsmbids.errors import InputError, OutputError
from qsmbids.io.write import require_space

__all__ = [
    "ARCHIVE_SUFFIXES",
    "DAMAGED",
    "copy_within",
    "extract",
    "is_archive",
    "open_zip",
    "safe_members",
    "unpack",
]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_FILES = 500_000
MAX_BYTES = 64 * 2**30
FIX = "Unpack it yourself, check what it holds, and give the folder instead."
#: What the libraries raise when the content of an archive is not what it should be.
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
)
_BLOCK = 1 << 20


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
        if isinstance(error, (*DAMAGED, RuntimeError, ValueError)):
            raise InputError(f"is damaged or encrypted ({error})", where, FIX) from error
        if isinstance(error, OSError):
            raise InputError(f"cannot be unpacked ({error.strerror or error})", where) from error
        raise
    return folder


def _write_members(archive: Path, folder: Path, max_files: int, max_bytes: int) -> None:
    left = max_bytes
    with _opened(archive) as members:
        for count, member in enumerate(members):
            if count >= max_files:
                raise InputError(f"holds more than {max_files} files", archive.name, FIX)
            target = folder / _safe_path(member.name, member.kind, archive.name)
            if member.kind == "folder":
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise InputError(f"holds {member.name!r} twice", archive.name, FIX)
            with target.open("xb") as file:
                if member.content is not None:
                    left = copy_within(member.content, file, left)
            if left < 0:
                size = f"{max_bytes / 2**30:.3g} GiB"
                raise InputError(f"unpacks to more than {size}", archive.name, FIX)


def copy_within(source: IO[bytes] | gzip.GzipFile, target: IO[bytes], left: int) -> int:
    """Copy a stream, and return how many bytes may follow; stop where that is less than none."""
    while left >= 0 and (block := source.read(_BLOCK)):
        left -= len(block)
        if left >= 0:
            target.write(block)
    return left


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive; what is none is an InputError."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"is not a zip archive ({error})", str(path)) from error


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
            raise InputError("is encrypted", where, FIX)
    return [info for info in members if not info.is_dir()]


def extract(
    archive: zipfile.ZipFile, plan: Mapping[str, zipfile.ZipInfo], dest: Path
) -> list[Path]:
    """Write members as the files of ``plan`` below ``dest``; nothing is overwritten.

    Returns
    -------
    list of Path
        What was written; a file that is there already with the same content is not.

    Raises
    ------
    OutputError
        A file exists with other content, or cannot be written.
    InputError
        The archive is damaged.
    """
    missing = {}
    for target, member in plan.items():
        if not (dest / target).exists():
            missing[dest / target] = member
        elif not _is_member(dest / target, member):
            raise OutputError(
                "exists with other content", str(dest / target), "Choose an empty folder."
            )
    require_space(sum(m.file_size for m in missing.values()), dest)
    for path, member in missing.items():
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, part.open("wb") as stream:
                shutil.copyfileobj(source, stream, _BLOCK)
            part.replace(path)
        except DAMAGED as error:
            raise InputError(f"is damaged ({error})", str(archive.filename)) from error
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", str(path)) from error
        finally:
            part.unlink(missing_ok=True)
    return list(missing)


def _is_member(path: Path, member: zipfile.ZipInfo) -> bool:
    if path.stat().st_size != member.file_size:
        return False
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum == member.CRC


def _safe_path(name: str, kind: str, archive: str) -> Path:
    """Return where a member goes within the folder; refuse what would leave it, and links."""
    if kind not in ("file", "folder"):
        raise InputError(f"holds {kind}: {name!r}", archive, FIX)
    plain = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in plain.parts if part != "."]
    outside = plain.is_absolute() or ".." in parts or (parts and parts[0].endswith(":"))
    if outside or not name.isprintable() or any(len(os.fsencode(p)) > 255 for p in parts):
        raise InputError(f"holds a member with an unsafe name: {name!r}", archive, FIX)
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
