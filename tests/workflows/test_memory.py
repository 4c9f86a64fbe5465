"""Memory that workers keep within a step, counted by the system itself."""

import subprocess
import sys

import pytest

from qsmbids.workflows import memory

pytestmark = pytest.mark.skipif(memory._gnu_libc() is None, reason="needs the GNU C library")

_COUNT = """
import resource, sys
import numpy as np
from qsmbids.workflows.memory import give_back_memory, keep_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

if sys.argv[1] == "kept":
    keep_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):  # 80 MB each
    np.ones(10_000_000)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
volumes = [np.ones(10_000_000) for _ in range(5)]
del volumes
full = resident()
give_back_memory()
print(faults, full, resident())
"""


def counted(kept: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT, kept], check=True, capture_output=True, text=True
    )
    return [int(word) for word in done.stdout.split()]


def test_freed_volumes_are_used_again_and_given_back_at_the_end():
    (faults, full, after), (plain_faults, *_) = counted("kept"), counted("plain")
    assert faults < 0.2 * plain_faults
    assert full > 400e6  # five volumes, freed
    assert after < full - 300e6


def test_without_the_gnu_library_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory._gnu_libc() is None
    memory.keep_memory()
    memory.give_back_memory()
