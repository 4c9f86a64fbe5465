"""Run the BIDS validator and keep what concerns the requested participants."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError

__all__ = ["Issue", "ValidationResult", "default_config", "validate_dataset"]

VALIDATOR = "bids-validator-deno"
_SKIP = "Use --skip-bids-validation to continue without it."
#: Folders of other modalities; an error there does not concern susceptibility mapping.
_OTHER = re.compile(
    r"/sub-[^/]+/(?:ses-[^/]+/)?(?:beh|dwi|eeg|emg|fmap|func|ieeg|meg|micr|motion|mrs|nirs|perf|pet)/"
)
#: Images that a run is made of, and their sidecars.
_READ = re.compile(r".*?(MEGRE|T2starw)\.(?:nii|nii\.gz|json)")
_UNREADABLE = {"nifti_header_unreadable", "symlink_broken", "empty_file", "file_read"}
_DESCRIPTION = "dataset_description"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Issue:
    """All findings of one kind.

    Attributes
    ----------
    code, sub_code : str
        As the validator names them.
    message : str
        What the code means.
    locations : tuple of str
        Paths from the root of the dataset.
    """

    code: str
    sub_code: str
    message: str
    locations: tuple[str, ...]

    def __str__(self) -> str:
        name = f"{self.code} ({self.sub_code})" if self.sub_code else self.code
        more = f" and {len(self.locations) - 3} more" if len(self.locations) > 3 else ""
        return f"{name}: {self.message} [{', '.join(self.locations[:3])}{more}]"


@dataclass(frozen=True)
class ValidationResult:
    """What the validator found for the requested participants.

    Attributes
    ----------
    errors : list of Issue
        Grouped by code.
    n_warnings : int
        Warnings, and errors in folders of other modalities.
    version : str
        Of the validator's schema.
    """

    errors: list[Issue]
    n_warnings: int
    version: str

    @property
    def of_dataset(self) -> list[Issue]:
        """Errors without which there is no dataset."""
        return self._chosen(lambda code, path: "/" not in path[1:] and _DESCRIPTION in code + path)

    def against(self, run: str) -> list[Issue]:
        """Errors in the images and sidecars that are read for a run, ``sub-01_acq-x``.

        Images that cannot be read at all are none of them: whoever reads them says what is wrong,
        and what to do.
        """
        return self._chosen(lambda code, path: _is_read(code, path, [run]))

    def unread(self, runs: Collection[str]) -> list[Issue]:
        """Errors that concern neither the dataset nor any of these runs."""
        return self._chosen(
            lambda code, path: _DESCRIPTION not in code + path and not _is_read(code, path, runs)
        )

    def _chosen(self, wanted: Callable[[str, str], bool]) -> list[Issue]:
        """Return the issues with those of their locations that are wanted."""
        chosen = []
        for issue in self.errors:
            kept = tuple(path for path in issue.locations if wanted(issue.code.lower(), path))
            if kept:
                chosen.append(replace(issue, locations=kept))
        return chosen


def _is_read(code: str, path: str, runs: Collection[str]) -> bool:
    """Tell whether a file that can be read at all is of one of these runs."""
    name = path.rsplit("/", 1)[-1]
    match = _READ.fullmatch(name)
    if match is None or code in _UNREADABLE:
        return False
    words = set(re.findall(r"(?:^|_)([a-z]+-[a-zA-Z0-9+]+)", name))
    if match[1] == "T2starw" and not any(word.startswith("part-") for word in words):
        return False
    words = {word for word in words if not word.startswith(("echo-", "part-"))}
    return any(words <= set(run.split("_")) for run in runs)


def default_config() -> Path:
    """Return the configuration that qsmbids ships, of the wheel or of a source tree."""
    package = Path(__file__).resolve().parents[1]
    name = "bids_validator_config.json"
    for folder in (package / "data", package.parent):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{name} is missing", str(package), "Install qsmbids again.")


def validate_dataset(
    bids_dir: str | Path,
    config: str | Path | None = None,
    participants: Collection[str] | None = None,
    *,
    all_modalities: bool = False,
    timeout_s: float = 600.0,
) -> ValidationResult:
    """Validate a dataset.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    config : path, optional
        Configuration of the validator; default :func:`default_config`.
    participants : collection of str, optional
        Validate these participants and the dataset as a whole. The validator itself cannot be
        restricted, so it is shown a copy of their part of the tree, made of links: thousands of
        participants would take it minutes, and more memory than it has.
    all_modalities : bool
        Count errors in folders other than ``anat`` too; wanted for the outputs, not for raw data.
    timeout_s : float
        When to give up [s].

    Returns
    -------
    ValidationResult

    Raises
    ------
    InputError
        The dataset does not exist, or the validator is absent, too slow or broken.
    """
    root = Path(os.path.abspath(bids_dir))
    if not root.is_dir():
        fix = "Check the path and the bind mounts of the container."
        raise InputError("is not a folder", str(root), fix)
    labels = None if participants is None else {p.removeprefix("sub-") for p in participants}
    config = Path(config) if config else default_config()
    if labels is None:
        report = _run(_executable(), root, config, timeout_s)
    else:
        with tempfile.TemporaryDirectory(prefix="qsmbids-part-") as folder:
            part = Path(folder)
            _link_part(root, part, labels)
            report = _run(_executable(), part, config, timeout_s)
    errors: dict[tuple[str, str], list[str]] = defaultdict(list)
    n_warnings = 0
    for issue in report["issues"]["issues"]:
        location = str(issue.get("location") or "/")
        if not _concerns(location, labels) or issue.get("severity") == "ignore":
            continue
        counts = all_modalities or not _OTHER.match(location)
        if issue.get("severity") == "error" and counts:
            errors[issue["code"], issue.get("subCode") or ""].append(location)
        else:
            n_warnings += 1
    messages = report["issues"].get("codeMessages", {})
    return ValidationResult(
        errors=list(_grouped(errors, messages)),
        n_warnings=n_warnings,
        version=str(report.get("summary", {}).get("schemaVersion", "")),
    )


def _link_part(root: Path, part: Path, labels: Collection[str]) -> None:
    """Make the part of a dataset that concerns some participants, of links to its files.

    Folders are made anew, because the validator takes a link to one for a file. Tables of all
    participants at the top lose the rows of the others, who would count as missing.
    """
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                # folders of participants by name alone: a look at each takes long
                label = re.fullmatch("sub-([a-zA-Z0-9+]+)", entry.name)
                if label is not None:
                    if label[1] in labels and entry.is_dir():
                        _link_tree(Path(entry.path), part / entry.name)
                elif entry.name == "participants.tsv":
                    _link_rows(Path(entry.path), part / entry.name, labels)
                elif entry.is_file():
                    (part / entry.name).symlink_to(entry.path)
    except OSError as error:
        raise InputError(
            f"cannot be prepared for the validator ({error.strerror})", str(root), _SKIP
        ) from error


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir():
                _link_tree(Path(entry.path), target / entry.name)
            else:
                (target / entry.name).symlink_to(entry.path)


def _link_rows(source: Path, target: Path, labels: Collection[str]) -> None:
    """Write a table with the rows of some participants."""
    try:
        lines = source.read_text("utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):  # for the validator to complain of
        target.symlink_to(source)
        return
    if not lines or lines[0].split("\t")[0].strip() != "participant_id":
        target.symlink_to(source)
        return
    others = re.compile(r"sub-([a-zA-Z0-9+]+)(?=\s|$)")
    kept = [
        line for line in lines[1:] if (match := others.match(line)) is None or match[1] in labels
    ]
    target.write_text("".join([lines[0], *kept]), "utf-8")


def _grouped(
    errors: dict[tuple[str, str], list[str]], messages: dict[str, str]
) -> Iterable[Issue]:
    for (code, sub_code), locations in sorted(errors.items()):
        message = " ".join(str(messages.get(code, "")).split())
        yield Issue(code, sub_code, message, tuple(sorted(set(locations))))


def _concerns(location: str, labels: Collection[str] | None) -> bool:
    """Tell whether a finding is about the dataset as a whole or one of the participants."""
    of = re.match(r"/sub-([a-zA-Z0-9+]+)(?:[/_]|$)", location)
    return labels is None or of is None or of[1] in labels


def _executable() -> str:
    """Return the validator beside this Python, else on the PATH."""
    program = shutil.which(VALIDATOR, path=str(Path(sys.executable).parent)) or shutil.which(
        VALIDATOR
    )
    if program is None:
        raise InputError(
            "the BIDS validator is not installed",
            VALIDATOR,
            f"Install it with 'pip install {VALIDATOR}'. {_SKIP}",
        )
    return program


def _run(executable: str, root: Path, config: Path, timeout_s: float) -> dict[str, Any]:
    """Return the report; the exit status only repeats what it says."""
    with tempfile.TemporaryDirectory(prefix="qsmbids-validator-") as folder:
        out = Path(folder) / "report.json"
        command = [executable, "--format", "json", "-c", str(config), "-o", str(out), str(root)]
        # its cache must not go to a home that may be read-only; colours would spoil the messages
        environment = {**os.environ, "DENO_DIR": folder, "NO_COLOR": "1"}
        try:
            done = subprocess.run(  # noqa: S603 (a list of arguments, no shell)
                command,
                capture_output=True,
                timeout=timeout_s,
                env=environment,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"the BIDS validator did not finish within {timeout_s:g} s", str(root), _SKIP
            ) from error
        except OSError as error:
            raise InputError(
                f"the BIDS validator cannot be started ({error.strerror})", executable, _SKIP
            ) from error
        try:
            report = json.loads(out.read_text(encoding="utf-8"))
            report["issues"]["issues"]  # the shape that is relied on
        except (OSError, ValueError, KeyError, TypeError) as error:
            lines = _COLOUR.sub("", done.stderr).strip().splitlines()
            detail = f": {lines[0]}" if lines else ""
            raise InputError(
                f"the BIDS validator gave no report (exit status {done.returncode}){detail}",
                str(root),
                _SKIP,
            ) from error
    return dict(report)
