"""What the page of a run shows and can be drawn before its last steps have ended."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

__all__ = ["Drawn", "stamp"]


class Drawn:
    """Drawings by all that they show: what has changed since is drawn again."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def once(self, shown: Hashable, draw: Callable[[], Any]) -> Any:
        """Return the drawing of something, made at the first time of asking."""
        if shown not in self._made:
            self._made[shown] = draw()
        return self._made[shown]


def stamp(path: Path) -> Hashable:
    """Return what tells a file from another one, and from what it was before."""
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size
