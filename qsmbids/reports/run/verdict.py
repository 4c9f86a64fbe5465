"""One line for whoever has no time for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from qsmbids.reports.run.ranking import worst_first
from qsmbids.reports.run.record import RunRecord

__all__ = ["MOST_POINTS", "Verdict", "verdict"]

#: More than these nobody reads; the others are folded away.
MOST_POINTS = 5


@dataclass(frozen=True)
class Verdict:
    """How the run went.

    Attributes
    ----------
    level : str
        "fine", "look" or "failed".
    text : str
        One sentence.
    points : tuple of str
        What to look at and what to do, the worst first.
    more : tuple of str
        The others.
    """

    level: str
    text: str
    points: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


def verdict(record: RunRecord, findings: Sequence[str] = ()) -> Verdict:
    """Return the verdict from what the run and the checks of the page found.

    Parameters
    ----------
    record : RunRecord
    findings : sequence of str
        Points of the page's own checks, beside the warnings of the run.
    """
    every = worst_first(list(dict.fromkeys([*record.warnings, *findings])))
    points, more = tuple(every[:MOST_POINTS]), tuple(every[MOST_POINTS:])
    if record.status not in ("ok", "unknown"):
        what = "was interrupted" if record.status == "interrupted" else "failed"
        where = f" in the step “{record.step}”" if record.step else ""
        return Verdict("failed", f"The run {what}{where}.", points, more)
    if "chi" not in record.images:
        return Verdict("failed", "There is no susceptibility map.", points, more)
    if not points:
        return Verdict("fine", "Every step finished, and the checks found nothing unusual.")
    these = "this point" if len(points) == 1 else f"these {len(points)} points"
    these += f", the worst of {len(every)}," if more else ""
    return Verdict("look", f"The map was made. Look at {these} before it is used:", points, more)
