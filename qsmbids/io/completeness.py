"""Tell why images are no complete run of magnitude and phase of every echo."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from qsmbids.io.grouping import Run, series_numbers
from qsmbids.io.recognition import IS_DIFFERENCE, PARTS, Candidate

__all__ = ["continued", "echoes_of_one_time", "incomplete", "superseded"]

_PAIRS = (("mag", "phase"), ("real", "imag"))
_WORDS = {"mag": "magnitude", "phase": "phase", "real": "real part", "imag": "imaginary part"}
#: Of a voxel: what is nearer is at the same place.
_SAME = 0.02
_DIFFERENCE = re.compile(r"(?:phase|pha|ph)[\W_]*diff|delta[\W_]*(?:phase|phi)")


def echoes_of_one_time(candidates: Sequence[Candidate]) -> dict[int, str]:
    """Return why series are of no use whose echoes have numbers, but one echo time for several.

    Some GE software writes the first echo time into all images; the field would be wrong by as
    much as the time is.

    Parameters
    ----------
    candidates : sequence of Candidate

    Returns
    -------
    dict
        Reason by index of the series.
    """
    numbers: dict[Any, set[int]] = defaultdict(set)
    for c in candidates:
        place = tuple(c.affine.round(2).ravel())
        key = c.image.series, c.part, c.slot[1], c.correction, c.shape, place
        numbers[key].add(int(c.number("EchoNumber") or 1))
    return {
        series: f"echoes {', '.join(str(n) for n in sorted(own))} bear one echo time,"
        f" {time / 1000:g} ms, so the times of the others are unknown; export them with their own"
        for (series, _, time, *_), own in numbers.items()
        if len(own) > 1
    }


def incomplete(run: Run, runs: Sequence[Run]) -> str:
    """Return why images are no run, "" if they are.

    Parameters
    ----------
    run : Run
    runs : sequence of Run
        All that there are, for one may be what this one lacks.

    Returns
    -------
    str
    """
    if _is_phase_difference(run):
        return IS_DIFFERENCE
    if _whole(run):
        return ""
    for other in runs:
        if other is not run and not _whole(other) and (reason := _almost(run, other)):
            return reason
    times = {part: run.times(part) for part in PARTS}
    present = [part for part in PARTS if times[part]]
    if present == ["mag"]:
        return "magnitude only; QSM needs the phase (or real and imaginary part)"
    for a, b in _PAIRS:
        if times[a] and times[b]:
            te = ", ".join(f"{t / 1000:g}" for t in sorted(times[a] ^ times[b]))
            return f"the echo at {te} ms is there as {a} or as {b} alone"
    needed = {"phase": "magnitude", "real": "imaginary part", "imag": "real part"}
    lacking = next(needed[p] for p in ("phase", "real", "imag") if p in present)
    return f"{' and '.join(present)} without the {lacking}"


def _whole(run: Run) -> bool:
    """Tell whether every echo is there as magnitude and phase, or real and imaginary part."""
    return any(run.times(a) and run.times(a) == run.times(b) for a, b in _PAIRS)


def _is_phase_difference(run: Run) -> bool:
    """Tell whether the phase is that between two echoes, not that of its own echo.

    A Siemens field map has two magnitudes and one phase image, which bears the second echo time.
    ``EchoTime1`` and ``EchoTime2`` prove nothing by themselves: dcm2niix writes the first two
    echo times of the protocol beside every phase image of this vendor (dcm2niix#400), also the
    preset of a second echo that a single-echo scan does not have.
    """
    phase = [c for c in run.members if c.part == "phase"]
    if len(phase) != 1:
        return False
    names = f"{phase[0].text('SeriesDescription')} {phase[0].text('ProtocolName')}".lower()
    field_map = re.match(r"\*?fm\dd", phase[0].text("SequenceName").lower())
    if field_map or _DIFFERENCE.search(names):
        return True
    first, second = (phase[0].number(f"EchoTime{n}") for n in (1, 2))
    if first is None or second is None:
        return False
    return abs(phase[0].echo_time - second) < abs(phase[0].echo_time - first)


def _almost(run: Run, other: Run) -> str:
    """Return what keeps two groups of images from being one run, "" if they have little to do."""
    a, b = run.members[0], other.members[0]
    if a.label != b.label or not _complementary(run, other):
        return ""
    names = [" and ".join(_WORDS[p] for p in PARTS if r.times(p)) for r in (run, other)]
    mine, theirs = names[0], f"the {names[1]} (series {series_numbers(other)})"
    if run.correction and other.correction and run.correction != other.correction:
        return (
            f"{mine} with {run.correction}, but {theirs} with {other.correction}: one is corrected"
            " for the distortion of the gradients; export both alike"
        )
    if a.shape[:2] == b.shape[:2] and a.shape[2] != b.shape[2]:
        return (
            f"{mine} of {a.shape[2]} slices, but {theirs} has {b.shape[2]}; get the missing files"
        )
    if a.shape != b.shape or not np.allclose(a.affine, b.affine, atol=1e-2):
        return f"{mine} on another grid than {theirs}; they must have one position and size"
    return ""


def _complementary(run: Run, other: Run) -> bool:
    return any(
        (run.times(a) and other.times(b) and not run.times(b) and not other.times(a))
        or (run.times(b) and other.times(a) and not run.times(a) and not other.times(b))
        for a, b in _PAIRS
    )


def superseded(run: Run, runs: Sequence[Run]) -> str:
    """Return why a scan was interrupted: another of its name has these slices and more.

    Parameters
    ----------
    run : Run
    runs : sequence of Run
        All complete ones.

    Returns
    -------
    str
        "" if there is no such other.
    """
    few = run.members[0].shape[2]
    for other, start in _of_this_name(run, runs):
        many = other.members[0].shape[2]
        on_a_slice = abs(start - round(start)) <= _SAME
        if on_a_slice and few < many and 0 <= round(start) <= many - few:
            return (
                f"only {few} of the {many} slices that series {series_numbers(other)} of the same"
                " name has: a scan that was interrupted"
            )
    return ""


def continued(run: Run, runs: Sequence[Run]) -> str:
    """Return a warning where the slices of another run of the same name go on from this one.

    Parameters
    ----------
    run : Run
    runs : sequence of Run
        All complete ones.

    Returns
    -------
    str
        "" if there is no such other.
    """
    for other, start in _of_this_name(run, runs):
        between = abs(start % 1 - 0.5) < 0.1 and -1 < start < 0
        if between or abs(start + run.members[0].shape[2]) < _SAME:
            how = "lie between" if between else "go on where"
            end = "" if between else " end"
            return (
                f"the slices of series {series_numbers(other)} {how} those of"
                f" {series_numbers(run)}{end}: if it is one scan in two series, join them"
            )
    return ""


def _of_this_name(run: Run, runs: Sequence[Run]) -> Iterator[tuple[Run, float]]:
    """Yield other runs of the same name with the slice of theirs at which this one begins."""
    for other in runs:
        if other is not run and other.slots == run.slots:
            start = _start(run, other)
            if start is not None:
                yield other, start


def _start(run: Run, other: Run) -> float | None:
    """Return at which slice of another run a run begins, None if aside of it."""
    a, b = run.members[0], other.members[0]
    if a.label != b.label or a.shape[:2] != b.shape[:2]:
        return None
    if not np.allclose(a.affine[:3, :3], b.affine[:3, :3], atol=1e-2):
        return None
    place = np.linalg.solve(b.affine[:3, :3], a.affine[:3, 3] - b.affine[:3, 3])
    return float(place[2]) if np.allclose(place[:2], 0, atol=_SAME) else None
