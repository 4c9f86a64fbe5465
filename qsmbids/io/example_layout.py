"""Lay out the example data of the consensus paper as a raw BIDS dataset, run by run.

What the scripts converted and what is converted here go the same way, that of DICOM: images are
sorted by their sidecars, get ``Units`` by the rules of the phase scale and lose what could tell a
person, and a run is moved into the dataset as a whole or not at all. One bad run does not keep the
others out.
"""

import fcntl
import gzip
import json
import lzma
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from qsmbids.errors import InputError, OutputError, QSMError
from qsmbids.io.archive import safe_members
from qsmbids.io.bids_naming import ConvertedImage, name_images
from qsmbids.io.dicom import Conversion, convert_dicom
from qsmbids.io.download import unpack
from qsmbids.io.example_data import (
    EXAMPLE_RUNS,
    INNER_ARCHIVE,
    SUBJECT,
    ConvertedRun,
    ExampleRun,
    converted_runs,
    dicom_runs,
    published_maps,
    wanted_members,
)
from qsmbids.io.nifti import read_header
from qsmbids.io.raw_dataset import ALREADY_THERE, place
from qsmbids.io.write import write_json, write_text

__all__ = ["RunOutcome", "describe_example", "lay_out_dicom", "lay_out_results", "working_folder"]

#: How dcm2niix ends the names of the parts.
_ENDINGS = {"mag": "", "phase": "_ph", "real": "_real", "imag": "_imaginary"}
_BROKEN = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
)
_LARGEST_IMAGE = 8 << 30
_WORK = ".unpacked-"
#: Echo times this much further apart than the nearest two have one missing between them.
_GAP = 1.6

_README = """\
# Example data of the consensus paper on susceptibility mapping

One person, scanned on scanners of three vendors with mono- and bipolar readout;
doi:10.5281/zenodo.7410455 has the data as they were published, and their licence. Sessions are
vendors, acquisitions the readout and, for Philips, the normalisation. Laid out by qsmbids: names
and `Units` follow BIDS, dates and numbers of persons and visits were left out of the sidecars, the
stored numbers of the images are those of the archive (or of dcm2niix, where DICOM was converted).
"""


@dataclass
class RunOutcome:
    """What became of one run of an archive.

    Attributes
    ----------
    label : str
        The run as its file names begin, or the folder of published maps.
    files : list of str
        Those of the dataset, from its root; empty if the run could not be laid out.
    n_written : int
        How many of them were not there before.
    problem : str
        Why it was left out; "" if it was not.
    warnings : list of str
    exit_code : int
        What a problem ends in: 3 where the archive is at fault, 1 where the dataset is.
    """

    label: str
    files: list[str] = field(default_factory=list)
    n_written: int = 0
    problem: str = ""
    exit_code: int = InputError.exit_code
    warnings: list[str] = field(default_factory=list)


def lay_out_results(
    path: Path, dest: Path, work: Path, done: Collection[str] = ()
) -> Iterator[RunOutcome]:
    """Lay out ``converted`` as raw data and the published maps as ``derivatives/SEPIA``.

    Parameters
    ----------
    path : Path
        The archive with data and results.
    dest : Path
        Root of the dataset.
    work : Path
        Empty folder for what is unpacked on the way.
    done : collection of str
        Labels that need not be looked at again.

    Yields
    ------
    RunOutcome
        Of every run, then of every folder of published maps.

    Raises
    ------
    InputError
        It is no archive, an unsafe one, or holds no run.
    OutputError
        The disk is full or cannot be written.
    """
    with _opened(path) as archive:
        members = safe_members(archive)
        runs = converted_runs(members)
        if not runs:
            raise InputError(
                "holds no gradient echo images with the names of the paper's scripts"
                " (converted/.../sub-001_ses-GE_acq-Bipolar_part-mag_echo-1_GRE.nii.gz)",
                path.name,
                "If it holds DICOM, use --dicom, or unpack it and use qsmbids-convert.",
            )
        for one in runs:
            if one.run.label not in done:
                with TemporaryDirectory(dir=work) as folder:
                    yield _converted(archive, one, dest, Path(folder))
        yield from _absent(one.run for one in runs)
        yield from _published(archive, members, dest, done)


def lay_out_dicom(
    path: Path, dest: Path, work: Path, done: Collection[str] = ()
) -> Iterator[RunOutcome]:
    """Convert the archive in the archive with DICOM; as :func:`lay_out_results`."""
    with _opened(path) as outer:
        members = wanted_members(safe_members(outer))
        inner = [m for m in members if m.filename.rsplit("/", 1)[-1] == INNER_ARCHIVE]
        if not inner:
            if not dicom_runs(members):
                raise InputError(
                    f"holds neither {INNER_ARCHIVE} nor its folders (SIEMENS/MONOPOLAR_5E ...)",
                    path.name,
                    "Check that it is the archive with DICOM of the paper's record.",
                )
            yield from _all_converted(outer, dest, work, done)
            return
        unpack(outer, {INNER_ARCHIVE: min(inner, key=lambda m: m.filename.count("/"))}, work)
    with _opened(work / INNER_ARCHIVE) as archive:
        yield from _all_converted(archive, dest, work, done)


