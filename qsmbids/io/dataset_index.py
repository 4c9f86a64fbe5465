"""The files of a BIDS dataset that may belong to a run, and whose they are.

Only the folders of the requested participants are looked into, since pybids opens those of all,
which takes minutes on the network disk of a large study; it makes and reads the index that
``--bids-database-dir`` keeps. The entities are parsed from the path *inside* the dataset, because
pybids itself searches the absolute path and takes ``/scratch/sub-99/bids/sub-01`` for participant
99.
"""

import os
import re
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from qsmbids.errors import InputError
from qsmbids.io.runs import SUFFIXES, BidsFile

__all__ = ["MOUNT_HINT", "index_files", "list_participants", "list_sessions"]

#: What to look at where a dataset, or a part of it, is not there.
MOUNT_HINT = "In a container, check that the dataset is bind-mounted (docker -v, apptainer -B)."

_EXTENSIONS = (".nii", ".nii.gz", ".json")


def list_participants(bids_dir: str | Path, among: Collection[str] | None = None) -> list[str]:
    """Return the sorted participant labels of a dataset, without ``sub-``, or some of them."""
    return _folders(Path(bids_dir), "sub-", among)


def list_sessions(bids_dir: str | Path, participant: str) -> list[str]:
    """Return the sorted session labels of a participant, without ``ses-``."""
    return _folders(Path(bids_dir) / f"sub-{participant.removeprefix('sub-')}", "ses-")


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
        raise InputError(f"cannot be read ({error.strerror})", str(folder), MOUNT_HINT) from error


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
        raise InputError("does not exist", str(parent), MOUNT_HINT) from error
    except NotADirectoryError as error:
        raise InputError("is not a folder", str(parent), "Name the root of a dataset.") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", str(parent), MOUNT_HINT) from error
