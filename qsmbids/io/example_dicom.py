"""Convert the archive in the archive with DICOM of the paper's example data."""

import itertools
import shutil
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from qsmbids.errors import InputError
from qsmbids.io.archive import extract, open_zip, safe_members
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.example_data import (
    INNER_ARCHIVE,
    SUBJECT,
    ExampleRun,
    dicom_runs,
    wanted_members,
)
from qsmbids.io.example_runs import RunOutcome, absent_runs, place_run

__all__ = ["lay_out_dicom"]

#: Echo times this much further apart than the nearest two have one missing between them.
_GAP = 1.6


def lay_out_dicom(
    path: Path, dest: Path, work: Path, done: Collection[str] = ()
) -> Iterator[RunOutcome]:
    """Convert the archive in the archive with DICOM.

    Parameters, what is yielded and errors are those of
    :func:`qsmbids.io.example_results.lay_out_results`.
    """
    with open_zip(path) as outer:
        members = wanted_members(safe_members(outer))
        inner = [m for m in members if m.filename.lower().endswith(INNER_ARCHIVE.lower())]
        if not inner:
            if not dicom_runs(members):
                raise InputError(
                    f"holds neither {INNER_ARCHIVE} nor its folders (SIEMENS/MONOPOLAR_5E ...)",
                    path.name,
                    "Check that it is the archive with DICOM of the paper's record.",
                )
            yield from _all_converted(outer, dest, work, done)
            return
        extract(outer, {INNER_ARCHIVE: min(inner, key=lambda m: m.filename.count("/"))}, work)
    with open_zip(work / INNER_ARCHIVE) as archive:
        yield from _all_converted(archive, dest, work, done)


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
    yield from absent_runs(runs)


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
        extract(archive, {f"{n:06d}": member for n, member in enumerate(members)}, source)
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
    times = sorted({float(i.sidecar["EchoTime"]) for images in runs.values() for i in images})
    if run.n_echoes and len(times) != run.n_echoes:
        text = f"{_folder_of(members)} holds {len(times)} echoes, its name says {run.n_echoes}"
        steps = [b - a for a, b in itertools.pairwise(times)]
        if len(times) < run.n_echoes and steps and max(steps) > _GAP * min(steps):
            outcome.problem = f"{text}, and echo times have a gap: one is missing"
            return outcome
        outcome.warnings.append(text)
    return place_run(outcome, converted, dest, run)


def _folder_of(members: Sequence[zipfile.ZipInfo]) -> str:
    """Return the folders that the members have in common, within those of the scanners."""
    folders = [m.filename.split("/")[:-1] for m in members]
    shared = folders[0]
    for other in folders[1:]:
        same = [a == b for a, b in zip(shared, other, strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    inside = Path(INNER_ARCHIVE).stem
    return "/".join(shared[shared.index(inside) + 1 :] if inside in shared else shared)
