"""Loops are compiled ahead of the steps, not beside them, and only where there are none."""

import copy
import importlib
import os
import sys
import threading
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from qsmbids.config import load_settings
from qsmbids.core.field import romeo
from qsmbids.io.compiling import FOLDER, QUEUES, ahead_of_step, loops_of
from qsmbids.methods.dipole_inversion import INVERSION
from qsmbids.workflows import compiling


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def test_a_step_waits_for_who_is_ahead(folder):
    told = []

    def step():
        with loops_of("inversion"):
            told.append("step")

    with ahead_of_step("inversion") as in_time:
        assert in_time
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        with loops_of("unwrapping"):  # of other loops
            told.append("compiled")
    thread.join(10)
    assert told == ["compiled", "step"]


def test_a_step_does_not_wait_for_ever_for_who_gets_no_processor(folder, monkeypatch):
    monkeypatch.setattr("qsmbids.io.compiling.LONGEST_WAIT", 0.1)
    told = []

    def step():
        with loops_of("inversion"):
            told.append("compiled by the step")

    with ahead_of_step("inversion"):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(10)
        assert told == ["compiled by the step"]


def test_who_is_late_leaves_the_loops_to_the_step(folder):
    with loops_of("inversion"), loops_of("inversion"):  # of two runs at a time
        with ahead_of_step("inversion") as in_time:
            assert not in_time
        with ahead_of_step("unwrapping") as in_time:
            assert in_time


def test_nobody_waits_where_nothing_is_ahead(folder, monkeypatch):
    folder.rmdir()
    with loops_of("inversion"), ahead_of_step("inversion") as in_time:
        assert not in_time
    monkeypatch.delenv(FOLDER)
    with loops_of("inversion"), ahead_of_step("inversion") as in_time:
        assert not in_time


def test_only_loops_as_they_are_now_count(tmp_path, monkeypatch):
    monkeypatch.setattr(romeo._grow, "_cache", SimpleNamespace(cache_path=str(tmp_path)))
    assert not compiling.is_compiled("field.romeo:_grow")
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    index = tmp_path / f"romeo._grow-266.{version}.nbi"
    index.touch()
    assert compiling.is_compiled("field.romeo:_grow")
    os.utime(index, (1e9, 1e9))  # of the release before
    assert not compiling.is_compiled("field.romeo:_grow")


@pytest.mark.parametrize("method", sorted(INVERSION))
def test_every_inversion_has_its_loops_called(folder, monkeypatch, method):
    settings = load_settings("consensus-fansi", None, {"dipole_inversion": {"method": method}})
    called = []
    monkeypatch.setattr(compiling, "is_compiled", lambda loop: called.append(loop) or True)
    compiling.compile_ahead(settings, list(compiling._parts(settings)))
    own = [loop for loop in called if loop.startswith("inversion")]
    assert len(own) <= 1
    compiling._inversion(settings)  # raises nothing
    for loop in own:
        module, name = loop.split(":")
        loops = importlib.import_module(f"qsmbids.core.{module}")
        assert getattr(loops, name).signatures


def test_every_part_calls_the_loop_that_it_is_known_by(folder):
    settings = load_settings("consensus-fansi", None, {})
    parts = compiling._parts(settings)
    assert sorted(parts) == sorted(part for queue in QUEUES for part in queue)
    for loop, call in parts.values():
        call(settings)  # raises nothing
        module, name = loop.split(":")
        assert getattr(importlib.import_module(f"qsmbids.core.{module}"), name).signatures


def test_the_coarse_template_lies_on_itself(folder):
    """Else nothing after the fit is called, and its loops stay to be compiled."""
    *_, fit = compiling._registered()
    assert fit.usable


def test_the_coarse_template_is_registered_once_and_stays_as_it_is(folder, monkeypatch):
    called = []
    register = compiling.register
    monkeypatch.setattr(
        compiling, "register", lambda *args, **looks: called.append(1) or register(*args, **looks)
    )
    compiling._registered.cache_clear()
    settings = load_settings("consensus-fansi", None, {})
    before = copy.deepcopy(compiling._registered())
    compiling._guide(settings)
    compiling._regions(settings)
    assert len(called) == 1
    np.testing.assert_equal(_numbers(compiling._registered()), _numbers(before))


def _numbers(registered):
    template, *volumes, fit = registered
    return [template._asdict(), *volumes, asdict(fit)]
