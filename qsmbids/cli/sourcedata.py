"""Before runs are looked for: DICOM below ``sourcedata`` and 4-D files become raw BIDS."""

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids.errors import InputError, QSMError
from qsmbids.execution import Execution
from qsmbids.io.sourcedata import CONVERTED, Source, find_sources, target_dataset

if TYPE_CHECKING:
    from qsmbids.io.coils import Coils
    from qsmbids.io.epi_series import EpiSeries
    from qsmbids.io.stacks import Stack
    from qsmbids.io.validate import ValidationResult

__all__ = ["Sourcedata", "has_raw"]

logger = logging.getLogger("qsmbids")

_STEPS = ("convert_dicom", "split_echoes", "average_series", "combine_coils")
#: What the steps do, for people.
_HOW = {
    "split_echoes": "split from 4-D files",
    "average_series": "averaged from echo planar series",
    "combine_coils": "combined from single coils",
}
_FOLDERS = (("subject", "sub"), ("session", "ses"))


@dataclass(frozen=True)
class Sourcedata:
    """What there is to convert, and where the raw images are.

    Attributes
    ----------
    bids_dir, out_dir : Path
        Roots of the input and of the output dataset.
    sources, stacks : dict
        By label: DICOM and 4-D files that have no raw images yet.
    done : list of str
        Labels of the DICOM that has.
    echo_times : list of float, optional
        Of the 4-D files, instead of their sidecars' [s].
    scanner_key : bool
        Keep an anonymous key of the scanner of DICOM.
    unusable : list of dict
        A result for each source that lacks what its conversion needs.
    accept_filtered : bool
        Convert phase that the scanner filtered where there is no other.
    """

    bids_dir: Path
    out_dir: Path
    sources: "dict[str, Source]"
    stacks: "dict[str, Stack | EpiSeries | Coils]"
    done: list[str]
    echo_times: list[float] | None = None
    scanner_key: bool = True
    unusable: list[dict[str, Any]] = field(default_factory=list)
    accept_filtered: bool = False

    @classmethod
    def find(cls, args: argparse.Namespace, bids_dir: Path, out_dir: Path) -> "Sourcedata":
        """Look for what is no raw BIDS yet, unless told not to."""
        if args.no_convert:
            return cls(bids_dir, out_dir, {}, {}, [])
        # imports what reads images: only once the arguments are known to be sound
        from qsmbids.io.coils import find_coils
        from qsmbids.io.epi_series import find_series
        from qsmbids.io.stacks import find_stacks

        chosen = {"participants": args.participant_label, "sessions": args.session_label}
        pending, done = find_sources(bids_dir, **chosen, converted=[out_dir / CONVERTED])
        stacks: dict[str, Stack | EpiSeries | Coils] = {
            stack.label: stack for stack in find_stacks(bids_dir, **chosen)
        }
        coils, wrong = find_coils(bids_dir, **chosen)
        series, incomplete = find_series(bids_dir, **chosen) if args.include_epi else ([], [])
        stacks |= {scan.label: scan for scan in coils}
        stacks |= {scan.label: scan for scan in series}
        sources = cls(
            bids_dir,
            out_dir,
            {source.label: source for source in pending},
            stacks,
            [source.label for source in done],
            args.echo_times,
            not args.no_scanner_key,
            [
                *(_failure(p.where, _STEPS[3], p.message) for p in wrong),
                *(_failure(p.where, _STEPS[2], p.message) for p in incomplete),
            ],
            args.accept_filtered_phase,
        )
        for label in list(stacks):
            if not (sources.is_pending(label) or sources._is_newer(stacks[label])):
                del stacks[label]
        return sources

    @property
    def pending(self) -> list[str]:
        """Labels of what is to be converted."""
        return [*self.sources, *self.stacks]

    @property
    def only(self) -> bool:
        """Whether the input dataset holds nothing but what is to be converted."""
        return bool(self.sources or self.done) and not has_raw(self.bids_dir)

    def refuse_invalid(self, validated: "Sequence[ValidationResult]") -> list[dict[str, Any]]:
        """Take out what the BIDS validator refuses; return a result for all that is unusable."""
        refused = list(self.unusable)
        for label in list(self.stacks):
            issues = [issue for result in validated for issue in result.against(label)]
            if issues:
                message = f"is not valid BIDS: {'; '.join(str(issue) for issue in issues[:3])}"
                error = InputError(message, label, "Use --skip-bids-validation to have it split.")
                refused.append(_failure(label, "pre-flight", str(error)))
                del self.stacks[label]
        return refused

    def datasets(self) -> list[Path]:
        """Return the raw datasets that there are now; what the user gave comes first."""
        converted = self.out_dir / CONVERTED
        roots = [root for root in (self.bids_dir, converted) if has_raw(root)]
        return roots or [self.bids_dir]

    def preview(self) -> list[dict[str, Any]]:
        """Print what would become of everything; return a result for each that would fail."""
        failed = []
        for label, source in self.sources.items():
            try:
                target = target_dataset(self.bids_dir, self.out_dir, source)
                print(f"{label} would be converted from DICOM into {target}")
                _preview_dicom(source, self.accept_filtered)
            except QSMError as error:
                failed.append(_failure(label, _STEPS[0], str(error)))
        for label, stack in self.stacks.items():
            try:
                names = self._names(stack)
                target = self.out_dir / CONVERTED
                print(f"{label} would be {_HOW[self._step(label)]} into {target}:")
                print("\n".join(f"  {name}" for name in names) + "\n")
            except QSMError as error:
                failed.append(_failure(label, self._step(label), str(error)))
        return failed

    def convert(
        self, execution: Execution, crash_dir: Path
    ) -> tuple[list[dict[str, Any]], list[Path]]:
        """Convert everything that is pending.

        Returns
        -------
        failed : list of dict
            One result for each source that could not be converted.
        changed : list of Path
            The datasets that have new images.
        """
        from qsmbids.cli.console import raise_if_stopped
        from qsmbids.cli.progress import Progress
        from qsmbids.workflows.convert import conversion_name, init_convert_wf
        from qsmbids.workflows.execute import execute, read_crashes

        failed: dict[str, dict[str, Any]] = {}
        targets: dict[str, tuple[Source | Stack | EpiSeries | Coils, Path]] = {}
        for label, source in self.sources.items():
            try:
                _only_path(source)
            except QSMError as problem:
                failed[label] = _failure(label, _STEPS[0], str(problem))
            else:
                targets[label] = source, target_dataset(self.bids_dir, self.out_dir, source)
        for label, stack in self.stacks.items():
            targets[label] = stack, self.out_dir / CONVERTED
        logger.info("%d source(s) without raw images are converted first", len(targets))
        names = {conversion_name(label): label for label in targets}
        error: Exception | None = None
        if targets:
            workflow = init_convert_wf(
                targets,
                execution,
                crash_dir,
                echo_times=self.echo_times,
                scanner_key=self.scanner_key,
                accept_filtered=self.accept_filtered,
            )
            with Progress(names, check=raise_if_stopped) as progress:
                error = execute(workflow, execution, progress)
        crashes = {crash.workflow: crash for crash in reversed(read_crashes(crash_dir, {}))}
        for name, label in names.items():
            step = self._step(label)
            if name in crashes:
                crash = crashes[name]
                failed[label] = _failure(label, step, crash.message, crash.crash_file)
            elif self.is_pending(label):
                reason = str(error or "no image was written").splitlines()[0]
                failed[label] = _failure(label, step, reason)
        changed = {target for label, (_, target) in targets.items() if label not in failed}
        return [failed[label] for label in self.pending if label in failed], sorted(changed)

    def coils_of(self, roots: Sequence[Path]) -> "Sourcedata":
        """Return what is to be combined of the single coils that the conversion has brought."""
        from qsmbids.io.coils import find_coils

        people = {source.participant for source in self.sources.values()}
        scans = [scan for root in roots for scan in find_coils(root, participants=people)[0]]
        coils = replace(self, sources={}, stacks={scan.label: scan for scan in scans}, done=[])
        pending = {k: v for k, v in coils.stacks.items() if coils.is_pending(k)}
        return replace(coils, stacks=pending, unusable=[])

    def is_pending(self, label: str) -> bool:
        """Tell whether a source has no raw images now."""
        if label in self.stacks:
            try:
                names = self._names(self.stacks[label])
            except QSMError:
                return True
            anat = self._split_folder(self.stacks[label])
            return not all((anat / f"{name}.nii.gz").exists() for name in names)
        source = self.sources[label]
        pending, _ = find_sources(
            self.bids_dir,
            participants=[source.participant],
            converted=[self.out_dir / CONVERTED],
        )
        return label in [source.label for source in pending]

    def _names(self, stack: "Stack | EpiSeries | Coils") -> list[str]:
        """Return the names of the images that are made, without extension."""
        from qsmbids.io.stacks import Stack, echo_names

        return echo_names(stack, self.echo_times) if isinstance(stack, Stack) else stack.names

    def _step(self, label: str) -> str:
        """Return the step that converts a source."""
        from qsmbids.io.coils import Coils
        from qsmbids.io.epi_series import EpiSeries

        if label not in self.stacks:
            return _STEPS[0]
        kinds = (isinstance(self.stacks[label], kind) for kind in (EpiSeries, Coils))
        return next((step for step, of in zip(_STEPS[2:], kinds, strict=True) if of), _STEPS[1])

    def _split_folder(self, stack: "Stack | EpiSeries | Coils") -> Path:
        words = [f"{short}-{stack.entities[k]}" for k, short in _FOLDERS if k in stack.entities]
        return (self.out_dir / CONVERTED).joinpath(*words, "anat")

    def _is_newer(self, stack: "Stack | EpiSeries | Coils") -> bool:
        """Tell whether a 4-D file was changed after it was split."""
        split = [p.stat().st_mtime for p in self._split_folder(stack).glob(f"{stack.label}_*.gz")]
        return max(path.stat().st_mtime for path in stack.images) > max(split, default=0.0)

    def forget_failures(self, failed: Sequence[Mapping[str, Any]]) -> None:
        """Remove the status of earlier conversions that failed and now have raw images."""
        bad = {result["run"] for result in failed}
        for label in (*self.pending, *self.done):
            path = self.out_dir / "logs" / "status" / f"{label}.json"
            if label in bad or not path.is_file():
                continue
            try:
                if json.loads(path.read_text("utf-8")).get("step") in _STEPS:
                    path.unlink()
            except (OSError, ValueError):
                continue


