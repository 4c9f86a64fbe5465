"""What a run left in the output dataset, as far as DICOM can hold it."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError
from qsmbids.io.derivatives import derivative_path
from qsmbids.io.runs import RUN_ENTITIES

__all__ = ["RunOutputs", "find_outputs", "read_sidecar"]

_LONG = {short: name for name, short in RUN_ENTITIES.items()}
#: Entities of outputs that are on the grid of the run.
_OWN = ("desc", "seg", "label")


@dataclass
class RunOutputs:
    """The files of a run.

    Attributes
    ----------
    label : str
        The run as its file names begin.
    entities : dict
        As in :class:`qsmbids.io.runs.Run`.
    maps : dict
        Image by suffix and ``desc`` entity.
    segmentations : dict
        Image of labels by ``seg`` entity.
    statistics : dict
        Table by ``seg`` and reference.
    support : Path or None
        Mask 4 without holes.
    magnitude : Path or None
        Combined over the echoes.
    """

    label: str
    entities: dict[str, str]
    maps: dict[tuple[str, str], Path] = field(default_factory=dict)
    segmentations: dict[str, Path] = field(default_factory=dict)
    statistics: dict[tuple[str, str], Path] = field(default_factory=dict)
    support: Path | None = None
    magnitude: Path | None = None

    @property
    def exam(self) -> tuple[str, str]:
        """Participant and session, which are one folder of DICOM."""
        return self.entities["subject"], self.entities.get("session", "")


def find_outputs(
    out_dir: Path,
    *,
    participants: Collection[str] | None = None,
    sessions: Collection[str] | None = None,
) -> list[RunOutputs]:
    """Return the runs of an output dataset that have a map of susceptibility.

    Parameters
    ----------
    out_dir : Path
    participants, sessions : collection of str, optional
        Labels without ``sub-`` and ``ses-``; default all.

    Raises
    ------
    InputError
        There is none.
    """
    runs: dict[str, RunOutputs] = {}
    for anat in sorted([*out_dir.glob("sub-*/anat"), *out_dir.glob("sub-*/ses-*/anat")]):
        for path in sorted(anat.glob("sub-*")):
            _sort_in(path, runs)
    wanted = [
        run
        for run in runs.values()
        if any(suffix == "Chimap" for suffix, _ in run.maps)
        and (participants is None or run.exam[0] in participants)
        and (sessions is None or run.exam[1] in sessions)
    ]
    if not wanted:
        raise InputError(
            "holds no map of susceptibility",
            str(out_dir),
            "Give the output folder of qsmbids, and labels of participants that are there.",
        )
    for run in wanted:
        magnitude = derivative_path(out_dir, run.entities, datatype="fmap", suffix="magnitude")
        run.magnitude = magnitude if magnitude.is_file() else run.maps.get(("T2starw", "rss"))
    return wanted


def read_sidecar(image: Path) -> dict[str, Any]:
    """Return the sidecar of an image, empty where there is none."""
    path = image.with_name(re.sub(r"\.nii(\.gz)?$|\.tsv$", ".json", image.name))
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({type(error).__name__})", str(path)) from error
    return content if isinstance(content, dict) else {}


def _sort_in(path: Path, runs: dict[str, RunOutputs]) -> None:
    """Put a file where it belongs, unless it is of another space or no output for viewers."""
    stem, _, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    named = dict(pair.partition("-")[::2] for pair in pairs if "-" in pair)
    own = {k: v for k, v in named.items() if k in _LONG}
    others = set(named) - set(own)
    label = "_".join(f"{k}-{v}" for k, v in own.items())
    run = runs.setdefault(label, RunOutputs(label, {_LONG[k]: v for k, v in own.items()}))
    desc, seg = named.get("desc", ""), named.get("seg", "")
    if extension in ("nii.gz", "nii"):
        if suffix == "dseg" and others == {"seg"}:
            run.segmentations[seg] = path
        elif suffix == "mask" and _is(named, label="brain", desc="mask4noholes"):
            run.support = path
        elif others <= {"desc"} or (others == {"desc", "part"} and desc == "rss"):
            run.maps[suffix, desc] = path
    elif extension == "tsv" and suffix == "stats" and others == {"seg", "desc"}:
        run.statistics[seg, desc] = path


def _is(named: Mapping[str, str], **wanted: str) -> bool:
    return all(named.get(key) == value for key, value in wanted.items())
