"""One run and the whole group, as what was left of them tells."""

from dataclasses import dataclass, field
from typing import Any

from qsmbids.io.matching import entities_of

__all__ = ["IDENTITY", "Group", "GroupRun", "identity"]

#: Columns that every table of the group begins with.
IDENTITY = ("participant_id", "session_id", "acquisition", "run", "run_label")


@dataclass(slots=True)
class GroupRun:
    """One run as its outputs tell it.

    Attributes
    ----------
    label : str
        As its file names begin.
    status : str
        "ok", "failed" or "missing".
    step, message : str
        Where and why it failed, or why it is missing.
    report : str
        Its page, relative to the output dataset; "" where there is none.
    main_reference : str
        Reference of the map that its settings ask for; "" where that is not known.
    version, preset : str
    settings : dict
        In force, by ``section.name``.
    acquisition : dict
        Raw metadata and what the sidecar of the map says.
    warnings : tuple of str
    references : list of dict
        Rows of its table of reference regions.
    rois : list of dict
        Rows of its tables of regions, with ``segmentation`` and ``reference``.
    lesions : list of dict
        Rows of its table of lesions.
    measures : dict
        Image quality measures.
    units : dict
        Their units, where they have one.
    unusual : tuple of str
        Measures that the run itself was told to be looked at for.
    compared_with : str
        Scanner and protocol, where the group has several.
    """

    label: str
    status: str = "missing"
    step: str = ""
    message: str = ""
    report: str = ""
    main_reference: str = ""
    version: str = ""
    preset: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    acquisition: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    references: list[dict[str, str]] = field(default_factory=list)
    rois: list[dict[str, str]] = field(default_factory=list)
    lesions: list[dict[str, str]] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    unusual: tuple[str, ...] = ()
    compared_with: str = ""

    @property
    def stratum(self) -> str:
        """Runs of the same labels, scanner and protocol are compared with each other."""
        words = [w for w in self.label.split("_") if w.startswith(("acq-", "rec-"))]
        return "_".join([*words, *([self.compared_with] if self.compared_with else [])])


@dataclass(frozen=True)
class Group:
    """All runs, sorted by their labels, and what could not be read.

    Attributes
    ----------
    runs : tuple of GroupRun
    participants : dict
        Rows of ``participants.tsv`` by ``participant_id``.
    unreadable : tuple of str
        Files of the output dataset that were left out, and why.
    """

    runs: tuple[GroupRun, ...]
    participants: dict[str, dict[str, str]]
    unreadable: tuple[str, ...] = ()

    @property
    def n_participants(self) -> int:
        """Participants with at least one run, be it a missing one."""
        return len({run.label.split("_")[0] for run in self.runs})


def identity(label: str) -> dict[str, str]:
    """Return the cells of :data:`IDENTITY` for a run.

    Examples
    --------
    >>> identity("sub-01_ses-a_run-02")["session_id"]
    'ses-a'
    """
    pairs = entities_of(label)
    return {
        "participant_id": f"sub-{pairs['sub']}" if "sub" in pairs else "n/a",
        "session_id": f"ses-{pairs['ses']}" if "ses" in pairs else "n/a",
        "acquisition": pairs.get("acq", "n/a"),
        "run": pairs.get("run", "n/a"),
        "run_label": label,
    }
