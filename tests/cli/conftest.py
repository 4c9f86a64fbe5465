"""Fixtures of the command line tests."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def dicom():
    """Return the module that writes small DICOM series of several vendors."""
    path = Path(__file__).parents[1] / "dicom_fixtures.py"
    spec = importlib.util.spec_from_file_location("dicom_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def convert(capfd):
    """Run ``qsmbids-convert`` in this process; returns exit code, last line and all output."""
    from qsmbids.cli.convert import main

    def call(*args: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main([str(a) for a in args])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        last = out.strip().splitlines()[-1] if out.strip() else ""
        return code, last, out + err

    return call
