"""Move converted images into a raw BIDS dataset: a run as a whole, over nothing that exists."""

import contextlib
import fcntl
import gzip
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from qsmbids import __version__
from qsmbids.errors import OutputError
from qsmbids.io.bids_naming import NamedImage
from qsmbids.io.dicom import Conversion
from qsmbids.io.scanner_key import SCANNER_KEY, key_of, scanner_keys
from qsmbids.io.sourcedata import incomplete_mark
from qsmbids.io.write import write_json, write_text

__all__ = ["ALREADY_THERE", "add_run", "describe", "move_run", "place"]

#: Why a run is left out that an earlier call converted.
ALREADY_THERE = "it is there already"

BIDS_VERSION = "1.10.0"
_README = """\
# Gradient echo scans for susceptibility mapping

Converted by qsmbids, from DICOM with dcm2niix or from NIfTI files. Of DICOM, names, numbers and
dates of persons and visits were left out of sidecars and image headers; the free text of
SeriesDescription and ProtocolName was not, and the face was not removed from the images.
ScannerKey in the sidecars is a salted digest of station and serial number: it tells scanners apart
and names none.
"""


def place(
    conversion: Conversion,
    bids_dir: str | Path,
    *,
    participant: str,
    session: str | None = None,
    with_scanner_key: bool = True,
    converters: Sequence[str] = ("dcm2niix",),
) -> tuple[list[Path], dict[str, str]]:
    """Move the runs into a dataset, which is made if it does not exist.

    Parameters
    ----------
    conversion : Conversion
    bids_dir : path
        Root of the raw dataset.
    participant, session : str
        As they were given to :func:`qsmbids.io.dicom.convert_dicom`.
    with_scanner_key : bool
        Keep an anonymous key of the scanner; see :mod:`qsmbids.io.scanner_key`.
    converters : sequence of str
        Other programs that made the images, for the description of the dataset.

    Returns
    -------
    images : list of Path
        What was written.
    kept : dict
        Reason by label of the runs that were left out, for files of their name exist.

    Raises
    ------
    OutputError
        The dataset cannot be written.
    """
    root = Path(bids_dir)
    anat = root / f"sub-{participant}" / (f"ses-{session}" if session else "") / "anat"
    images: list[Path] = []
    kept: dict[str, str] = {}
    # a call that is killed between two runs leaves the mark, so that the next one goes on
    mark = incomplete_mark(root, participant, session)
    # images that were converted elsewhere come without their DICOM
    first = {n: s.files[0] for n, s in enumerate(conversion.series) if s.files}
    scanners = scanner_keys(first.values(), root) if with_scanner_key else []
    keys = dict(zip(first, scanners, strict=False))
    try:
        root.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for label, members in conversion.naming.runs.items():
            with tempfile.TemporaryDirectory(prefix=".qsmbids-convert-", dir=root) as staging:
                staged = [
                    path
                    for image in members
                    for path in _stage(
                        image,
                        Path(staging),
                        key_of(anat / f"{image.name}.json", keys.get(image.source.series, "")),
                    )
                ]
                kept_why = move_run(staged, anat)
            if kept_why:
                kept[label] = kept_why
            else:
                images += [anat / f"{image.name}.nii.gz" for image in members]
        if images:
            describe(root, participant, converters)
        mark.unlink(missing_ok=True)
    except OSError as error:
        if not images:
            with contextlib.suppress(OSError):
                mark.unlink(missing_ok=True)
        raise OutputError(f"cannot be written ({error.strerror})", str(root)) from error
    return images, kept


