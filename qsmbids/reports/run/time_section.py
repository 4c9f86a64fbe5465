"""Where the time of a run went: a bar for every step."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.section import Section, paragraph, table

__all__ = ["time_section"]


def time_section(record: RunRecord) -> Section | None:
    """Return when every step ran, how long, on how many processors; None where it is not known."""
    steps = [s for s in record.result.get("steps") or () if isinstance(s, Mapping)]
    fresh = [s for s in steps if _known(s)]
    if not fresh:
        return None
    end = max(s["start"] + s["seconds"] for s in fresh)
    busy = sum(s["cpu_seconds"] for s in fresh)
    rows = [_row(title, group, end) for title, group in _grouped(fresh)]
    text = f"{end:.0f} s on the clock until this page, {busy:.0f} s of processors."
    if earlier := len(steps) - len(fresh):
        text += f" Steps of an earlier call that were used again have no bar: {earlier}."
    head = ("Step", "From start to end of the run", "Time [s]", "CPU [s]", "Memory [GB]")
    html = paragraph(text, "note") + table(head, rows, numeric=(2, 3, 4))
    return Section(
        "time", "Where the time went", Markup('<div class="time">{}</div>').format(html)
    )


def _known(step: Mapping[str, Any]) -> bool:
    numbers = (step.get(k) for k in ("start", "seconds", "cpu_seconds", "memory_gb"))
    return all(isinstance(n, int | float) for n in numbers)


def _grouped(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return title and members of every bar: a step each, and one for all files."""
    single = [s for s in steps if not str(s.get("step")).startswith("save_")]
    written = [s for s in steps if str(s.get("step")).startswith("save_")]
    groups = [(str(s.get("title") or s.get("step")), [s]) for s in single]
    return [*groups, (f"writing of {len(written)} files", written)] if written else groups


def _row(title: str, group: Sequence[Mapping[str, Any]], end: float) -> tuple[Any, ...]:
    bar = Markup("").join(
        Markup('<rect x="{:.2f}" width="{:.2f}" height="10"/>').format(
            100 * s["start"] / end, max(100 * s["seconds"] / end, 0.15)
        )
        for s in group
    )
    drawing = Markup(
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(f"from {min(s['start'] for s in group):.1f} s", bar)
    return (
        title,
        drawing,
        f"{sum(s['seconds'] for s in group):.1f}",
        f"{sum(s['cpu_seconds'] for s in group):.1f}",
        f"{max(s['memory_gb'] for s in group):.2f}",
    )
