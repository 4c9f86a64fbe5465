"""Nibabel without pydicom, for a command line that looks at NIfTI images."""

import importlib
import sys

__all__ = ["import_nibabel"]


def import_nibabel() -> None:
    """Import nibabel as it is where pydicom is not installed.

    It would import pydicom, which takes as long as numpy and nibabel together, for header
    extensions that hold DICOM. These stay bytes now, and are written as they were read. There is
    no setting for it, so that pydicom is hidden from Python meanwhile; no other thread may import
    at that time. Whoever imports pydicom afterwards has it. Where either is imported already, as
    in tests, nothing is hidden.
    """
    if "pydicom" in sys.modules or "nibabel" in sys.modules:
        return
    sys.modules["pydicom"] = None  # type: ignore[assignment]  # by which an import fails
    try:
        importlib.import_module("nibabel")
    finally:
        del sys.modules["pydicom"]