def add_run(
    bids_dir: str | Path,
    entities: Mapping[str, str],
    names: Sequence[str],
    write: Callable[[Path], list[Path]],
    *,
    source: str,
) -> list[Path]:
    """Add a run that was made of other images of the dataset, which is made if it does not exist.

    Parameters
    ----------
    bids_dir : path
        Root of the raw dataset.
    entities : dict
        Of the run, under pybids' names.
    names : sequence of str
        Of the images, without extension.
    write : callable
        Writes images and sidecars into the folder that it is given, and returns them.
    source : str
        What the run was made of, for the advice where an older one is there.

    Returns
    -------
    list of Path
        The images.

    Raises
    ------
    OutputError
        The dataset cannot be written, or other images of these names are there.
    """
    root = Path(bids_dir)
    session = entities.get("session")
    person = root / f"sub-{entities['subject']}"
    anat = (person / f"ses-{session}" if session else person) / "anat"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".qsmbids-convert-", dir=root) as staging:
            why = move_run(write(Path(staging)), anat)
        if why not in ("", ALREADY_THERE):
            raise OutputError(why, str(anat), f"Remove it if {source} changed since.")
        describe(root, entities["subject"])
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", str(root)) from error
    return [anat / f"{name}.nii.gz" for name in names]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other conversions into the same dataset out, where the file system knows locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _stage(image: NamedImage, folder: Path, key: str = "") -> list[Path]:
    """Write the final files of an image; sidecar first."""
    content_of_sidecar = {**image.sidecar, **({SCANNER_KEY: key} if key else {})}
    sidecar = write_json(folder / f"{image.name}.json", content_of_sidecar)
    content = bytearray(image.source.path.read_bytes())
    order = "<" if struct.unpack_from("<i", content, 0)[0] == 348 else ">"
    for offset, size in ((14, 18), (148, 80), (228, 24), (328, 16)):
        content[offset : offset + size] = bytes(size)  # free text: comments, time of day
    if image.factor != 1.0:
        slope, intercept = struct.unpack_from(f"{order}2f", content, 112)
        scaled = (slope or 1.0) * image.factor, intercept * image.factor
        struct.pack_into(f"{order}2f", content, 112, *scaled)
    path = folder / f"{image.name}.nii.gz"
    path.write_bytes(gzip.compress(content, compresslevel=5, mtime=0))
    return [sidecar, path]


def move_run(staged: Iterable[Path], anat: Path) -> str:
    """Move all files of a run into their folder, or none and say why."""
    pairs = [(path, anat / path.name) for path in staged]
    there = [(old, new) for old, new in pairs if new.exists() or new.with_suffix("").is_file()]
    for old, new in there:
        if not (new.exists() and new.read_bytes() == old.read_bytes()):
            return f"{new.name} is there already and is another image; nothing was changed"
    if len(there) == len(pairs):
        return ALREADY_THERE
    anat.mkdir(parents=True, exist_ok=True)
    moved: list[Path] = []
    try:
        for old, new in (pair for pair in pairs if pair not in there):
            try:
                os.link(old, new)  # fails if somebody else was faster
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                os.replace(old, new)
            moved.append(new)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise
    return ""


def describe(root: Path, participant: str, converters: Sequence[str] = ("dcm2niix",)) -> None:
    """Write what a dataset must have, where it is absent, and list the participant."""
    with _alone(root):
        _describe(root, participant, converters)


def _describe(root: Path, participant: str, converters: Sequence[str]) -> None:
    if not (root / "dataset_description.json").exists():
        own = {"Name": "qsmbids", "Version": __version__}
        tools = [own, *({"Name": name} for name in converters)]
        description = {
            "Name": root.resolve().name or "gradient echo scans",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "GeneratedBy": tools,
        }
        write_json(root / "dataset_description.json", description)
    if not any(root.glob("README*")):
        write_text(root / "README.md", _README)
    table = root / "participants.tsv"
    lines = table.read_text("utf-8").splitlines() if table.exists() else ["participant_id"]
    if not any(line.split("\t")[0] == f"sub-{participant}" for line in lines):
        lines.append("\t".join([f"sub-{participant}", *["n/a"] * lines[0].count("\t")]))
        write_text(table, "\n".join(lines) + "\n")
