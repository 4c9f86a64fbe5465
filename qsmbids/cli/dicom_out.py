"""``--dicom-out``: the maps of every run that finished, as DICOM too."""

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.cli.dicom import FORMS
from qsmbids.errors import InputError, QSMError
from qsmbids.io.archive import ARCHIVE_SUFFIXES
from qsmbids.io.runs import RUN_ENTITIES

__all__ = ["check_dicom_out", "lacking_sources", "unnamed", "write_dicom"]

logger = logging.getLogger("qsmbids")

_LONG = {short: name for name, short in RUN_ENTITIES.items()}
#: Options whose folders may bear the name of a patient.
_FOLDERS = ("--dicom-source", "--dicom-out")
_SOURCE_FIX = "Give --dicom-source: that of the one participant, or with a folder sub-LABEL each."


def check_dicom_out(args: argparse.Namespace, bids_dir: Path, out_dir: Path) -> None:
    """Refuse what could not be written in the end, before anything is computed.

    Raises
    ------
    QSMError
        highdicom is missing, there is no source, or DICOM would lie among the data.
    """
    if args.dicom_out is None:
        return
    from qsmbids.io.dicom_out.export import check_folders
    from qsmbids.io.dicom_out.series import highdicom

    highdicom()
    root = _root(args, bids_dir)
    if not root.exists():
        raise InputError("there are no DICOM files of the source", str(root), _SOURCE_FIX)
    for folder in (out_dir, root, bids_dir):
        check_folders(folder, args.dicom_out, root)


def lacking_sources(
    args: argparse.Namespace, bids_dir: Path, labels: Iterable[str]
) -> list[tuple[str, str]]:
    """Return the runs without a folder of DICOM files, and what to do."""
    if args.dicom_out is None:
        return []
    labels = list(labels)
    alone = len({_exam(label) for label in labels}) == 1
    root = _root(args, bids_dir)
    return [
        (label, f"there are no DICOM files of it. {_SOURCE_FIX}")
        for label in labels
        if _source(root, *_exam(label), alone=alone) is None
    ]


def write_dicom(
    args: argparse.Namespace,
    results: Sequence[Mapping[str, Any]],
    bids_dir: Path,
    out_dir: Path,
) -> int:
    """Write the maps of the runs that finished as DICOM; one that fails never stops the others.

    Returns
    -------
    int
        How many runs could not be written.
    """
    finished = [str(r["run"]) for r in results if r["status"] == "ok"]
    if args.dicom_out is None or not finished:
        return 0
    from qsmbids.io.dicom_out.export import export_runs
    from qsmbids.io.dicom_out.outputs import find_outputs

    lacking = dict(lacking_sources(args, bids_dir, finished))
    for label, why in lacking.items():
        logger.error("%s  not written as DICOM: %s", label, why)
    exams = sorted({_exam(label) for label in finished if label not in lacking})
    failed = len(lacking)
    for participant, session in exams:
        runs = [
            run
            for run in find_outputs(out_dir, participants=[participant], sessions=[session])
            if run.label in finished
        ]
        source = _source(_root(args, bids_dir), participant, session, alone=len(exams) == 1)
        try:
            if source is None:
                raise InputError("there are no DICOM files of it", fix=_SOURCE_FIX)
            done = export_runs(runs, args.dicom_out, source, forms=FORMS[args.dicom_form])
        except QSMError as error:
            failed += len(runs)
            for run in runs:  # without the folder, which may bear a name
                logger.error("%s  not written as DICOM: %s", run.label, error.problem)
            continue
        for text in done.decisions:
            logger.info("DICOM  %s", text)
        for text in done.warnings:
            logger.warning("DICOM  WARNING: %s", text)
        logger.info("DICOM  %d series, %d files", done.n_series, done.n_files)
    return failed


def unnamed(words: Sequence[str]) -> list[str]:
    """Return a command line without the folders that may bear the name of a patient.

    Examples
    --------
    >>> unnamed(["bids", "out", "participant", "--dicom-out", "to/Doe", "--dicom-source=Doe"])
    ['bids', 'out', 'participant', '--dicom-out', 'DIR', '--dicom-source=DIR']
    """
    out: list[str] = []
    for word in words:
        option, equals, _ = word.partition("=")
        if out and out[-1].replace("_", "-") in _FOLDERS:
            out.append("DIR")
        else:
            hidden = equals and option.replace("_", "-") in _FOLDERS
            out.append(f"{option}=DIR" if hidden else word)
    return out


def _root(args: argparse.Namespace, bids_dir: Path) -> Path:
    given: Path | None = args.dicom_source
    return bids_dir / "sourcedata" if given is None else given.resolve()


def _exam(label: str) -> tuple[str, str]:
    """Return participant and session of a run."""
    named = {_LONG[k]: v for k, _, v in (w.partition("-") for w in label.split("_")) if k in _LONG}
    return named["subject"], named.get("session", "")


def _source(root: Path, participant: str, session: str, *, alone: bool) -> Path | None:
    """Return the folder or archive of an examination, None if there is none."""
    names = [f"sub-{participant}"]
    if session:
        within = f"sub-{participant}/ses-{session}"
        names = [within, f"sub-{participant}_ses-{session}", *names]
    for name in names:
        for path in (root / name, *(root / f"{name}{end}" for end in ARCHIVE_SUFFIXES)):
            if path.exists():
                return path
    if not root.exists():
        return None
    apart = root.is_dir() and any(root.glob("sub-*"))
    return root if alone and not apart else None
