"""The runs of all raw datasets: the one that was given, and what was converted beside it."""

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from qsmbids.errors import ConfigError
from qsmbids.io.dataset_index import list_participants, list_sessions
from qsmbids.io.layout import collect_runs
from qsmbids.io.runs import Problem, Run

__all__ = ["collect_all", "read_filters"]


def collect_all(
    args: argparse.Namespace, roots: Sequence[Path], with_result: Collection[str] = ()
) -> tuple[list[Run], list[Problem]]:
    """Return the runs and problems of several datasets.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    roots : sequence of Path
        Datasets; where a run is in several, the first one counts.
    with_result : collection of str
        Labels ``sub-<label>[_ses-<label>]`` that another part of the program answers for, so that
        their absence is no mistake.

    Raises
    ------
    InputError
        A participant or session is nowhere.
    """
    words = {word for label in with_result for word in label.split("_")}
    wanted = [f"sub-{label}" for label in args.participant_label or ()]
    labels = [_labels(root, wanted or None) for root in roots]
    known = words.union(*labels)
    sessions = [f"ses-{label}" for label in args.session_label or ()]
    overridden = [
        key
        for key, value in (
            ("EchoTime", args.echo_times),
            ("MagneticFieldStrength", args.field_strength),
        )
        if value is not None
    ]
    runs: list[Run] = []
    problems: list[Problem] = []
    for number, (root, here) in enumerate(zip(roots, labels, strict=True)):
        # what is nowhere is asked of the first dataset, which then says so
        people = [w for w in wanted if w in here or (w not in known and not number)]
        visits = [s for s in sessions if s in here or (s not in known and not number)]
        if (wanted and not people) or (sessions and not visits) or not (here or not words):
            continue
        complete, wrong = collect_runs(
            root,
            participants=people or None,
            sessions=visits or None,
            filters=read_filters(args.bids_filter_file),
            database_dir=None if number else args.bids_database_dir,
            complex_parts=True,
            overridden=overridden,
        )
        runs += complete
        problems += wrong
    answered = words | {f"sub-{run.subject}" for run in runs}
    # 4-D files are a problem of the dataset that they lie in, unless they were split into another
    answered |= {f"{label}_MEGRE" for label in with_result} | {
        f"{run.label}_{run.suffix}" for run in runs
    }
    return runs, [p for p in problems if p.where not in answered]


def _labels(root: Path, participants: Collection[str] | None) -> set[str]:
    """Return the participants of a dataset and their sessions, with their prefixes."""
    people = {f"sub-{label}" for label in list_participants(root)}
    chosen = people if participants is None else people & set(participants)
    return people | {f"ses-{s}" for person in chosen for s in list_sessions(root, person)}


def read_filters(path: Path | None) -> dict[str, Any] | None:
    """Read ``--bids-filter-file``."""
    if path is None:
        return None
    try:
        filters = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", str(path)) from error
    except ValueError as error:
        raise ConfigError(f"is not valid JSON: {error}", str(path)) from error
    if not isinstance(filters, dict):
        raise ConfigError('must be an object such as {"megre": {...}}', str(path))
    return filters
