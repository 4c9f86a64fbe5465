"""Read what all participants left in the output dataset; what is damaged is only left out."""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from qsmbids.config import flattened
from qsmbids.core.reference.kinds import REFERENCES, UNREFERENCED
from qsmbids.io.expected_runs import expected_runs, read_participants
from qsmbids.io.matching import entities_of
from qsmbids.io.tables import read_cells
from qsmbids.reports.group.runs import Group, GroupRun
from qsmbids.reports.group.strata import set_strata
from qsmbids.reports.paper import facts

__all__ = ["gather"]

_MAP = "_desc-wholebrain_Chimap.json"
_ANY_MAP = re.compile(rf"_desc-(?:{'|'.join((*REFERENCES, UNREFERENCED))})_Chimap\.nii\.gz$")
_REFERENCES = "_desc-references_stats.tsv"
_LESIONS = "_desc-lesions_stats.tsv"
_MEASURES = "_desc-iqms_stats.json"
_ACQUISITION = "_desc-acquisition_stats.json"
_ROIS = re.compile(r"^(.*)_seg-([a-zA-Z0-9+]+)_desc-([a-zA-Z0-9+]+)_stats\.tsv$")
#: What differs from echo to echo.
_OF_AN_ECHO = ("EchoTime", "EchoNumber")
#: What the sidecar of a map tells about the acquisition.
_OF_THE_MAP = ("MagneticFieldStrength", "ImagingFrequency", "EchoTime", "TiltDegrees")


def gather(
    out_dir: Path,
    bids_dir: Path,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
) -> Group:
    """Read what participants left; a file that is absent or damaged is only left out.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    bids_dir : Path
        Raw dataset; its file names and ``participants.tsv`` tell what is missing.
    participants, sessions : sequence of str, optional
        Labels without prefix; all when absent.
    """
    reader = _Reader(out_dir)
    runs: dict[str, GroupRun] = {}

    def of(label: str) -> GroupRun:
        return runs.setdefault(label, GroupRun(label))

    with_map = set()
    for folder in _folders(out_dir):
        for path in _listed(folder):
            if matched := _ANY_MAP.search(path.name):
                with_map.add(path.name[: matched.start()])
                of(path.name[: matched.start()])
            reader.read(path, of)
    for status in reader.statuses():
        reader.apply_status(of(status["run"]), status)
    for label, run in runs.items():
        _settle(run, label in with_map)
        page = out_dir / f"{label}.html"
        run.report = page.name if page.is_file() else ""
    listed = read_participants(bids_dir)
    for root in (bids_dir, out_dir / "sourcedata" / "raw"):
        for label in expected_runs(root):
            _expect(runs, label, "has raw images but was not processed yet")
    seen = {label.split("_")[0] for label in runs}
    for label in sorted(set(listed) - seen):
        _expect(runs, label, "is in participants.tsv without images for QSM")
    for folder in sorted(bids_dir.glob("sourcedata/sub-*")):
        if folder.name not in seen and folder.name not in listed:
            _expect(runs, folder.name, "has source data that were not converted yet")
    kept = [run for run in runs.values() if _wanted(run.label, participants, sessions)]
    kept.sort(key=lambda run: _natural(run.label))
    set_strata(kept)
    return Group(tuple(kept), listed, tuple(sorted(reader.unreadable)))


def _of_the_scan(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the raw sidecars of all echoes say, and the array, as one level of keys."""
    sidecars = metadata.get("Sidecars")
    if not isinstance(sidecars, list):
        return dict(metadata)
    parameters = {
        key: value
        for key, value in (
            sidecars[0] if sidecars and isinstance(sidecars[0], dict) else {}
        ).items()
        if key not in _OF_AN_ECHO
    }
    array = metadata.get("Acquisition")
    if isinstance(array, dict) and isinstance(array.get("voxel_size"), list):
        parameters["VoxelSize"] = array["voxel_size"]
    return parameters


def _expect(runs: dict[str, GroupRun], label: str, message: str) -> None:
    """Note a run that is to be there; one that failed as a whole participant is known."""
    words = label.split("_")
    above = {words[0], "_".join(words[:2])}
    if label not in runs and not any(k in runs and runs[k].status == "failed" for k in above):
        runs[label] = GroupRun(label, message=message)


def _settle(run: GroupRun, has_map: bool) -> None:
    """Let the files decide where they and the status say different things."""
    if run.status == "failed":  # what is there is of an earlier attempt, or half of this one
        run.references, run.rois, run.lesions, run.measures = [], [], [], {}
        return
    if has_map:
        run.status = "ok"
    elif run.status == "ok":
        run.status, run.message = "missing", "finished once, but its map is not there"
    else:
        run.message = "has some outputs, but neither a map nor a status: it may still be running"


def _wanted(
    label: str, participants: Sequence[str] | None, sessions: Sequence[str] | None
) -> bool:
    pairs = entities_of(label)
    return (not participants or pairs.get("sub") in participants) and (
        not sessions or pairs.get("ses") in sessions
    )


def _natural(label: str) -> list[tuple[bool, int, str]]:
    """Return a key that puts sub-9 before sub-10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", label)
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]


