"""Whether the content of a file is here: DataLad, git-annex and Git LFS leave stand-ins.

A locked file of git-annex whose content is elsewhere is a broken link, an unlocked one a line of
text that names the object; Git LFS leaves a text of three lines.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from qsmbids.errors import NotFetchedError

__all__ = ["raise_if_not_fetched"]

#: Longer files are no stand-ins.
_LONGEST = 4096
_ANNEX = re.compile(rb"\s*(?:/annex/objects/|(?:\.\./)*\.git/annex/objects/)\S+\s*")
_LFS = b"version https://git-lfs.github.com/spec/"
_DATALAD = "Fetch it with 'datalad get' (or 'git annex get')"


def raise_if_not_fetched(paths: Path | Iterable[Path]) -> None:
    """Refuse files that only stand for a content that is elsewhere.

    Raises
    ------
    NotFetchedError
        Of the first one, with the command that fetches it.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        if path.is_symlink() and not path.exists():
            raise NotFetchedError(
                "is a link to a file that is not there and cannot be read",
                str(path),
                f"{_DATALAD} in a DataLad dataset; in a container, bind-mount the folder that the"
                " link points to.",
            )
        try:
            # a device or a pipe has no size and no end
            if not path.is_file() or path.stat().st_size > _LONGEST:
                continue
            with path.open("rb") as file:
                content = file.read(_LONGEST)
        except OSError:  # whoever reads the file says so
            continue
        if _ANNEX.match(content):
            raise NotFetchedError(
                "is a pointer of git-annex, its content is not here", str(path), f"{_DATALAD}."
            )
        if content.startswith(_LFS):
            raise NotFetchedError(
                "is a pointer of Git LFS, its content is not here",
                str(path),
                "Fetch it with 'git lfs pull'.",
            )
