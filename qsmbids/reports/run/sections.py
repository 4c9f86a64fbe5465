"""What the run says about itself: decisions, settings, files, programs, and what failed."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from markupsafe import Markup

from qsmbids import __version__
from qsmbids.config import flattened, load_settings
from qsmbids.methods.sections import PARAMETERS
from qsmbids.reports.paper.findings import Table
from qsmbids.reports.paper.geometry import DisplayGrid
from qsmbids.reports.run.images import Images
from qsmbids.reports.run.record import RunRecord
from qsmbids.reports.run.section import Section, bullets, paragraph, table

__all__ = [
    "acquisition_section",
    "decisions_section",
    "error_section",
    "files_section",
    "settings_section",
    "software_section",
]

_CRASH_CHARACTERS = 20_000
_LIBRARIES = ("nipype", "numpy", "scipy", "numba", "nibabel", "pybids", "matplotlib")


def error_section(record: RunRecord) -> Section | None:
    """Return what went wrong and where, None if nothing did."""
    if record.status in ("ok", "unknown"):
        return None
    rows = [
        ("What happened", record.result.get("message") or "not known"),
        ("Step", record.step or "not known"),
    ]
    html = table(("", ""), rows)
    html += paragraph(
        "Everything that was finished before is below. The same command goes on from this step "
        "once the cause is removed."
    )
    crash = Path(str(record.result.get("crash_file") or ""))
    if record.result.get("crash_file") and crash.is_file():
        text = crash.read_text("utf-8", errors="replace")[-_CRASH_CHARACTERS:]
        frame = Markup("<details><summary>Technical report, {}</summary><pre>{}</pre></details>")
        html += frame.format(crash.name, text)
    return Section("error", "What failed", html)


def acquisition_section(record: RunRecord, images: Images | None) -> Section | None:
    """Return what was measured, as far as sidecars and headers tell."""
    metadata = record.metadata
    echo_times = metadata.get("EchoTime")
    rows = [] if images is None else _grid_rows(images.grid)
    if isinstance(echo_times, list):
        text = ", ".join(f"{1e3 * t:.2f}" for t in echo_times if isinstance(t, int | float))
        rows.append(("Echo times", f"{text} ms ({len(echo_times)} echoes)"))
    for key, name, form in (
        ("MagneticFieldStrength", "Field strength", "{:.4g} T"),
        ("ImagingFrequency", "Centre frequency", "{:.4f} MHz"),
        ("TiltDegrees", "Tilt of the slab against B0", "{:.1f} degrees"),
        ("MagnitudeSNR", "Signal-to-noise ratio of the first echo", "{:.0f}"),
        ("FieldNoiseMedianHz", "Noise of the total field (median)", "{:.3f} Hz"),
    ):
        if isinstance(metadata.get(key), int | float):
            rows.append((name, form.format(metadata[key])))
    return Section("data", "Data", table(("", ""), rows)) if rows else None


def _grid_rows(grid: DisplayGrid) -> list[tuple[str, str]]:
    """Return the matrix as it is stored, and whether the page leaves voxels out."""
    size = np.linalg.norm(grid.affine[:3, :3], axis=0)
    words = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}
    axes = [words[code] for code in nib.aff2axcodes(grid.affine) if code in words]
    rows = [
        ("Matrix", " x ".join(str(n) for n in grid.shape)),
        ("Voxel size", " x ".join(f"{v:.3g}" for v in size) + " mm"),
        ("Voxel axes of the files", f"towards {', '.join(axes)}"),
    ]
    if max(grid.steps) > 1:
        steps = " x ".join(str(n) for n in grid.steps)
        rows.append(("Shown on this page", f"one voxel of {steps} (right, anterior, superior)"))
    return rows


def decisions_section(record: RunRecord) -> Section:
    """Return every automatic decision and warning; of older runs how long the steps took."""
    html = Markup("")
    if record.warnings:
        html += bullets(record.warnings, "warnings")
    if record.decisions:
        html += bullets(record.decisions, "decisions")
    if not html:
        html = paragraph("Nothing was decided before the run ended.", "note")
    times = [
        match.groups()
        for line in record.log_lines
        if (match := re.match(r"(.+): (?:done in|FAILED after) ([0-9.]+) s$", line))
    ]
    if times and not record.result.get("steps"):  # else the bars tell it
        rows = [(step, seconds) for step, seconds in times]
        html += Markup("<details><summary>Time of each step</summary>{}</details>").format(
            table(("Step", "Time [s]"), rows, numeric=(1,))
        )
    return Section("decisions", "Decisions", html)


def settings_section(record: RunRecord, in_force: Table | None = None) -> Section:
    """Return every setting that had a part, with its meaning; what the preset has not is marked.

    Parameters
    ----------
    record : RunRecord
    in_force : Table, optional
        Of :func:`qsmbids.reports.paper.settings_in_force.settings_table`; without it, the settings
        of the log, whatever became of them.
    """
    tables = record.settings
    if not tables:
        html = paragraph("The settings of this run were not found in its log folder.", "note")
        return Section("settings", "Settings", html)
    preset = str(tables.get("execution", {}).get("preset", ""))
    usual = _preset(preset)
    rows = _asked_for(tables) if in_force is None else _with_meaning(in_force)
    sentence = (
        "These settings were asked for; which of them had a part in the run is not on record."
        if in_force is None
        else "Only settings that had a part in the run, with the values that the sidecars have."
    )
    changed = {_bracketed(k) for k, v in flattened(tables).items() if k in usual and usual[k] != v}
    marked = [
        (label, Markup("<mark>{}</mark>").format(value) if name in changed else value, *rest)
        for label, value, name, *rest in rows
    ]
    head = ("Setting", "Value", "") if in_force is None else (
        "Setting", "Value", "Paper", "Software", "")  # fmt: skip
    html = paragraph(
        Markup("Preset <b>{}</b>. {} Values that differ from the preset are marked.").format(
            preset or "?", sentence
        )
    )
    html += table(head, marked) if marked else paragraph("No step has left a record.", "note")
    return Section("settings", "Settings", Markup('<div class="settings">{}</div>').format(html))


def _meanings() -> dict[str, str]:
    """Return the explanation of every setting, by section and name."""
    return {_bracketed(row.key): row.doc for row in PARAMETERS}


def _bracketed(key: str) -> str:
    """Return a dotted key as the table and name that it has in TOML."""
    section, _, name = key.rpartition(".")
    return f"[{section}] {name}"


def _with_meaning(in_force: Table) -> list[tuple[str, ...]]:
    """Return label, value, name, the values of paper and software, and the explanation."""
    meanings = _meanings()
    return [
        (label, value, name, paper, software, meanings.get(name, "fixed in this program"))
        for label, value, paper, software, name in in_force.rows
    ]


def _asked_for(tables: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return label, value, name and explanation of all settings of the log."""
    meanings = _meanings()
    labels = {row.key: row.label for row in PARAMETERS}
    return [
        (labels.get(key, key), _word(value), _bracketed(key), meanings.get(_bracketed(key), ""))
        for key, value in flattened(tables).items()
        if not key.startswith("execution.")
    ]


