"""What the server of the workers does once, before any is forked from it.

To be imported by that server alone: the import takes two seconds.
"""

import numba

import qsmbids.workflows.base
import qsmbids.workflows.compiling  # noqa: F401

# the first loop of a process, compiled or kept, has numba read its tables of types: 0.2 s each
numba.njit(lambda: None).compile(())
