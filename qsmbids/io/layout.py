"""Find the multi-echo runs of a BIDS dataset.

The files are those of :mod:`qsmbids.io.dataset_index`. Sidecars are merged by
:mod:`qsmbids.io.runs`, so that one malformed file is the problem of its own run alone.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError, NotFetchedError
from qsmbids.io.dataset_index import MOUNT_HINT, index_files, list_participants, list_sessions
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.filters import accepts, query_of
from qsmbids.io.near_misses import (
    LABEL_RULE,
    converter,
    holds_images,
    odd_names,
    without_run,
)
from qsmbids.io.runs import (
    BidsFile,
    NoPhaseError,
    NoRunError,
    Problem,
    Run,
    Sidecars,
    form_run,
    run_label,
)

__all__ = ["coil_labels", "collect_runs", "is_coil"]


def collect_runs(
    bids_dir: str | Path,
    *,
    participants: Iterable[str] | None = None,
    sessions: Iterable[str] | None = None,
    filters: Mapping[str, Any] | None = None,
    database_dir: str | Path | None = None,
    complex_parts: bool = False,
    overridden: Collection[str] = (),
) -> tuple[list[Run], list[Problem]]:
    """Return the runs of a dataset that QSM can use.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    participants, sessions : iterable of str, optional
        Labels, with or without ``sub-`` and ``ses-``; default all.
    filters : mapping, optional
        Content of a filter file, ``{"megre": {entity: value}}``. A value is a label, a list of
        labels, None (the entity is absent) or "*" (it is present).
    database_dir : path, optional
        Folder of a pybids index of the whole dataset: used when it exists, else made.
    complex_parts : bool
        Also form runs of real and imaginary images; otherwise these are a problem.
    overridden : collection of str
        Keys of the sidecars that the user gives in another way, so that these may contradict
        each other.

    Returns
    -------
    runs : list of Run
        Sorted by label.
    problems : list of Problem
        Runs that cannot be formed, and participants without a run.

    Raises
    ------
    InputError
        The dataset, a participant or a session does not exist.
    ConfigError
        The filters are not understood.
    """
    root = Path(os.path.abspath(bids_dir))
    accepted = query_of(filters)
    wanted = _known_participants(root, participants)
    chosen = _known_sessions(root, wanted, sessions)
    sidecars: list[BidsFile] = []
    groups: dict[tuple[str, ...], list[BidsFile]] = defaultdict(list)
    for file in index_files(root, wanted, database_dir):
        entities = file.entities
        if entities.get("extension") == ".json":
            sidecars.append(file)
        elif (
            entities.get("subject") in wanted
            and (chosen is None or entities.get("session") in chosen)
            and accepts(accepted, entities)
            and not is_coil(entities)  # combined into a run of their own first
        ):
            key = [f"{k}-{v}" for k, v in file.naming.items() if k not in ("echo", "part")]
            groups[(*key, file.suffix)].append(file)
    runs: list[Run] = []
    problems: list[Problem] = []
    inherited = Sidecars(sidecars)
    magnitude_alone: list[tuple[str, str]] = []
    for images in groups.values():
        where = f"{run_label(images[0].naming)}_{images[0].suffix}"
        try:
            run = form_run(images, inherited, complex_parts, overridden)
        except NoPhaseError as reason:
            magnitude_alone.append((where, str(reason)))
        except (NoRunError, NotFetchedError) as reason:
            problems.append(_problem(where, images, reason))
        else:
            if run is not None:
                runs.append(run)
    with_run = {run.subject for run in runs}
    for where, message in magnitude_alone:  # as T2starw, it asks for no QSM beside a pair
        subject = where.split("_")[0].removeprefix("sub-")
        problems.append(Problem(where, message, left_out=subject in with_run))
    scope = " in the sessions and filters given" if chosen is not None or accepted else ""
    problems += _without_run(root, wanted, groups, runs, scope)
    return sorted(runs, key=lambda run: (run.label, run.suffix)), sorted(problems)


def is_coil(entities: Mapping[str, str]) -> bool:
    """Tell whether an image is of single receive coils, by its ``rec-`` label."""
    return re.fullmatch(r"coils|coil\d+", entities.get("reconstruction", "")) is not None


def coil_labels(names: Iterable[str]) -> dict[str, str]:
    """Return the ``rec-`` label of each coil by its name; H2 comes before H10."""

    def natural(name: str) -> tuple[tuple[int, str], ...]:
        return tuple((int(d or 0), t) for t, d in re.findall(r"(\D*)(\d*)", name) if t or d)

    return {name: f"coil{n:02d}" for n, name in enumerate(sorted(names, key=natural), 1)}


def _problem(where: str, images: Sequence[BidsFile], reason: Exception) -> Problem:
    """Say why images make no run; that they are not here comes before anything else."""
    try:
        raise_if_not_fetched(image.path for image in images)
    except NotFetchedError as absent:
        return Problem(where, str(absent), left_out=True)
    return Problem(where, str(reason), isinstance(reason, NotFetchedError))


def _known_participants(root: Path, participants: Iterable[str] | None) -> set[str]:
    wanted = {str(label).removeprefix("sub-") for label in participants or ()}
    if wanted and len(list_participants(root, wanted)) == len(wanted):
        return wanted
    labels = list_participants(root)
    odd = odd_names(root, "sub")
    if not labels:
        fix = f"Name the root of a BIDS dataset. {MOUNT_HINT}"
        if odd:
            fix = f"There is {_shorten(odd)}; {LABEL_RULE}."
        elif holds_images(root):
            fix = f"Have a BIDS dataset made of the images in it: {converter(root)}"
        raise InputError("holds no sub-<label> folder", str(root), fix)
    if participants is None:
        return set(labels)
    if unknown := sorted(wanted - set(labels)):
        named = [name for name in odd if name.removeprefix("sub-") in unknown]
        raise InputError(
            f"there is no participant {', '.join(unknown)}",
            str(root),
            f"There is {_shorten(named)}, but {LABEL_RULE}."
            if named
            else f"Found {_shorten(labels)}. {MOUNT_HINT}",
        )
    return wanted


def _known_sessions(
    root: Path, wanted: Collection[str], sessions: Iterable[str] | None
) -> set[str] | None:
    if sessions is None:
        return None
    chosen = {str(label).removeprefix("ses-") for label in sessions}
    labels = {label for participant in wanted for label in list_sessions(root, participant)}
    if unknown := sorted(chosen - labels):
        raise InputError(
            f"there is no session {', '.join(unknown)}",
            str(root),
            f"Found {_shorten(sorted(labels)) or 'no session folder at all'}.",
        )
    return chosen


def _shorten(names: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _without_run(
    root: Path,
    wanted: Collection[str],
    groups: Mapping[tuple[str, ...], list[BidsFile]],
    runs: Iterable[Run],
    scope: str,
) -> list[Problem]:
    """Name the participants that have neither a run nor a problem of their own."""
    seen = {run.subject for run in runs}
    for images in groups.values():
        if any("part" in image.naming or image.suffix == "MEGRE" for image in images):
            seen.add(images[0].naming["subject"])
    return [without_run(root, label, scope) for label in sorted(wanted) if label not in seen]
