"""Identifiers of DICOM objects that are the same when the same content is made again."""

import hashlib
import uuid
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["Identifiers"]

#: Of this program; everything else follows from the content.
_NAMESPACE = uuid.UUID("9e6c2b51-3c0b-5d0f-8f0a-6b1f6c0d9a47")


class Identifiers:
    """Identifiers of one series and of what is in it.

    Parameters
    ----------
    *content : str, bytes or ndarray
        All that makes the series what it is: its sources, its values, how it was made. Objects
        with the same identifier must be the same, so another value gives other identifiers.

    Examples
    --------
    >>> Identifiers("1.2.3", "chi").series == Identifiers("1.2.3", "chi").series
    True
    >>> Identifiers("1.2.3", "chi").series == Identifiers("1.2.3", "r2star").series
    False
    """

    def __init__(self, *content: "str | bytes | npt.NDArray | Iterable[str]") -> None:
        digest = hashlib.sha256()
        for item in content:
            data = _bytes(item)
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
        self._key = digest.hexdigest()

    @property
    def series(self) -> str:
        """Series instance UID."""
        return self.of("series")

    def instance(self, number: int) -> str:
        """Return the SOP instance UID of one object of the series."""
        return self.of(f"instance {number}")

    def of(self, what: str) -> str:
        """Return the UID of anything else of the series (PS3.5 B.2: from a UUID)."""
        return f"2.25.{uuid.uuid5(_NAMESPACE, f'{self._key} {what}').int}"


def _bytes(item: "str | bytes | npt.NDArray | Iterable[str]") -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, np.ndarray):
        head = f"{item.dtype.str} {item.shape} "
        return head.encode() + np.ascontiguousarray(item).tobytes()
    return "\0".join(item).encode()