def _preview_dicom(source: Source, accept_filtered: bool) -> None:
    """Print what becomes of each series; refuse what would fail."""
    # pydicom and the numerics take their time to import: only now
    from qsmbids.cli.convert import print_table
    from qsmbids.io.dicom import convert_dicom

    path, participant = _only_path(source), source.participant
    with tempfile.TemporaryDirectory(prefix="qsmbids-convert-") as work:
        converted = convert_dicom(
            path,
            work,
            participant=participant,
            session=source.session,
            accept_filtered=accept_filtered,
        )
    print_table(converted.rows())
    for text in converted.warnings:
        print(f"  WARNING  {text}")
    print()
    if not converted.naming.runs:
        raise InputError("no series is a gradient echo scan with phase", str(source.paths[0]))


def has_raw(root: Path) -> bool:
    """Tell whether a dataset holds a participant."""
    try:
        with os.scandir(root) as entries:  # which ends with the first one
            return any(entry.name.startswith("sub-") and entry.is_dir() for entry in entries)
    except OSError:
        return False


def _only_path(source: Source) -> Path:
    """Return the folder or archive of a source."""
    if len(source.paths) > 1:
        names = " and ".join(path.name for path in source.paths)
        raise InputError(f"{names} are both of {source.label}", "sourcedata", "Keep one of them.")
    return source.paths[0]


def _failure(
    label: str, step: str, message: str, crash_file: Path | None = None
) -> dict[str, Any]:
    result = {"run": label, "status": "failed", "step": step, "message": message, "outputs": []}
    return result if crash_file is None else {**result, "crash_file": str(crash_file)}
