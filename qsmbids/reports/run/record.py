"""What a run left behind: images, sidecars, status and log, read from the output dataset alone."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qsmbids.io.derivatives import derivative_path
from qsmbids.io.lesions import LESIONS
from qsmbids.io.runs import run_entities
from qsmbids.reports.run.catalogue import MAPS, image_paths

__all__ = ["RunRecord", "find_results", "read_run"]


@dataclass(frozen=True)
class RunRecord:
    """One run as its outputs tell it.

    Attributes
    ----------
    out_dir : Path
        Root of the output dataset.
    entities : dict
        Of the run, under pybids' names.
    result : mapping
        Entry of ``logs/status``: ``run``, ``status`` ("ok", "failed", "interrupted"), ``step``,
        ``message``, ``crash_file``, ``outputs``.
    images : dict
        Images that exist, by the key of :data:`qsmbids.reports.run.catalogue.MAPS`.
    sidecars : dict
        Their sidecars; one that is missing or damaged is empty.
    log_dir : Path, optional
        Folder with ``qsmbids.toml`` and ``qsmbids.log`` of the call that made the run.
    """

    out_dir: Path
    entities: dict[str, str]
    result: Mapping[str, Any]
    images: dict[str, Path]
    sidecars: dict[str, dict[str, Any]]
    log_dir: Path | None = None

    @property
    def label(self) -> str:
        """The run as its file names begin."""
        return str(self.result["run"])

    @property
    def status(self) -> str:
        """What became of the run; "unknown" where nobody wrote it down."""
        return str(self.result.get("status", "unknown"))

    @property
    def step(self) -> str:
        """Step that failed, in words; "" where nobody wrote it down."""
        step = str(self.result.get("step_title") or self.result.get("step") or "")
        return "check of the input" if step == "pre-flight" else step

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Everything that the sidecars say; the last step, the map itself, says it last.

        ``Steps`` are those of all sidecars.
        """
        maps = [self.sidecars[key] for key in reversed(MAPS) if key in self.sidecars]
        return _merged([*self._further_sidecars, *maps])

    @property
    def _further_sidecars(self) -> list[dict[str, Any]]:
        """Those of what is no image of the page; of images that the run did not write, none."""
        named = [self.out_dir / str(p) for p in self.result.get("outputs") or ()]
        known = set(self.images.values())
        files = dict.fromkeys(_sidecar_of(p) for p in named if p not in known)
        return [_json(path) for path in sorted(files)]

    @cached_property
    def reference_table(self) -> list[dict[str, str]]:
        """Rows of the table of reference regions; empty where the run wrote none."""
        path = derivative_path(
            self.out_dir,
            self.entities,
            datatype="anat",
            suffix="stats",
            desc="references",
            extension=".tsv",
        )
        named = [self.out_dir / str(p) for p in self.result.get("outputs") or ()]
        if named and path not in named:
            return []
        head, *rows = [line.split("\t") for line in _text(path).splitlines() if line] or [[]]
        return [dict(zip(head, row, strict=False)) for row in rows]

    @cached_property
    def segmentations(self) -> dict[str, Path]:
        """Images of labels that the run wrote, by their ``seg`` label; lesions last."""
        one = derivative_path(
            self.out_dir, self.entities, datatype="anat", suffix="dseg", segmentation="x"
        )
        stem = one.name.partition("_seg-x_")[0]
        named = [self.out_dir / str(p) for p in self.result.get("outputs") or ()]
        found = {}
        for path in sorted(one.parent.glob(f"{stem}_seg-*_dseg.nii.gz")):
            if not named or path in named:
                found[path.name[len(stem) + 5 : -len("_dseg.nii.gz")]] = path
        return dict(sorted(found.items(), key=lambda item: item[0] == LESIONS))

    @cached_property
    def decisions(self) -> list[str]:
        """Every automatic decision, in the order of the steps."""
        return self._lines("AcquisitionDecisions", "Decisions")

    @cached_property
    def warnings(self) -> list[str]:
        """Every warning of the sidecars and of the log."""
        stated = self._lines("AcquisitionWarnings", "Warnings")
        logged = [line.removeprefix("WARNING: ") for line in self.log_lines if "WARNING: " in line]
        return list(dict.fromkeys([*stated, *logged]))

    def _lines(self, *keys: str) -> list[str]:
        """Return the lines under some keys of all sidecars, each once; the fullest first."""
        lines: dict[str, None] = {}
        for key in keys:
            lists = [s.get(key) for s in self.sidecars.values()]
            for listing in sorted(
                (x for x in lists if isinstance(x, list)), key=len, reverse=True
            ):
                lines |= dict.fromkeys(str(line) for line in listing)
        return list(lines)

    @cached_property
    def log_lines(self) -> list[str]:
        """Lines of the log about this run, without time, level and name."""
        if self.log_dir is None:
            return []
        text = _text(self.log_dir / "qsmbids.log")
        pattern = rf"^\S+ \S+ \w+ +{re.escape(self.label)} +(.*)$"
        return re.findall(pattern, text, re.MULTILINE)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Resolved settings of the call, by section; empty where they were not kept."""
        if self.log_dir is None:
            return {}
        try:
            return tomllib.loads(_text(self.log_dir / "qsmbids.toml"))
        except tomllib.TOMLDecodeError:
            return {}

    @cached_property
    def generated_by(self) -> list[dict[str, Any]]:
        """Programs that dataset_description.json names."""
        listed = _json(self.out_dir / "dataset_description.json").get("GeneratedBy")
        return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []


def read_run(
    out_dir: Path,
    result: Mapping[str, Any],
    extra_images: Mapping[str, Path] | None = None,
) -> RunRecord:
    """Gather what a run left behind.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    result : mapping
        Status of the run; ``run`` is its label, ``log`` the folder of its log in the dataset.
    extra_images : mapping, optional
        Images from elsewhere, such as the work directory, for maps that were not written.

    Raises
    ------
    ValueError
        The label is not that of a run.
    """
    label = str(result["run"])
    entities = run_entities(label)
    if entities is None:
        raise ValueError(f"{label!r} is not the label of a run")
    images = {k: p for k, p in image_paths(out_dir, entities).items() if p.is_file()}
    if named := {out_dir / str(p) for p in result.get("outputs") or ()}:
        # what else lies there is of an earlier run with other settings
        images = {k: p for k, p in images.items() if p in named}
    sidecars = {k: _json(_sidecar_of(p)) for k, p in images.items()}
    for key, path in (extra_images or {}).items():
        if key not in images and path.is_file():
            images[key] = path
    return RunRecord(
        out_dir, entities, dict(result), images, sidecars, _log_dir(out_dir, result, label)
    )


def find_results(
    out_dir: Path, participants: list[str] | None = None, sessions: list[str] | None = None
) -> list[dict[str, Any]]:
    """Return the status of every run of an output dataset.

    Runs with a map but without a status file, for example of an older version, are "unknown".
    """
    results = {}
    for path in sorted((out_dir / "logs" / "status").glob("*.json")):
        status = _json(path)
        if isinstance(status.get("run"), str):
            results[status["run"]] = status
    for path in sorted(out_dir.glob("sub-*/**/anat/*_desc-*_Chimap.nii.gz")):
        label = path.name.partition("_desc-")[0]
        results.setdefault(label, {"run": label, "status": "unknown"})
    kept = []
    for label, result in sorted(results.items()):
        entities = run_entities(label)
        if entities is None or (participants and entities["subject"] not in participants):
            continue
        if sessions and entities.get("session") not in sessions:
            continue
        kept.append(result)
    return kept


def _log_dir(out_dir: Path, result: Mapping[str, Any], label: str) -> Path | None:
    """Return the folder of the run's log: the one it names, else the latest that names it."""
    logs = out_dir / "logs"
    named = logs / Path(str(result.get("log", ""))).name
    if result.get("log") and (named / "qsmbids.log").is_file():
        return named
    for path in sorted(logs.glob("*/qsmbids.log"), reverse=True):
        if re.search(rf" {re.escape(label)} ", _text(path)):
            return path.parent
    return None


def _sidecar_of(path: Path) -> Path:
    return path.with_name(re.sub(r"\.(nii\.gz|tsv|txt)$", "", path.name) + ".json")


def _merged(sidecars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return all that the sidecars say; of the weighted images, the parameters of both."""
    merged: dict[str, Any] = {}
    steps: dict[str, None] = {}
    parameters: dict[str, Any] = {}
    for sidecar in sidecars:
        steps |= dict.fromkeys(sidecar.get("Steps") or ())
        weighting = sidecar.get("SusceptibilityWeighting")
        if isinstance(weighting, Mapping):
            parameters |= weighting.get("Parameters") or {}
        merged |= sidecar
    if steps:
        merged["Steps"] = list(steps)
    if parameters:
        merged["SusceptibilityWeighting"] |= {"Parameters": parameters}
    return merged


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
