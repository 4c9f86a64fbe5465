"""Imports while this process would do nothing but wait."""

import contextlib
import importlib
import threading
from collections.abc import Iterator

__all__ = ["imported_beside"]


@contextlib.contextmanager
def imported_beside(*modules: str) -> Iterator[None]:
    """Import what is needed after a block in a thread, while the block waits for processes."""

    def load() -> None:
        for name in modules:
            # what cannot be imported fails where it is used, and is reported there
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    yield
    thread.join()
