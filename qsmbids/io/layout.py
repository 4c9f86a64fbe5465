"""Find the multi-echo runs of a BIDS dataset.

Only the folders of the requested participants are looked into, since pybids opens those of all,
which takes minutes on the network disk of a large study; it makes and reads the index that
``--bids-database-dir`` keeps. The entities are parsed from the path *inside* the dataset, because
pybids itself searches the absolute path and takes ``/scratch/sub-99/bids/sub-01`` for participant
99. Sidecars are merged by
:mod:`qsmbids.io.runs`, so that one malformed file is the problem of its own run alone.
"""

import os
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from qsmbids.errors import InputError, NotFetchedError
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
    SUFFIXES,
    BidsFile,
    NoPhaseError,
    NoRunError,
    Problem,
    Run,
    Sidecars,
    form_run,
    run_label,
)

__all__ = [
    "Problem",
    "Run",
    "coil_labels",
    "collect_runs",
    "index_files",
    "is_coil",
    "list_participants",
    "list_sessions",
]

_EXTENSIONS = (".nii", ".nii.gz", ".json")
_MOUNT_HINT = "In a container, check that the dataset is bind-mounted (docker -v, apptainer -B)."


def list_participants(bids_dir: str | Path, among: Collection[str] | None = None) -> list[str]:
    """Return the sorted participant labels of a dataset, without ``sub-``, or some of them."""
    return _folders(Path(bids_dir), "sub-", among)


def list_sessions(bids_dir: str | Path, participant: str) -> list[str]:
    """Return the sorted session labels of a participant, without ``ses-``."""
    return _folders(Path(bids_dir) / f"sub-{participant.removeprefix('sub-')}", "ses-")


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


def _folders(parent: Path, prefix: str, among: Collection[str] | None = None) -> list[str]:
    """Return the labels of the subfolders ``prefix<label>``; there may be thousands."""
    is_named = re.compile(prefix + "[a-zA-Z0-9+]+").fullmatch
    wanted = None if among is None else {prefix + label for label in among}
    try:
        with os.scandir(parent) as entries:
            return sorted(
                entry.name.removeprefix(prefix)
                for entry in entries
                if (wanted is None or entry.name in wanted)
                and is_named(entry.name)
                and entry.is_dir()
            )
    except FileNotFoundError as error:
        raise InputError("does not exist", str(parent), _MOUNT_HINT) from error
    except NotADirectoryError as error:
        raise InputError("is not a folder", str(parent), "Name the root of a dataset.") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", str(parent), _MOUNT_HINT) from error


def _known_participants(root: Path, participants: Iterable[str] | None) -> set[str]:
    wanted = {str(label).removeprefix("sub-") for label in participants or ()}
    if wanted and len(list_participants(root, wanted)) == len(wanted):
        return wanted
    labels = list_participants(root)
    odd = odd_names(root, "sub")
    if not labels:
        fix = f"Name the root of a BIDS dataset. {_MOUNT_HINT}"
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
            else f"Found {_shorten(labels)}. {_MOUNT_HINT}",
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


def index_files(
    root: Path, participants: Collection[str], database_dir: str | Path | None = None
) -> list[BidsFile]:
    """Return the images and sidecars that may belong to a run."""
    from bids.layout.models import Config  # 0.2 s that --help need not wait for
    from bids.layout.utils import parse_file_entities

    known = list(Config.load("bids").entities.values())
    names = (
        _list_files(root, participants)
        if database_dir is None
        else _indexed_files(root, participants, Path(os.path.abspath(database_dir)))
    )
    files = []
    for name in names:
        inside = PurePosixPath(os.path.relpath(name, root))
        parsed = {k: str(v) for k, v in parse_file_entities(f"/{inside}", entities=known).items()}
        if parsed.get("suffix") in SUFFIXES and parsed.get("extension") in _EXTENSIONS:
            files.append(BidsFile(Path(name), inside, parsed))
    return files


def _list_files(root: Path, participants: Collection[str]) -> list[str]:
    """Return sidecars and anat images of these participants, and no others'."""
    names = _names(root, ".json")
    for label in sorted(participants):
        person = os.path.join(root, f"sub-{label}")
        sessions = [
            os.path.join(person, f"ses-{session}")
            for session in (_folders(Path(person), "ses-") if os.path.isdir(person) else [])
        ]
        for folder in (person, *sessions):
            names += _names(folder, ".json") + _names(os.path.join(folder, "anat"))
    return names


def _names(folder: str | Path, extension: str = "") -> list[str]:
    """Return the paths in a folder, sorted; none where there is no such folder."""
    try:
        return [
            os.path.join(folder, name)
            for name in sorted(n for n in os.listdir(folder) if n.endswith(extension))
            # a Mac leaves ._ files of its own beside those on a foreign disk
            if not name.startswith(".")
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", str(folder), _MOUNT_HINT) from error


def _indexed_files(root: Path, participants: Collection[str], database: Path) -> list[str]:
    """Return the same from pybids' index of all participants, which is made if there is none."""
    from bids.layout import BIDSLayout, BIDSLayoutIndexer
    from bids.layout.models import BIDSFile as Indexed

    if not (database / "layout_index.sqlite").exists():
        indexer = BIDSLayoutIndexer(
            validate=False, index_metadata=False, ignore=[re.compile(_ignored())]
        )
        try:
            layout = BIDSLayout(str(root), validate=False, indexer=indexer)
        except Exception as error:  # pybids believes whatever dataset_description.json holds
            fix = "Check that dataset_description.json holds one JSON object, as BIDS wants it."
            raise InputError("cannot be indexed", str(root), fix) from error
        _save(layout, database)
    layout = _load(BIDSLayout, root, database)
    # pybids' own query of a large index takes longer than a look into the folders
    people = {f"sub-{label}" for label in participants}
    names = (str(path) for (path,) in layout.session.query(Indexed.path))
    return sorted(name for name in names if _is_own(name, root, people))


def _is_own(name: str, root: Path, people: set[str]) -> bool:
    """Tell whether a file is at the top of the dataset or of one of these participants."""
    parts = os.path.relpath(name, root).split(os.sep, 1)
    return len(parts) == 1 or parts[0] in people


def _ignored() -> str:
    """Return a pattern of all paths but sidecars and anat images."""
    within = r"[^/]+\.json|anat(?:/[^/]+)?"
    kept = rf"[^/]+\.json|sub-[^/]+(?:/(?:{within}|ses-[^/]+(?:/(?:{within}))?))?"
    return rf"^(?!/(?:{kept})$)"


def _save(layout: Any, database: Path) -> None:
    """Save an index so that a job beside this one finds all of it or nothing."""
    temporary = database.with_name(f".{database.name}.{uuid.uuid4().hex}.tmp")
    try:
        layout.save(str(temporary), replace_connection=False)
        database.mkdir(parents=True, exist_ok=True)
        os.replace(temporary / "layout_index.sqlite", database / "layout_index.sqlite")
    except OSError as error:
        raise InputError(
            f"the index cannot be saved ({error.strerror})",
            str(database),
            "Choose another folder with --bids-database-dir.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _load(layout_class: Any, root: Path, database: Path) -> Any:
    fix = "Remove the folder to index the dataset again."
    try:
        layout = layout_class(database_path=str(database), validate=False)
        if Path(layout.root) != root:
            raise InputError(f"is the index of {layout.root}, not of {root}", str(database), fix)
    except InputError:
        raise
    except Exception as error:  # whatever sqlalchemy makes of a damaged or foreign file
        raise InputError("is no usable index of a dataset", str(database), fix) from error
    return layout