def files_section(record: RunRecord, figures: list[Path], tables: Sequence[Path] = ()) -> Section:
    """Return the files that were written, with what each holds."""
    root = record.out_dir
    rows = []
    named = [root / str(p) for p in record.result.get("outputs", [])]
    written = named or sorted(p for p in record.images.values() if root in p.parents)
    rows += [
        (path.relative_to(root).as_posix(), _description(path), _size(path))
        for path in written
        if path.is_file() and root in path.parents
    ]
    if figures:
        folder = figures[0].parent.relative_to(root).as_posix()
        rows.append((f"{folder}/", f"Figures of this page for papers, {len(figures)} files", ""))
    rows += [
        (path.relative_to(root).as_posix(), "Tables 3 to 5 for a publication", _size(path))
        for path in tables
    ]
    if record.log_dir is not None:
        for name, what in (("qsmbids.toml", "Settings"), ("qsmbids.log", "Log")):
            path = record.log_dir / name
            if path.is_file() and root in path.parents:
                rows.append((path.relative_to(root).as_posix(), what, _size(path)))
    html = (
        table(("File", "Holds", "Size"), rows, numeric=(2,))
        if rows
        else paragraph("Nothing was written.", "note")
    )
    return Section("files", "Files", Markup('<div class="files">{}</div>').format(html))


def software_section(record: RunRecord) -> Section:
    """Return the programs that made the maps, and the libraries that made this page."""
    rows = []
    made_by = record.metadata.get("QsmbidsVersion")
    rows.append(("qsmbids, maps", made_by or "not known"))
    rows.append(("qsmbids, this page", __version__))
    rows += [
        (str(e.get("Name")), str(e.get("Version", "")))
        for e in record.generated_by
        if e.get("Name") != "qsmbids"
    ]
    rows.append(("Python", platform.python_version()))
    for name in _LIBRARIES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    command = record.settings.get("execution", {}).get("command")
    html = table(("Program", "Version"), rows)
    if command:
        html = Markup("<p>Command</p><pre>{}</pre>").format(command) + html
    return Section("software", "Software", html)


def _preset(name: str) -> dict[str, Any]:
    try:
        return flattened(load_settings(name).as_dict())
    except Exception:  # noqa: BLE001 - a preset of another version: nothing to compare with
        return {}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _description(path: Path) -> str:
    try:
        sidecar = json.loads(
            path.with_name(path.name.removesuffix(".nii.gz") + ".json").read_text()
        )
        return str(sidecar.get("Description", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _size(path: Path) -> str:
    try:
        return f"{path.stat().st_size / 1e6:.2f} MB"
    except OSError:
        return ""
