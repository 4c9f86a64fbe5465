"""Which process compiles the loops of a step: that of the step, or one that is ahead of it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["FOLDER", "QUEUES", "ahead_of_step", "loops_of"]

#: Where the processes of a call see what is being compiled; not set where nothing is ahead.
FOLDER = "QSMBIDS_COMPILING"

#: Parts of a run that wait for their loops, for processes side by side: the first two steps that
#: wait follow each other at once, and all else waits for them.
QUEUES = (("brain", "unwrapping", "inversion"), ("guide", "regions"))


@contextlib.contextmanager
def loops_of(part: str) -> Iterator[None]:
    """Run what needs some loops, after who compiles them ahead is done with them."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            if folder := os.environ.get(FOLDER):
                file = stack.enter_context((Path(folder) / part).open("a"))
                fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def ahead_of_step(part: str) -> Iterator[bool]:
    """Tell whether there is still time to compile some loops, and let steps wait meanwhile."""
    with contextlib.ExitStack() as stack:
        begun = True
        with contextlib.suppress(OSError, KeyError):
            file = stack.enter_context((Path(os.environ[FOLDER]) / part).open("a"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun = False
        yield not begun
