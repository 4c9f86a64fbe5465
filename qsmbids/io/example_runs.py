"""What laying out the runs of the paper's example data has in common, whatever they come from."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from qsmbids.errors import InputError, OutputError
from qsmbids.io.dicom import Conversion
from qsmbids.io.example_data import EXAMPLE_RUNS, SUBJECT, ExampleRun
from qsmbids.io.raw_dataset import ALREADY_THERE, place
from qsmbids.io.write import write_json, write_text

__all__ = [
    "RunOutcome",
    "absent_runs",
    "place_run",
    "working_folder",
]

_WORK = ".unpacked-"
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


def _describe(dest: Path) -> None:
    """Write what makes the folder a BIDS dataset, unless it is there."""
    if not (dest / "dataset_description.json").exists():
        write_json(
            dest / "dataset_description.json",
            {
                "Name": "Example data of the QSM consensus paper",
                "BIDSVersion": "1.10.0",
                "DatasetType": "raw",
                "ReferencesAndLinks": [
                    "https://doi.org/10.1002/mrm.30006",
                    "https://doi.org/10.5281/zenodo.7410455",
                ],
            },
        )
    if not any(dest.glob("README*")):
        write_text(dest / "README.md", _README)


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


def absent_runs(runs: Iterable[ExampleRun]) -> Iterator[RunOutcome]:
    """Name the runs of the paper that an archive does not have at all."""
    labels = {run.label for run in runs}
    for run in EXAMPLE_RUNS:
        if run.label not in labels:
            yield RunOutcome(run.label, warnings=["is not in the archive"])


def place_run(
    outcome: RunOutcome, conversion: Conversion, dest: Path, run: ExampleRun
) -> RunOutcome:
    """Move what was converted into the dataset, and note it."""
    outcome.warnings += conversion.warnings
    anat = Path(f"sub-{SUBJECT}", f"ses-{run.session}", "anat")
    _describe(dest)
    written, kept = place(conversion, dest, participant=SUBJECT, session=run.session)
    problems = [why for why in kept.values() if why != ALREADY_THERE]
    if problems:
        outcome.problem, outcome.exit_code = problems[0], OutputError.exit_code
        return outcome
    for image in (i for images in conversion.naming.runs.values() for i in images):
        outcome.files += [str(anat / f"{image.name}{e}") for e in (".nii.gz", ".json")]
    outcome.n_written = 2 * len(written)
    return outcome
