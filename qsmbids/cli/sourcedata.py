"""Before runs are looked for: DICOM below ``sourcedata`` becomes raw BIDS."""

import argparse
import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmbids.errors import QSMError
from qsmbids.execution import Execution
from qsmbids.io.sourcedata import CONVERTED, Source, find_sources, target_dataset

__all__ = ["Sourcedata"]

logger = logging.getLogger("qsmbids")

_STEP = "convert_dicom"


@dataclass(frozen=True)
class Sourcedata:
    """What there is to convert, and where the raw images are.

    Attributes
    ----------
    bids_dir, out_dir : Path
        Roots of the input and of the output dataset.
    pending, done : list of Source
        See :func:`qsmbids.io.sourcedata.find_sources`.
    """

    bids_dir: Path
    out_dir: Path
    pending: list[Source]
    done: list[Source]

    @classmethod
    def find(cls, args: argparse.Namespace, bids_dir: Path, out_dir: Path) -> "Sourcedata":
        """Look below ``sourcedata``, unless told not to."""
        if args.no_convert:
            return cls(bids_dir, out_dir, [], [])
        pending, done = find_sources(
            bids_dir,
            participants=args.participant_label,
            sessions=args.session_label,
            converted=[out_dir / CONVERTED],
        )
        for source in done:
            logger.debug("%s has raw images: nothing to convert", source.label)
        return cls(bids_dir, out_dir, pending, done)

    @property
    def only(self) -> bool:
        """Whether the input dataset holds no raw images at all but those to be converted."""
        return bool(self.pending or self.done) and not _has_raw(self.bids_dir)

    def datasets(self) -> list[Path]:
        """Return the raw datasets that there are now; what the user gave comes first."""
        converted = self.out_dir / CONVERTED
        roots = [root for root in (self.bids_dir, converted) if _has_raw(root)]
        return roots or [self.bids_dir]

    def preview(self) -> list[dict[str, Any]]:
        """Print what each series would become; return a result for each source that fails."""
        # pydicom and the numerics take their time to import: only now
        from qsmbids.cli.convert import print_table
        from qsmbids.io.dicom import convert_dicom

        failed = []
        for source in self.pending:
            target = target_dataset(self.bids_dir, self.out_dir, source)
            print(f"{source.label} would be converted from DICOM into {target}")
            try:
                with tempfile.TemporaryDirectory(prefix="qsmbids-convert-") as work:
                    converted = convert_dicom(
                        _only_path(source),
                        work,
                        participant=source.participant,
                        session=source.session,
                    )
            except QSMError as error:
                failed.append(_failure(source, str(error)))
                continue
            print_table(converted.rows())
            for text in converted.warnings:
                print(f"  WARNING  {text}")
            print()
            if not converted.naming.runs:
                failed.append(_failure(source, "no series is a gradient echo scan with phase"))
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

        failed: dict[Source, dict[str, Any]] = {}
        targets = {}
        for source in self.pending:
            try:
                _only_path(source)
            except QSMError as error:
                failed[source] = _failure(source, str(error))
            else:
                targets[source] = target_dataset(self.bids_dir, self.out_dir, source)
        logger.info("%d DICOM source(s) have no raw images and are converted", len(targets))
        labels = {conversion_name(source): source.label for source in targets}
        error = None
        if targets:
            workflow = init_convert_wf(targets, execution, crash_dir)
            with Progress(labels, check=raise_if_stopped) as progress:
                error = execute(workflow, execution, progress)
        crashes = {crash.workflow: crash for crash in reversed(read_crashes(crash_dir, {}))}
        still = {s.label for s in self._pending_now(targets)}
        for source in targets:
            crash = crashes.get(conversion_name(source))
            if crash is not None:
                failed[source] = _failure(source, crash.message, crash.crash_file)
            elif source.label in still:
                reason = str(error) if error is not None else "no image was written"
                failed[source] = _failure(source, reason.splitlines()[0])
        changed = {target for source, target in targets.items() if source not in failed}
        return [failed[s] for s in self.pending if s in failed], sorted(changed)

    def _pending_now(self, targets: Iterable[Source]) -> list[Source]:
        """Return the sources that still have no raw images."""
        names = {source.participant for source in targets}
        pending, _ = find_sources(
            self.bids_dir, participants=names, converted=[self.out_dir / CONVERTED]
        )
        return pending

    def forget_failures(self, failed: Sequence[Mapping[str, Any]]) -> None:
        """Remove the status of earlier conversions that failed and now have raw images."""
        bad = {result["run"] for result in failed}
        for source in (*self.pending, *self.done):
            path = self.out_dir / "logs" / "status" / f"{source.label}.json"
            if source.label in bad or not path.is_file():
                continue
            try:
                if json.loads(path.read_text("utf-8")).get("step") == _STEP:
                    path.unlink()
            except (OSError, ValueError):
                continue


def _has_raw(root: Path) -> bool:
    """Tell whether a dataset holds a participant."""
    return any(path.is_dir() for path in root.glob("sub-*"))


def _only_path(source: Source) -> Path:
    """Return the folder or archive of a source."""
    if len(source.paths) > 1:
        names = " and ".join(path.name for path in source.paths)
        raise QSMError(f"{names} are both of {source.label}", "sourcedata", "Keep one of them.")
    return source.paths[0]


def _failure(source: Source, message: str, crash_file: Path | None = None) -> dict[str, Any]:
    result = {
        "run": source.label,
        "status": "failed",
        "step": _STEP,
        "message": message,
        "outputs": [],
    }
    return result if crash_file is None else {**result, "crash_file": str(crash_file)}
