"""Whether the phase came without the scanner's high-pass filter (section 3.1, 3.a)."""

from collections.abc import Mapping
from typing import Any

from qsmbids.reports.paper.findings import Finding
from qsmbids.reports.paper.settings_in_force import looked_up

__all__ = ["check_phase_filter"]

_TOPIC = "unfiltered phase"


def check_phase_filter(record: Mapping[str, Any]) -> list[Finding]:
    """Judge what the preparation of the phase found of a filter.

    Parameters
    ----------
    record : mapping
        Sidecars of the run.

    Returns
    -------
    list of Finding
        Empty where nobody looked.
    """
    if "Filtered" not in (looked_up(record, "PhaseFilter") or {}):
        return []
    filtered = looked_up(record, "PhaseFilter.Filtered")
    evidence = looked_up(record, "PhaseFilter.Evidence") or ""
    spread = looked_up(record, "PhaseFilter.SpreadRad")
    value = "" if spread is None else f"{spread:.2f} rad over 10 mm"
    chosen = looked_up(record, "PhaseFilter.Choice")
    more = f" Chosen by the conversion: {chosen}." if chosen else ""
    if filtered:
        text = f"The scanner filtered the phase ({evidence}), which is unsuitable for QSM; it was"
        accepted = looked_up(record, "PhaseFilter.Accepted")
        text += " accepted as asked for." if accepted else " not used, for a field was given."
        return [Finding("3.a", _TOPIC, "changed", text, value)]
    if filtered is None:
        text = "The echoes are too early to tell, and the header says nothing of a filter."
        return [Finding("3.a", _TOPIC, "unknown", text + more, value)]
    return [Finding("3.a", _TOPIC, "pass", "The phase is not filtered." + more, value)]
