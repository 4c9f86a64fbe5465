"""From a folder of DICOM files to a raw BIDS dataset.

Series are found with pydicom, converted one by one with dcm2niix, sorted by
:mod:`qsmbids.io.bids_naming` and then moved into the dataset: a run as a whole, over nothing that
exists. Names of patients are compared, for two in one folder are a mistake, but never kept.
"""

import gzip
import os
import struct
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids import __version__
from qsmbids.errors import InputError, OutputError
from qsmbids.io.archive import is_archive, unpack
from qsmbids.io.bids_naming import ConvertedImage, NamedImage, Naming, name_images
from qsmbids.io.dcm2niix_run import frame_keys, run_dcm2niix
from qsmbids.io.write import write_json, write_text

__all__ = ["Conversion", "Series", "convert_dicom", "place", "scan_dicom"]

BIDS_VERSION = "1.10.0"
_TAGS = (
    "SOPInstanceUID SeriesInstanceUID StudyInstanceUID PatientID PatientName Modality SeriesNumber"
    " SeriesDescription ProtocolName Manufacturer NumberOfFrames Rows EchoTime"
    " SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
).split()
_README = """\
# Gradient echo scans for susceptibility mapping

Converted from DICOM by qsmbids with dcm2niix. Names, numbers and dates of persons and visits were
left out of sidecars and image headers; the free text of SeriesDescription and ProtocolName was
not, and the face was not removed from the images.
"""
_FIX = "Give the folder with the DICOM files as the scanner or the archive exported them."


@dataclass(frozen=True)
class Series:
    """One DICOM series, without anything about the patient.

    Attributes
    ----------
    number : int
        0 where there is none.
    description : str
    manufacturer : str
    files : tuple of Path
    n_images : int
        Slices, in as many files (classic) or as frames of fewer (enhanced).
    n_echoes : int
        Different echo times.
    refusal : str
        Why it is not even converted; "" for MR images.
    """

    number: int
    description: str
    manufacturer: str
    files: tuple[Path, ...]
    n_images: int
    n_echoes: int = 1
    refusal: str = ""


