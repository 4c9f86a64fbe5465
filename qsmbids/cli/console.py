"""What the commands have in common: log lines, signals, and a last line that tells the truth."""

import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from qsmbids.errors import QSMError
from qsmbids.execution import signals_handled

__all__ = ["LogFile", "Stopped", "end", "guarded", "log_to_console", "raise_if_stopped"]

logger = logging.getLogger("qsmbids")

_INTERNAL_ERROR = 70


class LogFile(logging.FileHandler):
    """A log file that falls silent where it cannot be written, as on a full disk.

    What matters is on the console too, and the logging module would print a traceback there.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing."""


class Stopped(KeyboardInterrupt):
    """The batch system or another process asked this one to end (SIGTERM)."""


def end(program: str, text: str, code: int) -> int:
    """Print the last line, which always agrees with the exit code, and return the code."""
    sys.stderr.flush()
    line = " ".join(text.split())  # one line, whatever a library put into its message
    print(f"{program}: {line} (exit code {code})", flush=True)
    return code


def guarded(program: str, command: Callable[[], int], interrupted: str) -> int:
    """Run a command so that whatever happens ends in one line and the right exit code.

    Parameters
    ----------
    program : str
        Name in front of the last line.
    command : callable
        Returns the exit code.
    interrupted : str
        What an interruption leaves behind.
    """
    try:
        with _signals_stop():
            return command()
    except QSMError as error:
        return end(program, f"error: {error}", error.exit_code)
    except Stopped:
        return end(program, f"stopped by a signal; {interrupted}", 143)
    except KeyboardInterrupt:
        return end(program, f"interrupted; {interrupted}", 130)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return end(program, f"error: {error}", 1)
    except MemoryError:
        return end(program, "error: not enough memory. Give this job more of it", 1)
    except Exception as error:
        logger.debug("internal error", exc_info=True)
        advice = "Run again with -vv and report what it prints"
        return end(
            program, f"internal error: {type(error).__name__}: {error}. {advice}", _INTERNAL_ERROR
        )


def log_to_console(verbosity: int = 0) -> None:
    """Log plain lines to standard error."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.DEBUG if verbosity else logging.INFO)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    logger.propagate = False


#: The signal that arrived, kept because Nipype swallows what is raised inside a step.
_arrived: list[type[KeyboardInterrupt]] = []


def raise_if_stopped() -> None:
    """Raise again what a signal raised."""
    if _arrived:
        raise _arrived[0]


def _signals_stop() -> AbstractContextManager[None]:
    """Turn SIGINT and SIGTERM into exceptions, so that workers and the log end properly.

    One that this process was told to ignore, as a shell does with the SIGINT of its background
    jobs, stays ignored.
    """

    def stop(number: int, _: object) -> None:
        _arrived.append(Stopped if number == signal.SIGTERM else KeyboardInterrupt)
        raise _arrived[0]

    _arrived.clear()
    heeded = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    return signals_handled(dict.fromkeys(heeded, stop))
