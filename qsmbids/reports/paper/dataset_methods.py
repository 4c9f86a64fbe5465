"""One methods text for all runs of a call: what they have in common, and nothing else."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qsmbids.config import Settings
from qsmbids.io.metadata import Acquisition
from qsmbids.reports.paper.acquisition_record import describing
from qsmbids.reports.paper.methods_text import methods_markdown
from qsmbids.reports.paper.run_publication import acquisition_of, found_of, settings_of
from qsmbids.reports.run.record import RunRecord

__all__ = ["DescribedRun", "described_runs", "methods_of_runs", "shared"]

#: Differences of a voxel edge [mm] and an echo time [s] that are rounding.
_DIGITS = {"voxel_size": 3, "echo_times": 6}


@dataclass(frozen=True)
class DescribedRun:
    """What the text needs of a run.

    Attributes
    ----------
    acquisition : Acquisition
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    record : mapping, optional
        Sidecars of the run; None before it.
    """

    acquisition: Acquisition
    sidecars: Sequence[Mapping[str, Any]]
    record: Mapping[str, Any] | None = None


def described_runs(records: Sequence[RunRecord]) -> tuple[Settings, list[DescribedRun], int]:
    """Return the settings of most runs, those runs, and how many had others or other steps.

    Runs whose settings or acquisition are not known are left out.
    """
    groups: dict[str, tuple[Settings, list[DescribedRun]]] = {}
    for record in records:
        settings, acquired = settings_of(record), acquisition_of(record)
        if settings is None or acquired is None:
            continue
        found = found_of(record)
        way = f"{settings!r} {sorted(found.get('Steps') or ())}"
        _, runs = groups.setdefault(way, (settings, []))
        runs.append(DescribedRun(*acquired, found))
    if not groups:
        return Settings(), [], 0
    settings, runs = max(groups.values(), key=lambda group: len(group[1]))
    return settings, runs, sum(len(group[1]) for group in groups.values()) - len(runs)


def methods_of_runs(settings: Settings, runs: Sequence[DescribedRun]) -> str:
    """Return the methods text that is true for every run.

    Where the runs were acquired alike, the acquisition is described, with the mean and standard
    deviation of the centre frequency; details that differ are left to the author. Otherwise only
    the processing is.

    Parameters
    ----------
    settings : Settings
        In force.
    runs : sequence of DescribedRun
        None at all gives the processing as it is planned.

    Returns
    -------
    str
        Markdown with ``[@key]``.
    """
    if not runs:
        return methods_markdown(settings)
    made = [run.record for run in runs if run.record is not None]
    record = shared(made) if made else None
    # of runs that are planned, how many echoes decides what will be done
    longest = max(runs, key=lambda run: len(run.acquisition.echo_times))
    tilt = max(run.acquisition.tilt_degrees for run in runs)
    if len({_protocol(run.acquisition) for run in runs}) > 1:
        return methods_markdown(
            settings,
            record,
            n_echoes=len(longest.acquisition.echo_times),
            tilt_degrees=tilt,
            acquisitions_differ=True,
        )
    echoes = range(len(longest.acquisition.echo_times))
    sidecars = [shared([_of_echo(run.sidecars, echo) for run in runs]) for echo in echoes]
    frequencies = [run.acquisition.centre_frequency_hz / 1e6 for run in runs]
    said = ""
    if len(set(frequencies)) > 1:
        mean, spread = statistics.fmean(frequencies), statistics.stdev(frequencies)
        said = f"{mean:.6g} ± {spread:.2g} MHz (mean and SD)"
    acquisition = dataclasses.replace(longest.acquisition, tilt_degrees=tilt)
    return methods_markdown(
        settings, record, acquisition=acquisition, sidecars=sidecars, centre_frequency=said
    )


def shared(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries that are the same in all mappings, at every depth.

    Examples
    --------
    >>> shared([{"a": 1, "b": {"c": 2, "d": 3}}, {"a": 5, "b": {"c": 2, "d": 4}}])
    {'b': {'c': 2}}
    """
    if not mappings:
        return {}
    first, *others = mappings
    same: dict[str, Any] = {}
    for key, value in first.items():
        found = [other.get(key) for other in others]
        if isinstance(value, Mapping) and all(isinstance(f, Mapping) for f in found):
            same[key] = shared([value, *[f for f in found if isinstance(f, Mapping)]])
        elif all(type(f) is type(value) and f == value for f in found):
            same[key] = value
    return same


def _of_echo(sidecars: Sequence[Mapping[str, Any]], echo: int) -> dict[str, Any]:
    return describing(sidecars[echo]) if echo < len(sidecars) else {}


def _protocol(acquisition: Acquisition) -> tuple[Any, ...]:
    """Return what two acquisitions must share to be described in one sentence."""
    return (
        tuple(round(t, _DIGITS["echo_times"]) for t in acquisition.echo_times),
        tuple(round(v, _DIGITS["voxel_size"]) for v in acquisition.voxel_size),
        acquisition.matrix,
        round(acquisition.b0_tesla, 2),
        acquisition.manufacturer,
    )
