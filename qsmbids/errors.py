"""Errors that a user can act on: each says what is wrong, where, and how to fix it."""


class QSMError(Exception):
    """Base of every error that qsmbids raises on purpose.

    Parameters
    ----------
    problem : str
        What is wrong, in one sentence, without a full stop.
    where : str, optional
        The file, option or step that it concerns.
    fix : str, optional
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, where: str = "", fix: str = "") -> None:
        super().__init__(
            problem, where, fix
        )  # all three, so that the error pickles between processes
        self.problem = problem
        self.where = str(where)
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text}. {self.fix}" if self.fix else text


class InputError(QSMError):
    """The input images or the dataset cannot be processed."""

    exit_code = 3


class NotFetchedError(InputError):
    """The content of a file is not on this machine."""


class SeveralVolumesError(InputError):
    """A file holds more volumes than the one that is wanted."""


class MetadataError(InputError):
    """A sidecar lacks or contradicts something that QSM needs."""


class ConfigError(QSMError):
    """An option, preset or configuration file is wrong."""

    exit_code = 2


class OutputError(QSMError):
    """A result cannot be written."""
