"""Which acquisition parameters and settings are not the same in all runs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from qsmbids.reports.group.runs import GroupRun
from qsmbids.reports.paper import facts

__all__ = ["cell", "common_parameters", "is_parameter", "varying_parameters", "varying_settings"]

#: What differs from run to run by its nature or tells who was scanned: not of a protocol.
_OF_THE_RUN = re.compile(
    r"UID$|Date|^Patient|^Accession|^Study|^Procedure|SeriesNumber|AcquisitionNumber|"
    r"^AcquisitionTime$|^SeriesTime$|^ContentTime$|ImageOrientation|ShimSetting|TxRefAmp|"
    r"^SAR$|SliceTiming|ImageComments|^Conversion|^InstanceCreation|B0Direction|^Sources$|"
    r"^Description$|^EchoNumber$|^PhilipsRe|^PhilipsScale|^UsePhilips|^dcmmeta|^QsmbidsVersion$|"
    r"^Decisions$|^Warnings$|Rescale|^ImageType$|^IntendedFor$|^Units$|^NonlinearGradient"
)
#: Told for every run, even where it hardly varies: scanners are compared by it (Table 4).
_ALWAYS = ("ImagingFrequency",)


@cache
def is_parameter(name: str) -> bool:
    """Return whether a key of a sidecar describes the protocol or the scanner."""
    return not _OF_THE_RUN.search(name)


def cell(value: Any) -> str:
    """Return a value as a cell of a table: numbers with up to nine digits."""
    if isinstance(value, list | tuple):
        return ", ".join(cell(v) for v in value)
    if isinstance(value, float):
        return f"{value:.9g}"
    return facts.text(value) if not isinstance(value, Mapping) else ""


def _alike(value: Any) -> str:
    """Return a value so that what a scanner rounds otherwise is the same."""
    if isinstance(value, list | tuple):
        return ", ".join(_alike(v) for v in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.3g}"
    return cell(value)


def _stated(runs: Sequence[GroupRun]) -> dict[str, dict[str, str]]:
    """Return the values of each key: how they are compared, and how they are written."""
    values: dict[str, dict[str, str]] = {}
    for run in runs:
        for name, value in run.acquisition.items():
            if is_parameter(name) and (text := cell(value)):
                values.setdefault(name, {}).setdefault(_alike(value), text)
    return values


def varying_parameters(runs: Sequence[GroupRun]) -> list[str]:
    """Return the keys that at least two runs state differently, to three digits."""
    stated = _stated(runs)
    return sorted(k for k, values in stated.items() if len(values) > 1 or k in _ALWAYS)


def common_parameters(runs: Sequence[GroupRun]) -> dict[str, str]:
    """Return the keys on which all runs that state them agree, and their value."""
    stated = _stated(runs)
    return {
        k: next(iter(v.values()))
        for k, v in sorted(stated.items())
        if len(v) == 1 and k not in _ALWAYS
    }


def varying_settings(runs: Sequence[GroupRun]) -> dict[str, Counter[str]]:
    """Return versions, presets and settings that differ between runs, with how often each is."""
    counts: dict[str, Counter[str]] = {}
    for run in runs:
        settings = {"version": run.version, "preset": run.preset, **run.settings}
        for name, value in settings.items():
            if value:
                counts.setdefault(name, Counter())[value] += 1
    return {name: values for name, values in counts.items() if len(values) > 1}
