"""Memory that a worker keeps between the volumes of a step, and gives back after it.

The C library asks the system for fresh pages for every array above 32 MB and returns them when
the array goes; to touch them takes longer than most loops over them, on virtual machines above
all. So a worker keeps what a step has freed for the step's next array, and gives it back when the
step has ended if it is much: other steps want it then. Only the GNU C library can do this;
elsewhere nothing changes but the time.
"""

import ctypes
import sys
from typing import Any

__all__ = ["give_back_memory", "keep_memory"]

#: Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
#: What a worker may keep when it has nothing to do [bytes].
_KEPT = 2**26


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def keep_memory() -> None:
    """Let this process use freed memory again instead of returning it to the system."""
    libc = _gnu_libc()
    if libc is not None:
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, ctypes.c_int(2**31 - 1))


def give_back_memory() -> None:
    """Return freed memory to the system if it is much."""
    libc = _gnu_libc()
    if libc is not None and libc.mallinfo2().fordblks > _KEPT:
        libc.malloc_trim(0)


def _gnu_libc() -> Any:
    """Return the C library if it has what is needed here, else None."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    if not all(hasattr(libc, name) for name in ("mallopt", "malloc_trim", "mallinfo2")):
        return None
    libc.mallinfo2.restype = _Mallinfo2
    return libc
