"""Fetch the files of a Zenodo record.

Only the standard library: an interrupted file goes on where it was (HTTP ranges), what arrives is
held against the checksum of the record, and nothing gets its final name before that.
"""

import fcntl
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qsmbids.errors import ConfigError, InputError, OutputError, QSMError
from qsmbids.io.write import require_space

__all__ = [
    "RECORD_URL",
    "DownloadError",
    "RemoteFile",
    "fetch",
    "read_record",
]

#: Example data of the consensus paper, doi:10.5281/zenodo.7410455.
RECORD_URL = "https://zenodo.org/api/records/7410455"

_CHUNK = 1 << 20
_TIMEOUT = 60.0
_LONGEST_WAIT = 60.0
#: Answers after which another attempt can succeed.
_BUSY = {408, 416, 425, 429, 500, 502, 503, 504}
Progress = Callable[[int, int], None]


class DownloadError(QSMError):
    """The server cannot be reached, or what it sends is not what the record says."""


class _RetryError(Exception):
    """One attempt failed; another may succeed, after ``wait`` seconds if the server says so."""

    def __init__(self, reason: str, wait: float = 0.0, restart: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.restart = wait, restart


@dataclass(frozen=True)
class RemoteFile:
    """One file of a record."""

    name: str
    size: int
    md5: str
    url: str


def read_record(
    url: str = RECORD_URL, *, attempts: int = 5, wait: float = 2.0
) -> list[RemoteFile]:
    """Return the files of a Zenodo record.

    Parameters
    ----------
    url : str
        Address of the record in the REST API, or of its page.
    attempts : int
        How often to try while the server does not answer or is busy.
    wait : float
        Pause [s] before the second attempt; doubled before each further one.

    Raises
    ------
    InputError
        The record does not exist, or the answer is not a record with files and checksums.
    DownloadError
        The server cannot be reached.
    ConfigError
        The address is not one of the web.
    """
    url = re.sub(r"(//(?:[a-z]+\.)?zenodo\.org)/records?/(\d+).*", r"\1/api/records/\2", url)

    failures = 0
    while True:
        try:
            text = _read(url)
            break
        except _RetryError as error:
            failures += 1
            _pause(error, url, failures, attempts, wait)
    try:
        return [_remote_file(item) for item in _listed(json.loads(text))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "does not answer with a Zenodo record and its files",
            url,
            "Give the address of the record in the REST API: https://zenodo.org/api/records/<id>.",
        ) from error


def _read(url: str) -> bytes:
    with _open(url, {"Accept": "application/json"}) as answer:
        try:
            return bytes(answer.read(64 * _CHUNK))
        except (OSError, http.client.HTTPException) as error:
            raise _RetryError(_reason(error)) from error


def _listed(record: dict[str, Any]) -> list[dict[str, Any]]:
    files = record.get("files", record)
    if isinstance(files, dict):  # /api/records/<id>/files, and newer answers
        files = files["entries"]
        files = list(files.values()) if isinstance(files, dict) else files
    if not files:
        raise ValueError("no files")
    return list(files)


def _remote_file(item: dict[str, Any]) -> RemoteFile:
    name = str(item.get("key") or item["filename"])
    kind, _, digest = str(item["checksum"]).rpartition(":")
    links = item["links"]
    if name != os.path.basename(name) or name.startswith(".") or "\\" in name:
        raise ValueError("a file name with a folder in it")
    if kind not in ("", "md5") or not re.fullmatch("[0-9a-fA-F]{32}", digest):
        raise ValueError("not an MD5 checksum")
    url = str(links.get("content") or links.get("download") or links["self"])
    return RemoteFile(name, int(item["size"]), digest.lower(), url)


def fetch(
    file: RemoteFile,
    folder: str | Path,
    *,
    attempts: int = 5,
    wait: float = 2.0,
    progress: Progress | None = None,
) -> Path:
    """Return the local copy of a file, downloaded unless it is there with the right checksum.

    Parameters
    ----------
    file : RemoteFile
        From :func:`read_record`.
    folder : path
        Made when missing. While incomplete, the file is called ``<name>.part``; another call goes
        on at its end.
    attempts : int
        How many attempts in a row may fail without a mebibyte of progress.
    wait : float
        Pause [s] after the first failure; doubled after each further one, a minute at most.
    progress : callable, optional
        Called with the number of bytes that are here, and the size.

    Raises
    ------
    DownloadError
        The server cannot be reached, or the checksum is wrong twice.
    InputError
        The file does not exist on the server.
    OutputError
        The file cannot be written, or the disk is too small.
    """
    target = Path(folder) / file.name
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and _md5(target) == file.md5:
            return target
        with part.open("ab") as stream:
            _only_one(stream, part)
            for _ in range(2):  # a wrong checksum may be a broken transfer: start afresh once
                _complete(file, stream, part, attempts, wait, progress)
                if _md5(part) == file.md5:
                    part.replace(target)
                    return target
                stream.truncate(0)
        part.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            str(part),
            "Make room, or choose another folder; the same command then goes on where it was.",
        ) from error
    raise DownloadError(
        f"twice not what the record says (MD5 checksum is not {file.md5})",
        file.url,
        "Try again later; a proxy may be changing what passes through it.",
    )


