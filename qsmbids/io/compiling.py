"""Which process compiles the loops of a step: that of the step, or one that is ahead of it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["FOLDER", "QUEUES", "ahead_of_step", "loops_of"]

#: Where the processes of a call see what is being compiled; not set where nothing is ahead.
FOLDER = "QSMBIDS_COMPILING"

#: Parts of a run that wait for their loops, for processes side by side: the first two steps that
#: wait follow each other at once, and all else waits for them.
QUEUES = (("brain", "unwrapping", "inversion"), ("guide", "regions"))

#: Who compiles ahead takes what is idle of a processor; where others leave nothing idle, a step
#: compiles its loops itself after so long [s]: twice what those of the inversion take.
LONGEST_WAIT = 15.0


@contextlib.contextmanager
def loops_of(part: str) -> Iterator[None]:
    """Run what needs some loops, after who compiles them ahead is done with them, or is slow."""
    end = time.monotonic() + LONGEST_WAIT
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            if folder := os.environ.get(FOLDER):
                file = stack.enter_context((Path(folder) / part).open("a"))
                while not _shared(file) and time.monotonic() < end:
                    time.sleep(0.02)
        yield


def _shared(file: IO[str]) -> bool:
    """Take a lock that others may have, too; tell whether nobody had it alone."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
