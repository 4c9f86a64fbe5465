"""Compiled loops that were shipped with an installation nobody may write to.

Numba uses a cache only where it can write, and fails where there is no such place. An image has
its loops compiled already, under ``NUMBA_CACHE_DIR``, and is read-only. Where the environment says
``NUMBA_CACHE_LOCATOR_CLASSES=qsmbids.numba_cache.ShippedCacheLocator``, as in our image, the
shipped files are linked into a private temporary folder; a loop compiled for arguments that were
not foreseen is kept beside them.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import UserProvidedCacheLocator

from qsmbids import __version__

__all__ = ["ShippedCacheLocator"]


class ShippedCacheLocator(UserProvidedCacheLocator):
    """Take ``NUMBA_CACHE_DIR`` where it can be written, else a private folder of links to it."""

    @classmethod
    def from_function(
        cls, py_func: Callable[..., Any], py_file: str
    ) -> UserProvidedCacheLocator | None:
        """Return the locator of a function, or None where numba has no cache for it."""
        locator = super().from_function(py_func, py_file)
        if locator is not None or not os.path.exists(py_file):
            return locator
        locator = cls(py_func, py_file)
        locator._cache_path = str(_linked(Path(locator._cache_path)))
        return locator


def _linked(shipped: Path) -> Path:
    """Return a private folder with a link to every file of a shipped one."""
    # the version keeps the links of one image out of another that shares the temporary folder
    root = Path(tempfile.gettempdir()) / f"qsmbids-numba-{os.getuid()}-{__version__}"
    folder = (root if _private(root) else Path(tempfile.mkdtemp("-qsmbids-numba"))) / shipped.name
    folder.mkdir(exist_ok=True, mode=0o700)
    for file in shipped.iterdir() if shipped.is_dir() else ():
        with contextlib.suppress(FileExistsError):  # another process was here
            (folder / file.name).symlink_to(file)
    return folder


def _private(folder: Path) -> bool:
    """Make a folder, and tell whether it is ours alone: what numba loads from it is executed."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return ours and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
