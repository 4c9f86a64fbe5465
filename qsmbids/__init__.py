"""qsmbids: the ISMRM consensus pipeline for quantitative susceptibility mapping as a BIDS App.

``import qsmbids.core`` gives every step as a function on plain arrays.
"""

try:
    from qsmbids._version import __version__
except ImportError:  # a source tree that was never built
    __version__ = "0.0.0+unknown"

__all__ = ["__version__"]
