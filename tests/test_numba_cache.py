"""The compiled loops of a read-only installation are found, and nobody else's are."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qsmbids import numba_cache

LOOP = """
import numba
@numba.njit(cache=True)
def double(x):
    return 2 * x
"""
# not by permissions: they do not stop root
READ_ONLY = """
from numba.core import caching
ensure = caching._CacheLocator.ensure_cache_path
def refuse(self):
    if self.get_cache_path().startswith({folder!r}):
        raise OSError(30, "Read-only file system")
    ensure(self)
caching._CacheLocator.ensure_cache_path = refuse
"""
SAVED, LOADED = "data saved to", "data loaded from"


@pytest.fixture
def call(tmp_path):
    """Double a number in a fresh process; returns what numba says of its cache."""
    (tmp_path / "loop.py").write_text(LOOP)
    (tmp_path / "temporary").mkdir()

    def run(number: str, cache: Path, *, read_only: bool) -> str:
        environment = {
            **os.environ,
            "NUMBA_DEBUG_CACHE": "1",
            "NUMBA_CACHE_DIR": str(cache),
            "NUMBA_CACHE_LOCATOR_CLASSES": "qsmbids.numba_cache.ShippedCacheLocator",
            "TMPDIR": str(tmp_path / "temporary"),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        }
        code = READ_ONLY.format(folder=str(cache)) if read_only else ""
        code += f"\nimport loop\nassert loop.double({number}) == 2 * {number}"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _contents(folder):
    return {f: f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.slow
def test_shipped_loops_are_used_where_nothing_can_be_written(call, tmp_path):
    shipped = tmp_path / "shipped"
    assert SAVED in call("2", shipped, read_only=False)
    before = _contents(shipped)
    assert len(before) == 2
    said = call("2", shipped, read_only=True)
    assert LOADED in said
    assert SAVED not in said
    # for other arguments it is compiled once, and kept elsewhere
    assert SAVED in call("2.5", shipped, read_only=True)
    said = call("2.5", shipped, read_only=True)
    assert LOADED in said
    assert SAVED not in said
    assert _contents(shipped) == before


def test_a_cache_that_can_be_written_is_used_as_numba_does(call, tmp_path):
    call("2", tmp_path / "mine", read_only=False)
    assert LOADED in call("2", tmp_path / "mine", read_only=False)
    assert not list((tmp_path / "temporary").iterdir())


def test_an_open_folder_of_that_name_is_not_trusted(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    assert numba_cache._private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert numba_cache._private(folder)
    folder.chmod(0o777)
    assert not numba_cache._private(folder)
    folder.chmod(0o700)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert not numba_cache._private(folder)


def test_a_link_is_not_trusted(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    assert not numba_cache._private(tmp_path / "link")


def test_links_go_to_a_new_folder_where_the_usual_one_is_not_trusted(tmp_path, monkeypatch):
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "loop.nbi").write_bytes(b"index")
    monkeypatch.setattr(numba_cache.tempfile, "tempdir", str(tmp_path))
    usual = numba_cache._linked(tmp_path / "shipped")
    assert (usual / "loop.nbi").read_bytes() == b"index"
    usual.parent.chmod(0o777)
    other = numba_cache._linked(tmp_path / "shipped")
    assert other.parent != usual.parent
    assert (other / "loop.nbi").read_bytes() == b"index"
