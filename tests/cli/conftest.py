"""Fixtures of the command line tests."""

import pytest


@pytest.fixture
def zenodo(command):
    """Run ``qsmbids-zenodo`` in this process, and see that its last line says the exit code."""
    run = command("zenodo")

    def call(*args):
        code, last, said = run(*args)
        if code != 2:
            assert last.startswith("qsmbids-zenodo: ")
            assert last.endswith(f"(exit code {code})")
        return code, last, said

    return call


@pytest.fixture
def fetched(record, example, zenodo, tmp_path):
    """Publish members as the archive with results, and call the command on them."""

    def call(members, *options, dest=tmp_path / "data"):
        url = record.offer({example.RESULTS: example.zipped(members), example.DICOM: b"x" * 50})
        return (*zenodo(dest, "--record-url", url, *options), dest)

    return call
