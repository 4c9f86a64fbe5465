"""The log file never speaks for itself, and signals end a command in one line."""

import logging
import os
import signal

import pytest

from qsmbids.cli.console import LogFile, guarded


def test_a_full_disk_under_the_log_prints_no_traceback(tmp_path, capfd):
    handler = LogFile(tmp_path / "qsmbids.log", encoding="utf-8")

    def full(_):
        raise OSError(28, "No space left on device")

    handler.stream.close()
    handler.stream = type("Full", (), {"write": staticmethod(full), "flush": lambda _: None})()
    handler.emit(logging.LogRecord("qsmbids", logging.INFO, __file__, 1, "said", (), None))
    assert capfd.readouterr() == ("", "")


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def signal_number(request):
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def _signalled(number):
    os.kill(os.getpid(), number)
    return 0


def test_a_signal_ends_a_command_in_one_line(signal_number, capfd):
    signal.signal(signal_number, signal.SIG_DFL)
    code = guarded("program", lambda: _signalled(signal_number), "nothing was begun")
    assert code == 128 + signal_number
    said = capfd.readouterr().out
    assert said.endswith(f"; nothing was begun (exit code {code})\n")
    assert signal.getsignal(signal_number) == signal.SIG_DFL


def test_a_signal_that_a_background_job_ignores_stays_ignored(signal_number, capfd):
    signal.signal(signal_number, signal.SIG_IGN)
    assert guarded("program", lambda: _signalled(signal_number), "nothing was begun") == 0
    assert capfd.readouterr().out == ""
    assert signal.getsignal(signal_number) == signal.SIG_IGN