@dataclass(frozen=True)
class Conversion:
    """What is to become of a folder of DICOM files.

    Attributes
    ----------
    series : list of Series
    naming : Naming
        Runs and what is left out; the files lie in the folder that was given.
    refused : dict
        Reason by index of the series of which nothing was converted.
    warnings : list of str
    """

    series: list[Series]
    naming: Naming
    refused: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield number, images, description and what becomes of it, for each series."""
        for index, series in enumerate(self.series):
            fates = [self.refused[index]] if index in self.refused else []
            for label, images in self.naming.runs.items():
                own = [i for i in images if i.source.series == index]
                if own:
                    suffix = own[0].name.rsplit("_", 1)[1]
                    parts = "/".join(dict.fromkeys(i.part for i in own))
                    n_echoes = len({i.sidecar["EchoTime"] for i in own})
                    fates.append(f"{label} {suffix}, {parts}, {n_echoes} echo(es)")
            reasons = [why for image, why in self.naming.skipped if image.series == index]
            fates += [f"skipped: {reason}" for reason in dict.fromkeys(reasons)]
            for fate in fates or ["skipped: nothing came out of it"]:
                yield str(series.number), str(series.n_images), series.description, fate


def scan_dicom(folder: str | Path) -> tuple[list[Series], list[str]]:
    """Find the DICOM series below a folder, whatever the files are called.

    Parameters
    ----------
    folder : path

    Returns
    -------
    series : list of Series
        By series number.
    warnings : list of str
        Files that could not be read, several studies.

    Raises
    ------
    InputError
        There is no DICOM image, or those of more than one patient.
    """
    import pydicom

    groups: dict[str, list[tuple[Path, Any]]] = {}
    patients, studies, seen = set(), set(), set()
    n_broken = n_copies = 0
    for path in _files(Path(folder)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd values in tags that nobody asked for
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
                facts = {tag: header.get(tag) for tag in _TAGS[:-2]}
                facts["echoes"] = {te for te, _ in frame_keys(header)} or {facts["EchoTime"]}
        except pydicom.errors.InvalidDicomError:
            continue
        except Exception:  # noqa: BLE001 - whatever pydicom makes of a damaged file
            n_broken += 1
            continue
        if facts["SeriesInstanceUID"] is None:
            continue  # a DICOMDIR or the like
        if facts["SOPInstanceUID"] in seen:
            n_copies += 1
            continue
        seen.add(facts["SOPInstanceUID"])
        # an archive may hold a series as classic and, under the same number, as enhanced files
        key = f"{facts['SeriesInstanceUID']} {int(facts['NumberOfFrames'] or 1) > 1}"
        groups.setdefault(key, []).append((path, facts))
        patients.add((str(facts["PatientID"] or ""), str(facts["PatientName"] or "")))
        studies.add(str(facts["StudyInstanceUID"]))
    if not groups:
        raise InputError("holds no DICOM image", str(folder), _FIX)
    if len(patients) > 1:
        raise InputError(
            f"holds images of {len(patients)} patients",
            str(folder),
            "Sort them into a folder each, and convert one participant at a time.",
        )
    notes = [f"{n_broken} damaged DICOM file(s) were left out"] if n_broken else []
    if n_copies:
        notes.append(f"{n_copies} copies of DICOM files were left out")
    if len(studies) > 1:
        notes.append(
            f"the images are of {len(studies)} examinations; convert them one by one if they are"
            " different sessions"
        )
    series = [_series(members) for members in groups.values()]
    return sorted(series, key=lambda s: (s.number, s.files[0])), notes


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (p for name in sorted(names) if (p := Path(root, name)).is_file())


def _series(members: Sequence[tuple[Path, Any]]) -> Series:
    facts = members[0][1]
    refusal = ""
    if facts["Modality"] != "MR":
        refusal = f"not MR but {facts['Modality'] or 'of unknown modality'}"
    elif not facts["Rows"]:
        refusal = "no image (spectra, protocol or raw data)"
    text = str(facts["SeriesNumber"] or "")
    return Series(
        number=int(text) if text.isdigit() else 0,
        description=_printable(facts["SeriesDescription"] or facts["ProtocolName"]),
        manufacturer=_printable(facts["Manufacturer"]),
        files=tuple(path for path, _ in members),
        n_images=sum(int(f["NumberOfFrames"] or 1) for _, f in members),
        n_echoes=len(set().union(*(f["echoes"] for _, f in members))),
        refusal=refusal,
    )


def _printable(text: Any) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text or "")).strip()


def convert_dicom(
    source: str | Path,
    folder: str | Path,
    *,
    participant: str,
    session: str | None = None,
    acquisition: str | None = None,
    timeout_s: float = 3600.0,
) -> Conversion:
    """Convert a folder or archive of DICOM files and decide on the names.

    Parameters
    ----------
    source : path
        Folder, or archive as :func:`qsmbids.io.archive.unpack` takes it.
    folder : path
        Empty folder for what dcm2niix writes.
    participant, session, acquisition : str
        Labels; see :func:`qsmbids.io.bids_naming.name_images`.
    timeout_s : float
        Longest time for one series [s].

    Returns
    -------
    Conversion
        Nothing is in a dataset yet; see :func:`place`.

    Raises
    ------
    InputError
        The source is no folder of DICOM images of one patient, or dcm2niix is missing.
    """
    source, folder = Path(source), Path(folder)
    if is_archive(source):
        source = unpack(source, folder / "unpacked")
    elif not source.is_dir():
        raise InputError("is neither a folder nor a zip or tar archive", str(source), _FIX)
    series, notes = scan_dicom(source)
    images: list[ConvertedImage] = []
    refused: dict[int, str] = {}
    for index, one in enumerate(series):
        if one.refusal:
            refused[index] = f"skipped: {one.refusal}"
            continue
        found, said = run_dcm2niix(
            one.files,
            folder / f"series-{index}",
            multiframe=one.n_images > len(one.files),
            timeout_s=timeout_s,
        )
        n_echoes = len({te for _, s in found for te in _echo_times(s)})
        if not found:
            refused[index] = f"skipped: not converted ({said})"
        elif n_echoes < one.n_echoes:
            refused[index] = f"skipped: dcm2niix mixed its {one.n_echoes} echoes"
        else:
            images += [ConvertedImage(path, sidecar, index) for path, sidecar in found]
    naming = name_images(images, participant=participant, session=session, acquisition=acquisition)
    return Conversion(series, naming, refused, notes + naming.warnings)


def _echo_times(sidecar: dict[str, Any]) -> list[Any]:
    """Return the echo times an image is of; a field map has two."""
    keys = ("EchoTime", "EchoTime1", "EchoTime2")
    return [sidecar[key] for key in keys if sidecar.get(key) is not None]


def place(
    conversion: Conversion, bids_dir: str | Path, *, participant: str, session: str | None = None
) -> tuple[list[Path], dict[str, str]]:
    """Move the runs into a dataset, which is made if it does not exist.

    Parameters
    ----------
    conversion : Conversion
    bids_dir : path
        Root of the raw dataset.
    participant, session : str
        As they were given to :func:`convert_dicom`.

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
    try:
        root.mkdir(parents=True, exist_ok=True)
        for label, members in conversion.naming.runs.items():
            with tempfile.TemporaryDirectory(prefix=".qsmbids-convert-", dir=root) as staging:
                staged = [path for image in members for path in _stage(image, Path(staging))]
                kept_why = _move(staged, anat)
            if kept_why:
                kept[label] = kept_why
            else:
                images += [anat / f"{image.name}.nii.gz" for image in members]
        if images:
            _describe(root, participant)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", str(root)) from error
    return images, kept


def _stage(image: NamedImage, folder: Path) -> list[Path]:
    """Write the final files of an image; sidecar first."""
    sidecar = write_json(folder / f"{image.name}.json", image.sidecar)
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


def _move(staged: Iterable[Path], anat: Path) -> str:
    """Move all files, or none and say why."""
    pairs = [(path, anat / path.name) for path in staged]
    there = [(old, new) for old, new in pairs if new.exists() or new.with_suffix("").is_file()]
    for old, new in there:
        if not (new.exists() and new.read_bytes() == old.read_bytes()):
            return f"{new.name} is there already and is another image; nothing was changed"
    if len(there) == len(pairs):
        return "it is there already"
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


def _describe(root: Path, participant: str) -> None:
    """Write what a dataset must have, where it is absent, and list the participant."""
    if not (root / "dataset_description.json").exists():
        tools = [{"Name": "qsmbids", "Version": __version__}, {"Name": "dcm2niix"}]
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
