"""Lay out what the paper's scripts converted, and the published maps.

What the scripts converted goes the way that DICOM goes: images are sorted by their sidecars, get
``Units`` by the rules of the phase scale and lose what could tell a person, and a run is moved
into the dataset as a whole or not at all. One bad run does not keep the others out.
"""

import gzip
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from qsmbids.errors import InputError, QSMError
from qsmbids.io.archive import DAMAGED, copy_within, extract, open_zip, safe_members
from qsmbids.io.bids_naming import ConvertedImage, name_images
from qsmbids.io.dicom import Conversion
from qsmbids.io.example_data import (
    SUBJECT,
    ConvertedRun,
    converted_runs,
    published_maps,
    wanted_members,
)
from qsmbids.io.example_runs import RunOutcome, absent_runs, place_run
from qsmbids.io.nifti_header import read_header
from qsmbids.io.write import write_json

__all__ = ["lay_out_results"]

#: How dcm2niix ends the names of the parts.
_ENDINGS = {"mag": "", "phase": "_ph", "real": "_real", "imag": "_imaginary"}
#: Words of ImageType that tell the part.
_TOLD = {"M": "mag", "MAGNITUDE": "mag", "P": "phase", "PHASE": "phase"}
_TOLD |= {"R": "real", "REAL": "real", "I": "imag", "IMAGINARY": "imag"}
_LARGEST_IMAGE = 8 << 30


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
    with open_zip(path) as archive:
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
        yield from absent_runs(one.run for one in runs)
        yield from _published(archive, members, dest, done)


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
    if len(naming.runs) != 1:
        outcome.problem = "the images are of several scans, by their sidecars and grids"
        return outcome
    return place_run(outcome, Conversion([], naming, warnings=naming.warnings), dest, one.run)


def _unpacked(archive: zipfile.ZipFile, one: ConvertedRun, folder: Path) -> list[ConvertedImage]:
    """Write the images under names as of dcm2niix, which tell the part, and check them."""
    images = []
    for (part, echo), member in one.images.items():
        assert member.image is not None  # noqa: S101 - nothing is missing
        assert member.sidecar is not None  # noqa: S101
        path = folder / f"{member.name}_e{echo}{_ENDINGS[part]}.nii"
        try:
            with archive.open(member.sidecar) as stream:
                sidecar = json.loads(stream.read().decode("utf-8-sig"))
            with archive.open(member.image) as stream, path.open("xb") as target:
                zipped = member.image.filename.endswith(".gz")
                source = gzip.GzipFile(fileobj=stream) if zipped else stream
                if copy_within(source, target, _LARGEST_IMAGE) < 0:
                    raise InputError("unpacks to more than 8 GiB", f"{member.name}.nii.gz")
        except DAMAGED as error:
            raise InputError(f"is damaged in the archive ({error})", member.name) from error
        except ValueError as error:
            raise InputError("is no JSON", f"{member.name}.json") from error
        if not isinstance(sidecar, dict):
            raise InputError("holds no JSON object", f"{member.name}.json")
        parts = [_TOLD[t] for t in sidecar.get("ImageType") or () if t in _TOLD]
        if parts and parts[-1] != part:
            raise InputError(f"is {parts[-1]}, not {part}, by its ImageType", member.name)
        try:
            read_header(path)
        except InputError as error:
            raise InputError(error.problem, f"{member.name}.nii.gz", error.fix) from error
        images.append(ConvertedImage(path, sidecar, 0))
    return images


def _name_of(image: ConvertedImage) -> str:
    """Return the name of an image in the archive."""
    return re.sub(r"_e\d+(_ph|_real|_imaginary)?\.nii$", "", image.path.name)


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
            outcome.n_written = len(extract(archive, plan, dest))
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