def describe_example(dest: Path, url: str) -> None:
    """Write what makes the folder a BIDS dataset, unless it is there."""
    if not (dest / "dataset_description.json").exists():
        write_json(
            dest / "dataset_description.json",
            {
                "Name": "Example data of the QSM consensus paper",
                "BIDSVersion": "1.10.0",
                "DatasetType": "raw",
                "ReferencesAndLinks": ["https://doi.org/10.1002/mrm.30006", url],
            },
        )
    if not any(dest.glob("README*")):
        write_text(dest / "README.md", _README)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"is not a zip archive ({error})", str(path)) from error


@contextmanager
def working_folder(kept: Path) -> Iterator[Path]:
    """Give a folder beside the archive, empty and for one process alone."""
    try:
        kept.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(kept, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", str(kept)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in kept.glob(f"{_WORK}*"):  # of a call that was killed
            shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=_WORK, dir=kept) as work:
            yield Path(work)
    except BlockingIOError as error:
        raise OutputError("is being worked on by another process", str(kept)) from error
    finally:
        os.close(descriptor)


def _absent(found: Iterable[ExampleRun]) -> Iterator[RunOutcome]:
    """Name the runs of the paper that an archive does not have at all."""
    labels = {run.label for run in found}
    for run in EXAMPLE_RUNS:
        if run.label not in labels:
            yield RunOutcome(run.label, warnings=["is not in the archive"])


def _converted(
    archive: zipfile.ZipFile, one: ConvertedRun, dest: Path, folder: Path
) -> RunOutcome:
    """Lay out one run of ``converted``."""
    outcome = RunOutcome(one.run.label)
    if one.missing:
        more = f" and {len(one.missing) - 4} more" if len(one.missing) > 4 else ""
        outcome.problem = f"the archive lacks {', '.join(one.missing[:4])}{more}"
        return outcome
    try:
        images = _unpacked(archive, one, folder)
        naming = name_images(
            images, participant=SUBJECT, session=one.run.session, acquisition=one.run.acquisition
        )
    except InputError as error:
        outcome.problem = str(error)
        return outcome
    if naming.skipped:
        image, reason = naming.skipped[0]
        outcome.problem = f"{_name_of(image)}: {reason}"
        return outcome
    placed = [image for images in naming.runs.values() for image in images]
    odd = [i for i in placed if not i.source.path.name.endswith(f"{_ENDINGS[i.part]}.nii")]
    if odd or len(naming.runs) != 1:
        what = f"{_name_of(odd[0].source)} is {odd[0].part}" if odd else "they are several scans"
        outcome.problem = f"names and sidecars do not agree: by its ImageType, {what}"
        return outcome
    return _placed(outcome, Conversion([], naming, warnings=naming.warnings), dest, one.run)


def _unpacked(
    archive: zipfile.ZipFile, one: ConvertedRun, folder: Path
) -> list[ConvertedImage]:
    """Write the images under names as of dcm2niix, which tell the part, and check them."""
    images = []
    for (part, echo), found in one.images.items():
        assert found.image is not None  # noqa: S101 - nothing is missing
        assert found.sidecar is not None  # noqa: S101
        path = folder / f"{found.name}_e{echo}{_ENDINGS[part]}.nii"
        try:
            with archive.open(found.sidecar) as stream:
                sidecar = json.loads(stream.read().decode("utf-8-sig"))
            with archive.open(found.image) as stream, path.open("xb") as target:
                zipped = found.image.filename.endswith(".gz")
                source = gzip.GzipFile(fileobj=stream) if zipped else stream
                while block := source.read(1 << 20):
                    target.write(block)
                    if target.tell() > _LARGEST_IMAGE:
                        raise InputError("unpacks to more than 8 GiB", f"{found.name}.nii.gz")
        except _BROKEN as error:
            raise InputError(f"is damaged in the archive ({error})", found.name) from error
        except ValueError as error:
            raise InputError("is no JSON", f"{found.name}.json") from error
        if not isinstance(sidecar, dict):
            raise InputError("holds no JSON object", f"{found.name}.json")
        try:
            read_header(path)
        except InputError as error:
            raise InputError(error.problem, f"{found.name}.nii.gz", error.fix) from error
        images.append(ConvertedImage(path, sidecar, 0))
    return images


def _name_of(image: ConvertedImage) -> str:
    """Return the name of an image in the archive."""
    return re.sub(r"_e\d+(_ph|_real|_imaginary)?\.nii$", "", image.path.name)


