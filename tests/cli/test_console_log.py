"""The log file never speaks for itself."""

import logging

from qsmbids.cli.console import LogFile


def test_a_full_disk_under_the_log_prints_no_traceback(tmp_path, capfd):
    handler = LogFile(tmp_path / "qsmbids.log", encoding="utf-8")

    def full(_):
        raise OSError(28, "No space left on device")

    handler.stream.close()
    handler.stream = type("Full", (), {"write": staticmethod(full), "flush": lambda _: None})()
    handler.emit(logging.LogRecord("qsmbids", logging.INFO, __file__, 1, "said", (), None))
    assert capfd.readouterr() == ("", "")
