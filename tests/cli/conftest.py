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


@pytest.fixture
def zenodo(capfd):
    """Run ``qsmbids-zenodo`` in this process; returns exit code, last line and all output."""
    from qsmbids.cli.zenodo import main

    def call(*args):
        try:
            code = main([str(a) for a in args])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        last = out.strip().splitlines()[-1] if out.strip() else ""
        if code != 2:
            assert last.startswith("qsmbids-zenodo: ")
            assert last.endswith(f"(exit code {code})")
        return code, last, out + err

    return call


@pytest.fixture
def fetched(record, example, zenodo, tmp_path):
    """Publish members as the archive with results, and call the command on them."""

    def call(members, *options, dest=tmp_path / "data"):
        url = record.offer({example.RESULTS: example.zipped(members), example.DICOM: b"x" * 50})
        return (*zenodo(dest, "--record-url", url, *options), dest)

    return call
