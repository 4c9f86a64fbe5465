"""Fixtures of the command line tests."""

import pytest


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
