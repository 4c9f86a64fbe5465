"""What a person and a log file are told."""

import io
import logging
import time
from types import SimpleNamespace

import pytest

from qsmbids.cli.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def _node(step, decisions=(), warnings=()):
    said = {"decisions": list(decisions), "warnings": list(warnings), "metadata": {}}
    result = SimpleNamespace(outputs=SimpleNamespace(record=said))
    return SimpleNamespace(name=step, _hierarchy="qsmbids_wf.sub_01_wf", result=result)


@pytest.fixture
def log(caplog):
    logger = logging.getLogger("qsmbids")
    logger.propagate = True
    caplog.set_level(logging.DEBUG, "qsmbids")
    return caplog


def test_a_log_gets_plain_lines(log):
    stream = io.StringIO()
    with Progress({"sub_01_wf": "sub-01"}, stream) as progress:
        progress(_node("mask1"), "start")
        progress(_node("mask1", ["Mask 1: 1500 ml"], ["look at it"]), "end")
        progress(_node("save_chi"), "start")
        progress(_node("save_chi"), "end")
    assert stream.getvalue() == ""
    text = log.text
    assert "sub-01  Mask 1, brain ..." in text
    assert "Mask 1, brain: done in 0.0 s" in text
    assert "Mask 1: 1500 ml" in text
    assert [r.levelname for r in log.records if "look at it" in r.message] == ["WARNING"]


def test_a_person_sees_the_step_and_the_time(log):
    stream = _Terminal()
    with Progress({"sub_01_wf": "sub-01"}, stream) as progress:
        progress(_node("invert_dipole_field"), "start")
        time.sleep(0.7)
    assert "sub-01: dipole inversion" in stream.getvalue()
    assert "[00:00]" in stream.getvalue()


def test_a_failure_is_an_error(log):
    with Progress({"sub_01_wf": "sub-01"}, io.StringIO()) as progress:
        progress(_node("mask1"), "start")
        progress(_node("mask1"), "exception")
    assert [r.levelname for r in log.records if "FAILED" in r.message] == ["ERROR"]
