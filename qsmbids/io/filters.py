"""BIDS filter files: which values of the entities a run may have."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qsmbids.errors import ConfigError
from qsmbids.io.runs import RUN_ENTITIES

__all__ = ["accepts", "query_of"]

_FILTER_NAMES = (*list(RUN_ENTITIES)[1:], "echo", "suffix", "datatype", "extension")


def query_of(filters: Mapping[str, Any] | None, name: str = "megre") -> dict[str, list[Any]]:
    """Check a filter file and return the accepted values of each entity.

    Parameters
    ----------
    filters : mapping, optional
        ``{"megre": {entity: value}, "t1w": {entity: value}}``.
    name : str
        Which of these.

    Raises
    ------
    ConfigError
        The filters are not understood.
    """
    if filters is None:
        return {}
    where = "BIDS filter file"
    if not isinstance(filters, Mapping):
        raise ConfigError("must be a JSON object", where, 'For example {"megre": {"run": "01"}}.')
    _reject_unknown(filters, ("megre", "t1w"), where)
    query = filters.get(name) or {}
    if not isinstance(query, Mapping):
        raise ConfigError(f"'{name}' must be a JSON object", where, "Map entities to labels.")
    _reject_unknown(query, _FILTER_NAMES, f"{where}, {name}")
    return {k: list(v) if isinstance(v, list | tuple) else [v] for k, v in query.items()}


def _reject_unknown(names: Iterable[str], known: Sequence[str], where: str) -> None:
    long_names = {short: name for name, short in RUN_ENTITIES.items()}
    for name in names:
        if name not in known:
            close = [long_names.get(name, ""), *difflib.get_close_matches(name, known, n=1)]
            guess = next((c for c in close if c in known), None)
            hint = f"Did you mean '{guess}'? " if guess else ""
            raise ConfigError(f"unknown key '{name}'", where, f"{hint}Known: {', '.join(known)}.")


def accepts(accepted: Mapping[str, list[Any]], entities: Mapping[str, str]) -> bool:
    """Tell whether an image passes the filters; numbers match whatever their zeros."""
    for name, values in accepted.items():
        actual = entities.get(name)
        if actual is None:
            if None not in values:
                return False
            continue
        prefix = f"{RUN_ENTITIES.get(name, name)}-"
        labels = {str(value).removeprefix(prefix) for value in values if value is not None}
        numbers = {int(label) for label in labels if label.isdigit()}
        if not (
            actual in labels
            or "*" in labels
            or (actual.isdigit() and name in ("run", "echo", "chunk") and int(actual) in numbers)
        ):
            return False
    return True
