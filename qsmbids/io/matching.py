"""Which files of a derivative dataset belong to a run, by what their names say."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from qsmbids.io.runs import RUN_ENTITIES, Run

__all__ = ["best_matches", "entities_of", "fits", "n_shared"]


def entities_of(name: str) -> dict[str, str]:
    """Return the entities of a file name by their short keys; a label ends at a dot."""
    return dict(re.findall(r"(?:^|_)([a-zA-Z]+)-([^_.]+)", name))


def fits(name: str, run: Run, entities: Collection[str] = tuple(RUN_ENTITIES)) -> bool:
    """Return whether none of these entities of a file name contradicts the run."""
    labels = entities_of(name)
    keys = {entity: RUN_ENTITIES[entity] for entity in entities}
    return all(str(run.entities.get(e, "")) == labels[k] for e, k in keys.items() if k in labels)


def n_shared(name: str) -> int:
    """Return how many entities that a run may have are in a file name."""
    labels = entities_of(name)
    return sum(key in labels for key in RUN_ENTITIES.values())


def best_matches(paths: Iterable[Path], run: Run) -> list[Path]:
    """Return the files whose names fit a run and have most of its entities, sorted."""
    fitting = [p for p in sorted(paths) if fits(p.name, run) and not p.name.startswith(".")]
    closest = max((n_shared(p.name) for p in fitting), default=0)
    return [p for p in fitting if n_shared(p.name) == closest]
