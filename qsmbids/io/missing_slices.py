"""The slices and files that are missing among the images of a series."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from qsmbids.io.dicom_frames import Frame
from qsmbids.io.dicom_headers import Header

__all__ = ["missing_files", "missing_slices", "n_positions"]

#: Positions that are nearer to each other are those of one slice [mm].
_SAME_MM = 0.05


def n_positions(frames: Sequence[Frame]) -> int:
    """Return how many slices there are, 0 if that is unknown or they are of several stacks."""
    chosen = [f for f in frames if not f.calculated] or frames
    chosen = [f for f in chosen if not f.derived] or chosen
    if not chosen or len({f.orientation for f in chosen}) != 1 or not chosen[0].orientation:
        return 0
    return len(_slices(chosen))


def _slices(frames: Iterable[Frame]) -> list[float]:
    """Return the positions that differ, by rising value."""
    out: list[float] = []
    for position in sorted(f.position for f in frames if f.position is not None):
        if not out or position - out[-1] > _SAME_MM:
            out.append(position)
    return out


def missing_slices(frames: Sequence[Frame]) -> str:
    """Say which slices of a series are not there.

    Parameters
    ----------
    frames : sequence of Frame
        All of the series; those of calculated maps do not count.

    Returns
    -------
    str
        "" if every echo and part has the same slices, evenly spaced.
    """
    stacks: dict[Any, dict[Any, list[Frame]]] = defaultdict(lambda: defaultdict(list))
    for f in frames:
        if f.orientation and not f.calculated:
            stacks[f.orientation, f.derived][f.echo_time, f.kind].append(f)
    for groups in stacks.values():
        every = [f for group in groups.values() for f in group]
        reason = _absent(groups) or _gap(_slices(every)) or _unnumbered(every)
        if reason:
            return f"{reason}; get the missing files"
    return ""


def _absent(groups: dict[tuple[float, str], list[Frame]]) -> str:
    """Say which slice an echo or part lacks that another has."""
    every = _slices(f for group in groups.values() for f in group)
    for (te, _), group in sorted(groups.items()):
        own = np.array(_slices(group))
        lost = [n for n, z in enumerate(every, 1) if np.abs(own - z).min() > _SAME_MM]
        if not lost:
            continue
        n_images = sum(len(g) for g in groups.values())
        n_echoes = len({key[0] for key in groups})
        n_parts = len(groups) // n_echoes
        parts = f" and {n_parts} parts" if n_parts > 1 else ""
        numbers = ", ".join(str(n) for n in lost[:5]) + (" ..." if len(lost) > 5 else "")
        return (
            f"{n_images} images, but {len(every)} slices of {n_echoes} echo(es){parts} are"
            f" {len(every) * len(groups)}: of the echo at {te:g} ms slice {numbers} of"
            f" {len(every)} is missing"
        )
    return ""


def _gap(positions: Sequence[float]) -> str:
    """Say where slices are further apart than elsewhere."""
    steps = np.diff(positions)
    if len(steps) < 3:
        return ""
    usual, worst = float(np.median(steps)), int(np.argmax(steps))
    if steps[worst] < 1.5 * usual:
        return ""
    lost = max(1, round(float(steps[worst]) / usual) - 1)
    return (
        f"{len(positions)} slices {usual:.4g} mm apart, but {steps[worst]:.4g} mm from slice"
        f" {worst + 1} to the next: {lost} slice(s) between them are missing"
    )


def _unnumbered(frames: Sequence[Frame]) -> str:
    """Say which numbers of a stack no frame has, where they count its slices."""
    places = np.array(_slices(frames))
    named: dict[int, set[int]] = defaultdict(set)
    for frame in frames:
        if frame.position is not None:
            number = -1 if frame.place is None else frame.place
            named[int(np.abs(places - frame.position).argmin())].add(number)
    counted = [min(own) for _, own in sorted(named.items()) if len(own) == 1 and min(own) >= 0]
    steps = set(np.diff(counted))
    if len(counted) < max(2, len(named)) or max(steps) > 0 > min(steps):
        return ""  # they are no order of the slices
    if len(steps) == 1 and abs(steps.pop()) != 1:
        return ""  # of 2, 4, 6 ... none is lost
    lost = sorted(set(range(1, max(counted) + 1)) - set(counted))
    if not lost:
        return ""
    listed = ", ".join(str(n) for n in lost[:5]) + (" ..." if len(lost) > 5 else "")
    return f"the slices are numbered up to {max(counted)}, but slice {listed} is missing"


def missing_files(headers: Iterable[Header]) -> str:
    """Say which files are not there of an object that a scanner spread over several.

    Parameters
    ----------
    headers : iterable of Header
        Of one series.

    Returns
    -------
    str
        "" if all are there, or if there is no such object.
    """
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for uid, number, total in (header.concatenation for header in headers):
        if uid:
            numbers[uid, total].add(number)
    for (_, total), own in numbers.items():
        lost = sorted(set(range(1, max(total, *own) + 1)) - own)
        if lost:
            listed = ", ".join(str(n) for n in lost[:5]) + (" ..." if len(lost) > 5 else "")
            return (
                f"one object in {max(total, *own)} files, of which number {listed} is missing; get"
                " the missing files"
            )
    return ""
