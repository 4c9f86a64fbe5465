"""Find DICOM below ``sourcedata/`` that nobody has converted yet.

A source is a folder ``sourcedata/sub-<label>`` or ``sourcedata/sub-<label>/ses-<label>``, or an
archive of that name. It is converted when neither the dataset nor ``sourcedata/raw`` of the output
holds a phase image of the participant and session.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsmbids.io.archive import ARCHIVE_SUFFIXES, is_archive
from qsmbids.io.dicom_headers import is_bare_dicom
from qsmbids.io.gzipped import is_gzipped_dicom

__all__ = ["CONVERTED", "Source", "find_sources", "incomplete_mark", "target_dataset"]

#: Where converted data go in the output dataset when the input cannot be written.
CONVERTED = Path("sourcedata") / "raw"

_NAME = re.compile(r"sub-([a-zA-Z0-9+]+)(?:_ses-([a-zA-Z0-9+]+))?")
_LABEL = re.compile(r"sub-([a-zA-Z0-9+]+)")
_SESSION = re.compile(r"ses-([a-zA-Z0-9+]+)")
_PHASE = ("phase", "imag")


@dataclass(frozen=True)
class Source:
    """DICOM files of one participant and session.

    Attributes
    ----------
    participant : str
    session : str or None
        Labels without ``sub-`` and ``ses-``.
    paths : tuple of Path
        Folder or archive; more than one is a mistake, for nobody can tell which is meant.
    """

    participant: str
    session: str | None
    paths: tuple[Path, ...]

    @property
    def label(self) -> str:
        """``sub-01`` or ``sub-01_ses-1``."""
        return f"sub-{self.participant}" + (f"_ses-{self.session}" if self.session else "")


def find_sources(
    bids_dir: str | Path,
    *,
    participants: Collection[str] | None = None,
    sessions: Collection[str] | None = None,
    converted: Iterable[Path] = (),
) -> tuple[list[Source], list[Source]]:
    """Return the sources of a dataset.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset with the folder ``sourcedata``.
    participants, sessions : collection of str, optional
        Labels without ``sub-`` and ``ses-``; default all.
    converted : iterable of Path
        Roots of further datasets that may hold the converted images.

    Returns
    -------
    pending, done : list of Source
        By label: those to convert, and those that have raw images already.
    """
    root = Path(os.path.abspath(bids_dir))
    sources: dict[tuple[str, str | None], list[Path]] = defaultdict(list)
    for name in _listed(root / "sourcedata"):
        # by its name first: a look at every entry of a large study takes long
        hint = _LABEL.match(name)
        if hint is None or (participants is not None and hint[1] not in participants):
            continue
        path = root / "sourcedata" / name
        match = _NAME.fullmatch(_stem(path)) if path.is_dir() or is_archive(path) else None
        if match is None:
            continue
        inner = [] if match[2] or not path.is_dir() else list(_entries(path))
        named = [(_SESSION.fullmatch(_stem(p)), p) for p in inner]
        for session, inside in [(m[1], p) for m, p in named if m] or [(match[2], path)]:
            if sessions is None or session in sessions:
                sources[match[1], session].append(inside)
    pending, done = [], []
    roots = (root, *converted)
    for (participant, session), paths in sorted(sources.items(), key=lambda item: str(item[0])):
        source = Source(participant, session, tuple(paths))
        if any(_has_phase(place, source) for place in roots):
            done.append(source)
        elif any(_holds_dicom(path) for path in paths):
            pending.append(source)
    return pending, done


def target_dataset(bids_dir: Path, out_dir: Path, source: Source) -> Path:
    """Return the dataset that a source is converted into.

    It is the input dataset, or ``sourcedata/raw`` of the output where that cannot be written,
    as in a container that mounts it read-only.
    """
    anat = bids_dir / f"sub-{source.participant}"
    anat = (anat / f"ses-{source.session}" if source.session else anat) / "anat"
    while not anat.exists():
        anat = anat.parent
    writable = all(os.access(folder, os.W_OK | os.X_OK) for folder in (bids_dir, anat))
    return bids_dir if writable else out_dir / CONVERTED


def incomplete_mark(root: Path, participant: str, session: str | None) -> Path:
    """Return the file that is there while the runs of a session are moved into a dataset."""
    return root / f".qsmbids-convert-{Source(participant, session, ()).label}"


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _entries(folder: Path) -> Sequence[Path]:
    """Return the folders and archives in a folder."""
    inside = [folder / name for name in _listed(folder)]
    return [path for path in inside if path.is_dir() or is_archive(path)]


def _stem(path: Path) -> str:
    """Return the name without the suffixes of an archive."""
    if path.is_dir():
        return path.name
    suffix = max((s for s in ARCHIVE_SUFFIXES if path.name.lower().endswith(s)), key=len)
    return path.name[: -len(suffix)]


def _has_phase(root: Path, source: Source) -> bool:
    """Tell whether a dataset holds phase images of the participant and session.

    Images without a session count for any: which one they are of is not known, and nothing is
    to be converted twice.
    """
    if incomplete_mark(root, source.participant, source.session).exists():
        return False
    person = root / f"sub-{source.participant}"
    folders = [person / "anat", *person.glob(f"ses-{source.session or '*'}/anat")]
    pattern = re.compile(rf".*_part-(?:{'|'.join(_PHASE)})_(?:MEGRE|T2starw)\.nii(?:\.gz)?")
    return any(
        pattern.fullmatch(name)
        for folder in folders
        if folder.is_dir()
        for name in os.listdir(folder)
    )


def _holds_dicom(path: Path) -> bool:
    """Tell whether there is an archive, or a file that begins like DICOM."""
    if is_archive(path):
        return True
    for folder, _, names in os.walk(path):
        for file in (Path(folder, name) for name in sorted(names)):
            if is_archive(file) or is_gzipped_dicom(file):
                return True
            try:
                with file.open("rb") as stream:
                    head = stream.read(132)
                    if head[128:] == b"DICM" or is_bare_dicom(head[:8]):
                        return True
            except OSError:  # a broken link, or a file that only others may read
                continue
    return False