def _only_one(stream: Any, part: Path) -> None:
    """Keep a second process from writing to the same file."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError("is being downloaded by another process", str(part)) from error


def _complete(
    file: RemoteFile,
    stream: Any,
    part: Path,
    attempts: int,
    wait: float,
    progress: Progress | None,
) -> None:
    """Append to the file until it has its size."""

    def here() -> int:
        stream.flush()
        return os.fstat(stream.fileno()).st_size

    if here() > file.size:
        stream.truncate(0)
    require_space(file.size - here(), part.parent)
    failures = 0
    while (start := here()) < file.size:
        try:
            _transfer(file, stream, start, progress)
            if here() < file.size:
                raise _RetryError(f"the connection ended after {here()} of {file.size} bytes")
        except _RetryError as error:
            failures = 1 if here() - start >= _CHUNK else failures + 1
            if error.restart:
                stream.truncate(0)
            _pause(error, file.url, failures, attempts, wait)


def _transfer(file: RemoteFile, stream: Any, start: int, progress: Progress | None) -> None:
    """Append what one connection brings."""
    with _open(file.url, {"Range": f"bytes={start}-"} if start else {}) as answer:
        resumed = f"bytes {start}-" in str(answer.headers.get("Content-Range", ""))
        if start and not (answer.status == 206 and resumed):
            stream.truncate(0)  # the server sends all of it again
            start = 0
        while start < file.size:
            try:
                block = answer.read(min(_CHUNK, file.size - start))
            except (OSError, http.client.HTTPException) as error:
                raise _RetryError(_reason(error)) from error
            if not block:
                return
            stream.write(block)
            start += len(block)
            if progress is not None:
                progress(start, file.size)


def _open(url: str, headers: dict[str, str]) -> Any:
    """Ask for an address; redirections are followed."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError("is not an address of the web (https://...)", url)
    request = urllib.request.Request(url, headers={"User-Agent": "qsmbids", **headers})  # noqa: S310
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _BUSY:
            after = error.headers.get("Retry-After", "")
            raise _RetryError(
                f"the server says {error.code} {error.reason}",
                wait=float(after) if after.isdigit() else 0.0,
                restart=error.code == 416,  # the range does not fit: another file than before
            ) from error
        raise InputError(
            f"the server says {error.code} {error.reason}",
            url,
            "Check the address of the record.",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _RetryError(_reason(error)) from error


def _pause(error: _RetryError, url: str, failures: int, attempts: int, wait: float) -> None:
    """Wait before the next attempt, longer after each failure, or give up."""
    if failures >= attempts:
        raise DownloadError(
            f"{error} ({attempts} attempts)",
            url,
            "Check the connection; the same command goes on where it was.",
        ) from error
    time.sleep(min(max(wait * 2 ** (failures - 1), error.wait), _LONGEST_WAIT))


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
