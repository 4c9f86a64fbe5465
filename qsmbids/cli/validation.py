"""What the BIDS validator says, and whom it stops: the dataset, a run, or nobody."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsmbids.errors import InputError

if TYPE_CHECKING:
    from qsmbids.io.runs import Run
    from qsmbids.io.validate import ValidationResult

__all__ = ["refuse_invalid", "say_unread", "validate"]

logger = logging.getLogger("qsmbids")

_ABSENT = (
    "\n  (images of DataLad or Git LFS that were not fetched are unreadable, too: 'datalad get',"
    " 'git lfs pull')"
)
_FIX = "Correct it, or go on with --skip-bids-validation."


def validate(bids_dir: Path, participants: list[str] | None) -> "ValidationResult":
    """Refuse a dataset that the BIDS validator takes for none; the rest is up to each run."""
    from qsmbids.io.validate import validate_dataset

    logger.info("validating the dataset with the BIDS validator")
    result = validate_dataset(bids_dir, None, participants)
    if result.of_dataset:
        shown = "; ".join(str(issue) for issue in result.of_dataset[:3])
        raise InputError(f"is not valid BIDS: {shown}", str(bids_dir), _FIX)
    if not result.errors:
        logger.info("valid BIDS (%s; %d warnings not shown)", result.version, result.n_warnings)
    return result


def refuse_invalid(run: "Run", validated: "Sequence[ValidationResult]") -> None:
    """Refuse a run in whose files the BIDS validator has found errors.

    Raises
    ------
    InputError
        With the errors.
    """
    issues = [issue for result in validated for issue in result.against(run.label)]
    if issues:
        reasons = "; ".join(str(issue) for issue in issues[:3])
        raise InputError(f"is not valid BIDS: {reasons}", run.label, _FIX)


def say_unread(
    validated: "Sequence[ValidationResult]",
    labels: Sequence[str],
    refused: Sequence[Mapping[str, Any]],
) -> None:
    """Tell of BIDS errors in files that no run reads, neither planned nor refused."""
    everyone = [*labels, *(str(result["run"]) for result in refused)]
    for validation in validated:
        issues = validation.unread(everyone)
        if issues:
            more = f"\n  and {len(issues) - 10} more kinds" if len(issues) > 10 else ""
            absent = {"NIFTI_HEADER_UNREADABLE", "SYMLINK_BROKEN", "EMPTY_FILE"}
            logger.warning(
                "BIDS errors in files that are not read here; they stop nothing:\n%s%s%s",
                "\n".join(f"  {issue}" for issue in issues[:10]),
                more,
                _ABSENT if any(issue.code in absent for issue in issues) else "",
            )
