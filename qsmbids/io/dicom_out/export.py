"""From an output dataset and the DICOM files of one examination to a folder of DICOM objects.

Everything is found and compared before anything is written, and what is written appears whole:
series are made in a hidden folder beside their place and moved there when all are done.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids.errors import ConfigError, InputError, OutputError, QSMError
from qsmbids.io.dicom_out.objects import FORMS, RunObjects
from qsmbids.io.dicom_out.outputs import RunOutputs, find_outputs, read_sidecar
from qsmbids.io.dicom_out.planes import quiet
from qsmbids.io.dicom_out.series import highdicom
from qsmbids.io.dicom_out.source import Exam, Source, read_exam, unpacked
from qsmbids.io.nifti import read_volume

__all__ = ["Exported", "check_folders", "export", "export_runs"]

_FILE = re.compile(r"\d{4,}\.dcm")


@dataclass
class Exported:
    """What was written.

    Attributes
    ----------
    decisions, warnings : list of str
        Without anything about the patient.
    n_series, n_files : int
    """

    decisions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    n_series: int = 0
    n_files: int = 0


def export(
    out_dir: Path,
    dest: Path,
    source: Path,
    *,
    forms: Sequence[str] = ("parametric-map",),
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
) -> Exported:
    """Write the maps of one participant and session as DICOM.

    Parameters
    ----------
    out_dir : Path
        Output dataset of qsmbids.
    dest : Path
        Folder for the objects, made if absent; a folder for each run, in it one for each series.
    source : Path
        Folder or archive with the DICOM files that the runs were made from.
    forms : sequence of str
        Of :data:`qsmbids.io.dicom_out.objects.FORMS`.
    participants, sessions : sequence of str, optional
        Labels; only needed where the dataset holds more than one examination.

    Raises
    ------
    ConfigError
        highdicom is missing, a folder lies where it must not, or it is open which examination is
        meant.
    InputError
        The source is not that of the runs.
    """
    highdicom()
    check_folders(out_dir, dest, source)
    runs = find_outputs(out_dir, participants=participants, sessions=sessions)
    exams = sorted({run.exam for run in runs})
    if len(exams) > 1:
        raise ConfigError(
            f"holds {len(exams)} examinations, and the source is of one",
            str(out_dir),
            "Choose with --participant-label, and --session-label where there are sessions.",
        )
    return export_runs(runs, dest, source, forms=forms)


def export_runs(
    runs: Sequence[RunOutputs], dest: Path, source: Path, *, forms: Sequence[str]
) -> Exported:
    """Write runs of one examination as DICOM; see :func:`export`."""
    unknown = sorted(set(forms) - set(FORMS))
    if unknown or not forms:
        raise ConfigError(f"unknown form {', '.join(unknown)}", "--form")
    done = Exported()
    try:
        with unpacked(source) as folders, quiet():
            exam = read_exam(folders, str(source))
            objects = _plan(runs, exam, done)
            _write(objects, dest, tuple(forms), done)
    except (QSMError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - what a library says may quote the patient
        raise InputError(
            f"cannot be made into DICOM ({type(error).__name__}{_where(error)})",
            str(source),
            "Check the DICOM files, for example with dciodvfy.",
        ) from None
    return done


def check_folders(out_dir: Path, dest: Path, source: Path) -> None:
    """Refuse folders that would mix what names a patient with what does not.

    Raises
    ------
    ConfigError
    """
    target = dest.resolve()
    if target.exists() and not target.is_dir():
        raise ConfigError("is not a folder", str(dest))
    for folder, what in ((out_dir, "the output dataset"), (source, "the source")):
        if target == folder.resolve() or folder.resolve() in target.parents:
            raise ConfigError(
                f"must not lie in {what}",
                str(dest),
                "DICOM names the patient; use a folder apart.",
            )


def _plan(runs: Sequence[RunOutputs], exam: Exam, done: Exported) -> list[RunObjects]:
    """Find the source of every run, and the numbers of its new series."""
    objects = []
    taken = set(exam.numbers)
    for run in runs:
        source = _source_of(run, exam)
        if not source.compared:
            done.warnings.append(
                f"{run.label}: it kept no magnitude; place and echo times agree with the source,"
                " the voxels could not be compared"
            )
        numbers = sorted({stack.number for stack in source.stacks})
        files = {p.dataset.SOPInstanceUID for s in source.stacks for p in s.planes}
        done.decisions.append(
            f"{run.label}: made from series {', '.join(map(str, numbers))} ({len(files)} files)"
        )
        first = _first_number(source, taken)
        taken |= set(range(first, first + 100))
        objects.append(RunObjects(run, source, first))
    return objects


def _source_of(run: RunOutputs, exam: Exam) -> Source:
    image = next(path for (suffix, _), path in sorted(run.maps.items()) if suffix == "Chimap")
    times = read_sidecar(image).get("EchoTime")
    listed = times if isinstance(times, list) else [times]
    milliseconds = [1000.0 * t for t in listed if isinstance(t, int | float)]
    magnitude = None if run.magnitude is None else read_volume(run.magnitude)
    return exam.source_of(run.label, read_volume(image), magnitude, milliseconds)


def _first_number(source: Source, taken: set[int]) -> int:
    """Return the first of a hundred numbers that no series has, beginning with the source's."""
    number = max(1, min(stack.number for stack in source.stacks))
    first = number * 100 + 1
    while taken & set(range(first, first + 100)):
        first += 1000
    return first


def _write(
    objects: Sequence[RunObjects], dest: Path, forms: tuple[str, ...], done: Exported
) -> None:
    """Make all series in a hidden folder, then move them to their places."""
    import pydicom

    targets = {one.run.label: dest / one.run.label for one in objects}
    for target in targets.values():
        _raise_if_foreign(target)
    new_folders = [p for p in (dest, *dest.parents) if not p.exists()]
    try:
        dest.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".qsmbids-dicom-", dir=dest) as work:
            for one in objects:
                for name, datasets in one.series(forms):
                    folder = Path(work) / one.run.label / name
                    folder.mkdir(parents=True)
                    for number, dataset in enumerate(datasets, 1):
                        pydicom.dcmwrite(
                            folder / f"{number:04d}.dcm", dataset, enforce_file_format=True
                        )
                    done.n_series += 1
                    done.n_files += len(datasets)
            for label, target in targets.items():
                if target.exists():
                    target.rename(Path(work) / f"{label}.old")
                (Path(work) / label).rename(target)
    except BaseException as error:
        for folder in new_folders:
            _remove_if_empty(folder)
        if isinstance(error, OSError):
            raise OutputError(f"cannot be written ({error.strerror})", str(dest)) from error
        raise


def _raise_if_foreign(target: Path) -> None:
    """Refuse to replace a folder in which there is more than an earlier export."""
    if not target.exists():
        return
    others = [p for p in target.rglob("*") if p.is_file() and not _FILE.fullmatch(p.name)]
    if others or not target.is_dir():
        raise OutputError(
            "is there, and holds other files than an earlier export", str(target), "Move it away."
        )


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _where(error: BaseException) -> str:
    """Return where something went wrong, without what was said about it."""
    trace: Any = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {Path(code.co_filename).name}:{code.co_name}"
