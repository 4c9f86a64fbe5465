"""Choose the phase without a filter where a scanner saved both, or say that there is none."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from qsmbids.io.grouping import Run, series_numbers
from qsmbids.io.phase_filter import ACCEPT, filter_evidence, measure_filter
from qsmbids.io.recognition import Candidate, image_type

__all__ = ["left_out_beside", "part_filtered", "unfiltered_of"]

ALONE = (
    "phase filtered by the scanner ({}): it lacks most of the field; export the phase without the"
    f" filter, or convert this one with {ACCEPT}"
)


def part_filtered(
    candidates: Sequence[Candidate], warnings: list[str]
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Part filtered phase from everything else.

    Where the header leaves it open, and where there are two phase images of one echo, the numbers
    decide.

    Parameters
    ----------
    candidates : sequence of Candidate
    warnings : list of str
        Grows by what was measured against the header.

    Returns
    -------
    others : list of Candidate
        In their order.
    filtered : list of tuple
        Phase images, and what tells that they are filtered.
    """
    magnitude = [c for c in candidates if c.part == "mag"]
    series: dict[Any, list[Candidate]] = defaultdict(list)
    for c in candidates:
        if c.part == "phase":
            series[c.image.series, tuple(image_type(c.image.sidecar))].append(c)
    because: dict[int, str] = {}
    for members in series.values():
        evidence = filter_evidence(members[0].image.sidecar)
        text = "" if evidence is None else evidence.text
        if evidence is None and not _is_doubled(members, series.values()):
            continue
        if evidence is None or not evidence.certain:
            found = measure_filter(members, magnitude)
            if found.suspicious is False and evidence is not None:
                name = series_numbers(Run(members))
                warnings.append(f"series {name}: {evidence.text}, but {found.text}: it is taken")
            text = "" if found.suspicious is False else text
            text = found.text if found.suspicious else text
        if text:
            because |= {id(c): text for c in members}
    others = [c for c in candidates if id(c) not in because]
    return others, [(c, because[id(c)]) for c in candidates if id(c) in because]


def _is_doubled(members: Sequence[Candidate], series: Any) -> bool:
    """Tell whether another series has phase of the same echo and grid."""
    first = members[0]
    return any(
        other is not members
        and any(
            c.slot == first.slot
            and c.shape == first.shape
            and bool((abs(c.affine - first.affine) < 1e-2).all())
            for c in other
        )
        for other in series
    )


def unfiltered_of(filtered: Candidate, runs: Sequence[Run]) -> Run | None:
    """Return the run that has the phase of an echo without the filter, None if there is none."""
    return next(
        (
            run
            for run in runs
            if run.members[0].shape == filtered.shape
            and filtered.slot[1] in run.times("phase") | run.times("imag")
            and bool((abs(run.members[0].affine - filtered.affine) < 1e-2).all())
        ),
        None,
    )


def left_out_beside(
    filtered: Sequence[tuple[Candidate, str]], runs: Sequence[Run]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return what to say of filtered phase that another run makes needless.

    Parameters
    ----------
    filtered : sequence of tuple
        Of :func:`part_filtered`.
    runs : sequence of Run
        Complete ones.

    Returns
    -------
    reasons : dict
        By the identity of the candidate, why it is left out.
    notes : dict
        By the identity of the run, what its phase was chosen before.
    """
    reasons, notes = {}, {}
    for candidate, why in filtered:
        run = unfiltered_of(candidate, runs)
        if run is None:
            continue
        number = int(candidate.number("SeriesNumber") or 0)
        chosen = "imag" if not run.times("phase") else "phase"
        own = series_numbers(Run([c for c in run.members if c.part == chosen]))
        reasons[id(candidate)] = (
            f"phase filtered by the scanner ({why}); that of series {own}, without a filter, is"
            " taken"
        )
        notes[id(run)] = (
            f"the scanner saved phase with a filter (series {number}: {why}) and without: that"
            f" without, series {own}, was taken"
        )
    return reasons, notes
