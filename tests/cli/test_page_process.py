"""Pages of ended runs are made in one process, which lets the steps go first."""

import logging
import os
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from qsmbids.cli.page_process import PageProcess, page_memory_gb


def _make(pages, folder, label):
    return pages.make({"run": label, "status": "failed"}, folder, folder, 0.0)


def test_it_is_one_process_that_lets_others_go_first(tmp_path):
    with PageProcess() as pages:
        made = [_make(pages, tmp_path, f"sub-{n}") for n in range(2)]
        processes = {pages._pool.submit(os.getpid).result() for _ in range(2)}
        niceness = pages._pool.submit(os.nice, 0).result()
    assert [result["report"] for result, _ in made] == ["sub-0.html", "sub-1.html"]
    assert made[0][1] == (logging.INFO, f"report: {tmp_path / 'sub-0.html'}")
    assert (tmp_path / "sub-1.html").read_text().startswith("<!doctype html>")
    assert len(processes) == 1
    assert processes != {os.getpid()}
    assert niceness == min(os.nice(0) + 10, 19)


def test_a_page_that_cannot_be_made_is_an_error_of_its_own(tmp_path):
    with PageProcess() as pages:
        result, (level, text) = _make(pages, tmp_path, "odd")
        assert level == logging.ERROR
        assert result["report_error"] in text
        assert _make(pages, tmp_path, "sub-1")[0]["report"] == "sub-1.html"


def test_at_an_interruption_the_page_under_way_is_not_waited_for(tmp_path):
    pages = PageProcess()
    _make(pages, tmp_path, "sub-0")
    under_way = pages._pool.submit(time.sleep, 60)
    with ThreadPoolExecutor(1) as thread:
        page = thread.submit(_make, pages, tmp_path, "sub-1")
        while not under_way.running():
            time.sleep(0.01)
        pages.kill()
        with pytest.raises((BrokenProcessPool, CancelledError)):
            page.result(30)
    assert not (tmp_path / "sub-1.html").exists()


def test_after_an_interruption_no_process_is_begun(tmp_path):
    pages = PageProcess()
    pages.kill()
    with pytest.raises(RuntimeError):
        _make(pages, tmp_path, "sub-1")
    assert pages._pool is None


def test_one_that_was_never_needed_is_nothing_to_end():
    with PageProcess():
        pass
    PageProcess().kill()


def test_its_memory_grows_with_the_image():
    assert 0.3 <= page_memory_gb(0) < page_memory_gb(10**6) < page_memory_gb(10**7) < 2
