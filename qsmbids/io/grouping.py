"""Group gradient echo images that were acquired together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from qsmbids.io.recognition import Candidate

__all__ = ["Run", "group", "series_numbers"]


@dataclass
class Run:
    """Images that were acquired together."""

    members: list[Candidate]

    @property
    def slots(self) -> set[tuple[str, int]]:
        """Parts and echo times [us] that are there."""
        return {c.slot for c in self.members}

    def times(self, part: str) -> set[int]:
        """Return the echo times [us] of a part."""
        return {te for p, te in self.slots if p == part}

    @property
    def label(self) -> str:
        """What the series are called, less what tells them apart."""
        labels = {c.label for c in self.members}
        return labels.pop() if len(labels) == 1 else self.members[0].scan_name

    def text(self, key: str) -> str:
        """Return a text of the first sidecar, "" where there is none."""
        return self.members[0].text(key)

    @property
    def correction(self) -> str:
        """How the gradient distortion was corrected, "" if unknown."""
        return next((c.correction for c in self.members if c.correction), "")


def group(candidates: Sequence[Candidate], warnings: list[str]) -> list[Run]:
    """Group all echoes and parts of one series, then the series of one scan.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the order of their series.
    warnings : list of str
        Grows by what a person should check.

    Returns
    -------
    list of Run
        They may be incomplete.
    """
    # a series of many echoes first: those of one echo each are fitted to it, not it to them
    units = sorted(_units(candidates), key=len, reverse=True)
    runs: list[Run] = []
    for number, unit in enumerate(units):
        fitting = [(score, i) for i, run in enumerate(runs) if (score := _fit(run, unit))]
        if not fitting:
            runs.append(Run(list(unit)))
            continue
        best = max(fitting)
        equal = sorted(i for score, i in fitting if score[:-1] == best[0][:-1])
        chosen = best[1]
        if len(equal) > 1:
            alike = [u for u in units[number:] if _kind(u) == _kind(unit)]
            # as many as there are places: in the order of the series, else the nearest
            chosen = equal[0] if len(alike) == len(equal) else chosen
            warnings.append(
                f"series {series_numbers(Run(unit))} may belong to several scans; it was joined"
                f" with series {series_numbers(runs[chosen])}, check it"
            )
        runs[chosen].members += unit
    runs.sort(key=lambda run: min(c.image.series for c in run.members))
    return _join_echoes(runs, warnings)


def _units(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the images of one part, grid and repetition of a series."""
    units: dict[tuple[Any, ...], list[Candidate]] = defaultdict(list)
    for c in candidates:
        repeat = sum(
            c.slot == d.slot and c.correction == d.correction
            for key in units
            for d in units[key]
            if key[0] == c.image.series
        )
        geometry = (c.shape, *np.round(c.affine, 2).ravel(), c.correction)
        units[(c.image.series, c.part, repeat, geometry)].append(c)
    return list(units.values())


def _kind(unit: Sequence[Candidate]) -> Any:
    return {c.slot for c in unit}, unit[0].label, unit[0].correction, unit[0].shape


def _alike(a: Candidate, b: Candidate) -> bool:
    """Tell whether two images can be of one scan: grid, correction and protocol."""
    if a.shape != b.shape or not np.allclose(a.affine, b.affine, atol=1e-2):
        return False
    if a.correction and b.correction and a.correction != b.correction:
        return False
    if a.text("SequenceName") != b.text("SequenceName") and a.text("SequenceName"):
        if b.text("SequenceName"):
            return False
    for key in ("FlipAngle", "RepetitionTime"):
        x, y = a.number(key), b.number(key)
        if x is not None and y is not None and abs(x - y) > 0.01 * max(abs(x), abs(y)):
            return False
    return True


