"""An anonymous key that tells scanners of one model apart: a salted digest of their names.

The salt is made once for a dataset and kept out of it, in a folder of the user's own, so that
nobody who has the dataset can try serial numbers until one fits.
"""

import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["SCANNER_KEY", "key_of", "scanner_key", "scanner_keys", "state_folder"]

logger = logging.getLogger("qsmbids")

#: Key of the sidecars.
SCANNER_KEY = "ScannerKey"
#: Where the salts are, instead of the usual place.
STATE_VARIABLE = "QSMBIDS_STATE_DIR"
_NAMES = ("Manufacturer", "ManufacturerModelName", "StationName", "DeviceSerialNumber")
_SALT_BYTES = 32
_DIGITS = 8


def state_folder() -> Path:
    """Return the folder for what is the user's own and belongs into no dataset."""
    if folder := os.environ.get(STATE_VARIABLE):
        return Path(folder)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path("~").expanduser() / ".local" / "state") / "qsmbids"


def scanner_key(salt: bytes, names: Iterable[str]) -> str:
    """Return the key of a scanner, "" where neither station nor serial number is known.

    Parameters
    ----------
    salt : bytes
    names : iterable of str
        Manufacturer, model, station and serial number.

    Examples
    --------
    >>> scanner_key(b"salt", ("Siemens", "Prisma", "", ""))
    ''
    """
    words = [" ".join(name.split()) for name in names]
    if not any(words[2:]):
        return ""
    digest = hmac.new(salt, "\0".join(words).encode(), hashlib.sha256)
    return digest.hexdigest()[:_DIGITS]


def scanner_keys(files: Iterable[Path], root: Path) -> list[str]:
    """Return the key of the scanner of each DICOM file, "" where there is none.

    Parameters
    ----------
    files : iterable of path
        One per series.
    root : Path
        Dataset that the images go into.
    """
    devices = [_names(path) for path in files]
    if not any(any(names[2:]) for names in devices):
        return ["" for _ in devices]
    salt = _salt(root)
    return ["" if salt is None else scanner_key(salt, names) for names in devices]


def key_of(sidecar: Path, key: str) -> str:
    """Return the key that a sidecar has, or lacks, if it is there; else the one that is given.

    A run that is converted again is the same one, whatever became of the salt.
    """
    try:
        content = json.loads(sidecar.read_text("utf-8"))
    except (OSError, ValueError):
        return key
    return str(content.get(SCANNER_KEY, "")) if isinstance(content, dict) else key


def _names(path: Path) -> tuple[str, ...]:
    """Return what names the scanner in a DICOM file."""
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_NAMES))
    except Exception:  # noqa: BLE001 - whatever pydicom makes of a file: the key is no must
        return ("",) * len(_NAMES)
    return tuple(str(header.get(name) or "") for name in _NAMES)


def _salt(root: Path) -> bytes | None:
    """Return the salt of a dataset; None where it cannot be kept, or is kept elsewhere."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]
    path = state_folder() / "salts" / name
    try:
        return bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError):
        pass
    if _has_keys(root):
        logger.warning(
            "the salt of the scanner keys of %s is not on this machine (%s): no key is written,"
            " for another salt would make two scanners of one",
            root,
            path.parent,
        )
        return None
    salt = secrets.token_bytes(_SALT_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # somebody else was faster
        return _read_again(path)
    except OSError as error:
        logger.warning("no scanner key: its salt cannot be kept in %s (%s)", path.parent, error)
        return None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(salt.hex())
    return salt


def _read_again(path: Path) -> bytes | None:
    """Return a salt that another process is just writing."""
    import time

    for _ in range(50):
        try:
            salt = bytes.fromhex(path.read_text("ascii").strip())
        except (OSError, ValueError):
            salt = b""
        if len(salt) == _SALT_BYTES:
            return salt
        time.sleep(0.02)
    return None


def _has_keys(root: Path) -> bool:
    """Return whether a run of the dataset has a key already; the first that tells decides."""
    for pattern in ("sub-*/anat/*.json", "sub-*/ses-*/anat/*.json"):
        for path in root.glob(pattern):
            try:
                content: Any = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(content, dict) and content.get(SCANNER_KEY):
                return True
    return False