def _placed(outcome: RunOutcome, conversion: Conversion, dest: Path, run: ExampleRun) -> RunOutcome:
    """Move what was converted into the dataset, and note it."""
    outcome.warnings += conversion.warnings
    anat = Path(f"sub-{SUBJECT}", f"ses-{run.session}", "anat")
    written, kept = place(conversion, dest, participant=SUBJECT, session=run.session)
    problems = [why for why in kept.values() if why != ALREADY_THERE]
    if problems:
        outcome.problem, outcome.exit_code = problems[0], OutputError.exit_code
        return outcome
    for image in (i for images in conversion.naming.runs.values() for i in images):
        outcome.files += [str(anat / f"{image.name}{e}") for e in (".nii.gz", ".json")]
    outcome.n_written = 2 * len(written)
    return outcome


def _all_converted(
    archive: zipfile.ZipFile, dest: Path, work: Path, done: Collection[str]
) -> Iterator[RunOutcome]:
    """Convert every run of the archive with DICOM."""
    runs = dicom_runs(safe_members(archive))
    if not runs:
        raise InputError(
            "holds none of the folders GE/BIPOLAR_8E, PHILLIPS/CLEAR/BIPOLAR_7E ...",
            Path(str(archive.filename)).name,
        )
    for run, members in runs.items():
        if run.label not in done:
            with TemporaryDirectory(dir=work) as folder:
                yield _from_dicom(archive, run, members, dest, Path(folder))
    yield from _absent(runs)


def _from_dicom(
    archive: zipfile.ZipFile,
    run: ExampleRun,
    members: Sequence[zipfile.ZipInfo],
    dest: Path,
    folder: Path,
) -> RunOutcome:
    """Unpack and convert one run."""
    outcome = RunOutcome(run.label)
    source, images = folder / "dicom", folder / "nifti"
    images.mkdir()
    try:
        unpack(archive, {f"{n:06d}": member for n, member in enumerate(members)}, source)
        converted = convert_dicom(
            source,
            images,
            participant=SUBJECT,
            session=run.session,
            acquisition=run.acquisition,
        )
    except InputError as error:
        outcome.problem = f"{_folder_of(members)}: {error.problem}"
        return outcome
    finally:
        shutil.rmtree(source, ignore_errors=True)
    runs = converted.naming.runs
    if not runs:
        fates = "; ".join(dict.fromkeys(fate for *_, fate in converted.rows()))
        outcome.problem = f"{_folder_of(members)}: no run with phase ({fates})"
        return outcome
    if len(runs) > 1:
        outcome.warnings.append(f"{_folder_of(members)} holds {len(runs)} scans")
    times = sorted({float(i.sidecar["EchoTime"]) for found in runs.values() for i in found})
    if run.n_echoes and len(times) != run.n_echoes:
        text = f"{_folder_of(members)} holds {len(times)} echoes, its name says {run.n_echoes}"
        steps = [b - a for a, b in zip(times, times[1:], strict=False)]
        if len(times) < run.n_echoes and steps and max(steps) > _GAP * min(steps):
            outcome.problem = f"{text}, and echo times have a gap: one is missing"
            return outcome
        outcome.warnings.append(text)
    return _placed(outcome, converted, dest, run)


def _folder_of(members: Sequence[zipfile.ZipInfo]) -> str:
    """Return the last folders that the members have in common."""
    folders = [m.filename.split("/")[:-1] for m in members]
    shared = folders[0]
    for other in folders[1:]:
        same = [a == b for a, b in zip(shared, other, strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    return "/".join(shared[-3:])


def _published(
    archive: zipfile.ZipFile,
    members: Sequence[zipfile.ZipInfo],
    dest: Path,
    done: Collection[str],
) -> Iterator[RunOutcome]:
    """Write the published maps that are compared; the rest of ``derivatives`` stays away."""
    by_name = {m.filename: m for m in wanted_members(members)}
    n_found = 0
    for (run, pipeline), maps in published_maps(list(by_name)).items():
        n_found += 1
        label = f"derivatives/SEPIA/{run.folder}/GRE/{pipeline}"
        if label in done:
            continue
        outcome = RunOutcome(label)
        plan = {}
        for what, name in maps.items():
            extension = ".nii.gz" if name.endswith(".gz") else ".nii"
            plan[f"{label}/{run.label}_{what}{extension}"] = by_name[name]
        try:
            outcome.n_written = len(unpack(archive, plan, dest))
            outcome.files = list(plan)
        except QSMError as error:
            outcome.problem, outcome.exit_code = str(error), error.exit_code
        yield outcome
    description = dest / "derivatives" / "SEPIA" / "dataset_description.json"
    if n_found and not description.exists():
        write_json(
            description,
            {
                "Name": "Published maps of the QSM consensus paper",
                "BIDSVersion": "1.10.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "SEPIA", "Version": "1.2.2.4"}],
            },
        )