def _fit(run: Run, unit: Sequence[Candidate]) -> tuple[float, ...] | None:
    """Return how well images belong to a run, None if they cannot."""
    first, new = run.members[0], unit[0]
    if not _alike(first, new) or run.slots & {c.slot for c in unit}:
        return None
    times = {c.slot[1] for c in unit}
    others = {te for part, te in run.slots if part != new.part}
    mine = run.times(new.part)
    if not times & others or (mine and not times <= others):
        return None
    same = {
        key: bool(first.text(key)) and first.text(key) == new.text(key)
        for key in ("AcquisitionTime", "ProtocolName")
    }
    same_label = first.label == new.label
    if not (same_label or any(same.values())):
        return None
    near = -min(abs(_order(c) - _order(new)) for c in run.members)
    return (same["AcquisitionTime"], same_label, same["ProtocolName"], times == others, near)


def _join_echoes(runs: Sequence[Run], warnings: list[str]) -> list[Run]:
    """Join runs of one echo each that are the echoes of one scan."""
    out: list[Run] = []
    for run in runs:
        fitting = [(score, -n) for n, other in enumerate(out) if (score := _same_scan(other, run))]
        if fitting:
            best = max(fitting)
            if sum(score[:-1] == best[0][:-1] for score, _ in fitting) > 1:
                warnings.append(
                    f"the echo in series {series_numbers(run)} may belong to several scans; it was"
                    f" joined with series {series_numbers(out[-best[1]])}, check it"
                )
            out[-best[1]].members += run.members
            continue
        for other in out:
            unknown = "" in (run.text("AcquisitionTime"), other.text("AcquisitionTime"))
            if unknown and len(run.slots) > 1 and _may_be_echoes(other, run):
                numbers = f"{series_numbers(other)} and {series_numbers(run)}"
                warnings.append(
                    f"series {numbers} differ by their echo time alone: they are taken for two"
                    " scans, check it"
                )
        out.append(run)
    return out


def _may_be_echoes(run: Run, new: Run) -> bool:
    """Tell whether a run of one echo differs from another by its echo time alone."""
    a, b = run.members[0], new.members[0]
    if {part for part, _ in run.slots} != {part for part, _ in new.slots}:
        return False
    times = {te for _, te in new.slots}
    apart = len(times) == 1 and not times & {te for _, te in run.slots}
    return apart and a.scan_name == b.scan_name and _alike(a, b)


def _same_scan(run: Run, new: Run) -> tuple[float, ...] | None:
    """Return how well a further echo belongs to a run, None if it may be another scan.

    Two scans that differ by their echo time look like two echoes of one, but these bear rising
    numbers, or began at the same moment, or the protocol knows both times.
    """
    if not _may_be_echoes(run, new):
        return None
    a, b = run.members[0], new.members[0]
    of_part = [c for c in (*run.members, *new.members) if c.part == a.part]
    ordered = sorted(of_part, key=lambda c: c.echo_time)
    rising = all(x < y for x, y in pairwise(int(c.number("EchoNumber") or 1) for c in ordered))
    moment = a.text("AcquisitionTime")
    together = bool(moment) and moment == b.text("AcquisitionTime")
    times = {te for _, te in run.slots | new.slots}
    known = all(_protocol(r) and _protocol(r) <= times for r in (run, new))
    if not (rising or together or known):
        return None
    return together, rising, known, -abs(_order(a) - _order(b))


def _protocol(run: Run) -> set[int]:
    """Return the first two echo times [us] of a Siemens protocol, where its images tell."""
    keys = ("EchoTime1", "EchoTime2")
    values = [c.number(key) for c in run.members for key in keys]
    return {round(1e6 * value) for value in values if value}


def _order(c: Candidate) -> float:
    """Return where an image is in the examination: the number of its series, if it has one."""
    return c.number("SeriesNumber") or c.image.series / 1000


def series_numbers(run: Run) -> str:
    """Return the series numbers of a run, for people."""
    numbers = {int(c.number("SeriesNumber") or 0) for c in run.members}
    return ", ".join(str(n) for n in sorted(numbers))