def _folders(out_dir: Path) -> Iterator[Path]:
    for pattern in ("sub-*/anat", "sub-*/ses-*/anat"):
        yield from sorted(out_dir.glob(pattern))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # moved away by whoever still works on it
        return []


class _Reader:
    """Reads files of the output dataset and remembers those that it could not."""

    def __init__(self, out_dir: Path) -> None:
        self.out_dir = out_dir
        self.unreadable: list[str] = []
        self.settings = lru_cache(maxsize=None)(self._settings)

    def read(self, path: Path, of: Any) -> None:
        """Put what a file says into its run."""
        name = path.name
        if name.endswith(_MAP):
            run, sidecar = of(name.removesuffix(_MAP)), self._json(path)
            known = {k: sidecar[k] for k in _OF_THE_MAP if k in sidecar}
            run.acquisition = {**known, **run.acquisition}
            run.version = run.version or str(sidecar.get("QsmbidsVersion", ""))
            lists = [sidecar.get(k) for k in ("AcquisitionWarnings", "Warnings")]
            lines = [str(w) for lines in lists if isinstance(lines, list) for w in lines]
            run.warnings = tuple(dict.fromkeys(lines))
        elif name.endswith(_REFERENCES):
            of(name.removesuffix(_REFERENCES)).references = self._table(path)
        elif name.endswith(_LESIONS):
            of(name.removesuffix(_LESIONS)).lesions = self._table(path)
        elif name.endswith(_MEASURES):
            self._measures(path, of(name.removesuffix(_MEASURES)))
        elif name.endswith(_ACQUISITION):
            run, said_raw = of(name.removesuffix(_ACQUISITION)), self._json(path)
            run.acquisition = {**run.acquisition, **_of_the_scan(said_raw)}
        elif matched := _ROIS.match(name):
            label, segmentation, reference = matched.groups()
            place = {"segmentation": segmentation, "reference": reference}
            of(label).rois += [{**cells, **place} for cells in self._table(path)]

    def statuses(self) -> Iterator[dict[str, Any]]:
        """Yield the status of every run; its own file knows it better than the summary."""
        summary = self._json(self.out_dir / "logs" / "summary.json", quiet=True)
        entries = summary.get("runs")
        statuses = {
            e["run"]: e
            for e in (entries if isinstance(entries, list) else [])
            if isinstance(e, dict) and isinstance(e.get("run"), str)
        }
        for path in _listed(self.out_dir / "logs" / "status"):
            if path.suffix == ".json" and not path.name.startswith("."):
                entry = self._json(path)
                if isinstance(entry.get("run"), str):
                    statuses[entry["run"]] = entry
        yield from statuses.values()

    def apply_status(self, run: GroupRun, status: Mapping[str, Any]) -> None:
        """Put what the log of a run says into it."""
        run.status = "ok" if status.get("status") == "ok" else "failed"
        if run.status == "failed":
            step = facts.text(status.get("step_title") or status.get("step"))
            run.step = "check of the input" if step == "pre-flight" else step
            fallback = facts.text(status.get("status") or "unknown")
            run.message = facts.text(status.get("message")) or fallback
        job = Path(str(status.get("log") or "")).name
        known = self.settings(job) if job else {}
        run.settings = {k: v for k, v in known.items() if not k.startswith("execution.")}
        run.preset = known.get("execution.preset", "")
        run.version = known.get("execution.version", "") or run.version
        wanted = {kind.setting: desc for desc, kind in REFERENCES.items()}
        run.main_reference = wanted.get(known.get("reference.region", ""), "")

    def _settings(self, job: str) -> dict[str, str]:
        path = self.out_dir / "logs" / job / "qsmbids.toml"
        try:
            sections = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            return self._left_out(path, error)
        return {key: facts.text(value) for key, value in flattened(sections).items()}

    def _measures(self, path: Path, run: GroupRun) -> None:
        sidecar = self._json(path)
        named, units, verdicts = (
            entries if isinstance(entries := sidecar.get(key), dict) else {}
            for key in ("Measures", "MeasureUnits", "MeasureVerdicts")
        )
        run.units = {str(name): str(unit) for name, unit in units.items() if unit}
        run.unusual = tuple(name for name, verdict in verdicts.items() if verdict == "look")
        run.measures = {
            str(name): float(value)
            for name, value in named.items()
            if isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        }

    def _table(self, path: Path) -> list[dict[str, str]]:
        try:
            rows = read_cells(path)
        except (OSError, ValueError) as error:
            self._left_out(path, error)
            return []
        if len({len(row) for row in rows}) > 1:
            self._left_out(path, ValueError("its lines have different numbers of cells"))
            return []
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]

    def _json(self, path: Path, quiet: bool = False) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text("utf-8-sig"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            return {} if quiet else self._left_out(path, error)
        return content if isinstance(content, dict) else {}

    def _left_out(self, path: Path, error: Exception) -> dict[str, Any]:
        self.unreadable.append(f"{path.relative_to(self.out_dir).as_posix()}: {error}")
        return {}
