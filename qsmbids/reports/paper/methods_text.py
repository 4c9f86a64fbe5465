"""Methods paragraphs for a publication in the manner of section 9.1.5, from what was in force."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata as installed
from pathlib import Path
from typing import Any

from qsmbids import __version__
from qsmbids.config import Settings
from qsmbids.io.metadata import Acquisition
from qsmbids.io.slices import is_echo_planar
from qsmbids.methods.declaration import Clause
from qsmbids.methods.sections import PARAGRAPHS
from qsmbids.reports.paper import facts
from qsmbids.reports.paper.interpretation import interpretation
from qsmbids.reports.paper.run_facts import SPEAKS_OF, run_facts
from qsmbids.reports.paper.settings_in_force import brain_extraction, in_force, shown

__all__ = ["acquisition_text", "methods_markdown", "processing_text", "software_versions"]

#: Distribution, name in the text and reference of what computes the maps.
_SOFTWARE = (
    ("numpy", "NumPy", "harris2020"),
    ("scipy", "SciPy", "virtanen2020"),
    ("numba", "Numba", "lam2015"),
    ("nibabel", "NiBabel", ""),
    ("nipype", "Nipype", "gorgolewski2011"),
    ("pybids", "PyBIDS", ""),
)

_FIELD = re.compile(r"\{([\w.]+)\}")


def methods_markdown(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    *,
    acquisition: Acquisition | None = None,
    sidecars: Sequence[Mapping[str, Any]] = (),
    versions: Mapping[str, str] | None = None,
    centre_frequency: str = "",
    acquisitions_differ: bool = False,
    n_echoes: int | None = None,
    tilt_degrees: float | None = None,
) -> str:
    """Return the methods paragraphs as Markdown with ``[@key]`` citations.

    Parameters
    ----------
    settings : Settings
        In force; of a run that is planned, the source of the parameters in the text.
    record : mapping, optional
        Sidecars of a run, of which the text is; None for one that is planned.
    acquisition : Acquisition, optional
        Without it the text begins with the processing.
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    versions : mapping, optional
        As from :func:`software_versions`, which is taken if not given.
    centre_frequency : str
        In words, where it stands for several runs.
    acquisitions_differ : bool
        The text is about runs that no single acquisition describes.
    n_echoes, tilt_degrees : int, float, optional
        Where ``acquisition`` does not tell; else as the record has them.
    """
    versions = software_versions(record, sidecars) if versions is None else versions
    if n_echoes is None:
        n_echoes = len(acquisition.echo_times) if acquisition else _recorded_echoes(record or {})
    parts = ["# Methods"]
    if acquisition is not None:
        said = acquisition_text(acquisition, sidecars, record, centre_frequency)
        parts += ["## Data acquisition", said]
    elif acquisitions_differ:
        parts += ["## Data acquisition", _please("acquisitions differ; each report has its own")]
    parts += ["## Susceptibility mapping", _software_text(versions)]
    if tilt_degrees is None:
        told = float((record or {}).get("TiltDegrees", 0.0))
        tilt_degrees = acquisition.tilt_degrees if acquisition else told
    done = processing_text(settings, record, n_echoes=n_echoes, tilt_degrees=tilt_degrees)
    parts += done or ["No step of the processing has left a record."]
    b0 = acquisition.b0_tesla if acquisition else (record or {}).get("MagneticFieldStrength")
    if caveats := interpretation(record, b0):
        parts += ["## Interpretation", " ".join(caveat.text for caveat in caveats)]
    return "\n\n".join(parts) + "\n"


def processing_text(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    *,
    n_echoes: int = 3,
    tilt_degrees: float = 0.0,
) -> list[str]:
    """Return one paragraph per group of steps, every parameter in force included.

    Parameters
    ----------
    settings : Settings
    record : mapping, optional
        Sidecars of a run, which tell what was done. Without them the text is about a run that is
        planned; empty ones are of a run that did nothing.
    n_echoes : int
    tilt_degrees : float
        Of the slab against the main field.
    """
    rows = in_force(settings, n_echoes, record)
    values = {row.key: value for row, value in rows}
    shown_values = {row.key: shown(value, row.unit) for row, value in rows}
    run = run_facts(settings, values, record, n_echoes, tilt_degrees)
    shown_values |= {row.key: row.words[value] for row, value in rows if value in row.words}
    context, named = {**values, **run}, {**shown_values, **{k: str(v) for k, v in run.items()}}
    chosen = [[c for c in paragraph.clauses if _holds(c, context)] for paragraph in PARAGRAPHS]
    used = {key for clauses in chosen for clause in clauses for key in _speaks_of(clause)}
    texts = []
    for paragraph, clauses in zip(PARAGRAPHS, chosen, strict=True):
        sentences = [_FIELD.sub(lambda m: named[m[1]], c.text) for c in clauses if c.text]
        rest = [
            f"{row.label} {shown_values[row.key]}"
            for row, _ in rows
            if row.step in paragraph.sections and row.key not in used
        ]
        if rest:
            sentences.append(f"Further settings: {', '.join(rest)}.")
        if sentences:  # none where a given field takes the place of all
            texts.append(" ".join(sentences))
    known = {section for paragraph in PARAGRAPHS for section in paragraph.sections}
    other = [f"{row.label} {shown_values[row.key]}" for row, _ in rows if row.step not in known]
    return [*texts, f"Further settings: {', '.join(other)}."] if other else texts


def _holds(clause: Clause, context: Mapping[str, Any]) -> bool:
    """Tell whether a sentence is true: its conditions hold and its settings are in force."""
    return all(
        context.get(k) in (v if isinstance(v, tuple) else (v,)) for k, v in clause.when.items()
    ) and all(key in context for key in _FIELD.findall(clause.text))


def _speaks_of(clause: Clause) -> set[str]:
    keys = {*clause.when, *clause.speaks_of, *_FIELD.findall(clause.text)}
    return keys | {SPEAKS_OF[key] for key in keys if key in SPEAKS_OF}


def _recorded_echoes(record: Mapping[str, Any]) -> int:
    times = record.get("EchoTime")
    return len(times) if isinstance(times, list | tuple) else 3


def software_versions(
    record: Mapping[str, Any] | None = None, sidecars: Sequence[Mapping[str, Any]] = ()
) -> dict[str, str]:
    """Return name and version of all software that made a map, as far as it is known.

    Parameters
    ----------
    record : mapping, optional
        Sidecar of a finished map: its version of qsmbids, and whether FSL was used.
    sidecars : sequence of mapping
        Merged raw metadata; they name the converter.
    """
    record = record or {}
    found = {
        "qsmbids": str(record.get("QsmbidsVersion") or __version__),
        "Python": platform.python_version(),
    }
    for distribution, name, _ in _SOFTWARE:
        try:
            found[name] = installed.version(distribution)
        except installed.PackageNotFoundError:
            continue
    if brain_extraction(record) == "fsl":
        found["FSL"] = _fsl_version()
    if "dcm2niix" in str(facts.first_of(sidecars, "ConversionSoftware") or "").lower():
        found["dcm2niix"] = _said(facts.first_of(sidecars, "ConversionSoftwareVersion"))
    return found


def _fsl_version() -> str:
    try:
        text = Path(os.environ["FSLDIR"], "etc", "fslversion").read_text("utf-8")
    except (KeyError, OSError, UnicodeDecodeError):
        return "version unknown"
    return text.split(":")[0].strip()


def _software_text(versions: Mapping[str, str]) -> str:
    """Return what computed the maps."""
    cites = {name: f" [@{key}]" for _, name, key in _SOFTWARE if key}
    cites |= {"dcm2niix": " [@li2016]", "FSL": " [@smith2002]"}
    libraries = [
        f"{name} {version}{cites.get(name, '')}".rstrip()
        for name, version in versions.items()
        if name not in ("qsmbids", "dcm2niix")
    ]
    text = (
        f"Susceptibility maps were calculated by qsmbids {versions.get('qsmbids', __version__)},"
        " which follows the consensus recommendations of the ISMRM Electro-Magnetic Tissue"
        f" Properties Study Group [@consensus2024], with {', '.join(libraries)}."
        " Data are organised after the Brain Imaging Data Structure [@gorgolewski2016]."
    )
    if "dcm2niix" in versions:
        text += f" DICOM images were converted by dcm2niix {versions['dcm2niix']} [@li2016]."
    return text


def acquisition_text(
    acquisition: Acquisition,
    sidecars: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any] | None = None,
    centre_frequency: str = "",
) -> str:
    """Return the paragraph on scanner and sequence; what is not known asks for the author.

    Parameters
    ----------
    acquisition : Acquisition
    sidecars : sequence of mapping
        Merged raw metadata, one per echo.
    record : mapping, optional
        Sidecar of a finished map.
    centre_frequency : str
        In words, where it is not that of ``acquisition``.
    """
    a, tr = acquisition, facts.repetition_time(sidecars)
    scanner = [_said(facts.first_of(sidecars, "ManufacturersModelName")), _said(a.manufacturer)]
    software = _said(facts.first_of(sidecars, "SoftwareVersions"))
    coil = _said(facts.receive_coil(sidecars))
    about = ", ".join(s or _please(n) for s, n in zip(scanner, ("model", "vendor"), strict=True))
    kind, _ = facts.readout(sidecars, record or {})
    dimensions = _said(facts.first_of(sidecars, "MRAcquisitionType")) or _please("2D or 3D")
    angle, width = facts.number(sidecars, "FlipAngle"), facts.number(sidecars, "PixelBandwidth")
    _, times = facts.echo_range(a.echo_times)
    n = len(a.echo_times)
    echoes = (
        f"one echo at {times}"
        if n == 1
        else f"{n} {kind + ' ' if kind else ''}echoes at TE1 : spacing : TEmax = {times}"
        if ":" in times
        else f"{n} {kind + ' ' if kind else ''}echoes at TE = {times}"
    )
    fov = " x ".join(f"{v:.4g}" for v in facts.field_of_view(a))
    matrix = " x ".join(f"{v:d}" for v in facts.along_head(a, a.matrix))
    voxel = " x ".join(f"{v:.4g}" for v in facts.along_head(a, a.voxel_size))
    parts = [
        f"TR = {1e3 * tr:.4g} ms" if tr else _please("TR"),
        echoes,
        f"flip angle = {angle:g}°" if angle else _please("flip angle"),
        *([f"bandwidth = {width:.4g} Hz/voxel"] if width else []),
        f"field of view = {fov} mm³ (AP x LR x HF)",
        f"matrix = {matrix}",
        f"voxels of {voxel} mm³",
        _said(facts.acceleration_text(sidecars)) or _please("acceleration"),
        *([f"partial Fourier {p:g}"] if (p := facts.partial_fourier(sidecars)) else []),
    ]
    return (
        f"Data were acquired on a {a.b0_tesla:.4g} T scanner ({about}"
        f"{'; ' + software if software else ''}; centre frequency"
        f" {centre_frequency or f'{a.centre_frequency_hz / 1e6:.6g} MHz'}) with"
        f" {'the receive coil ' + coil if coil else _please('coil, number of channels')}."
        f" The sequence was a {dimensions} {'multi-echo ' if n > 1 else ''}gradient echo"
        f"{_echo_planar(sidecars)} with the"
        f" parameters: {', '.join(parts)}. The scan took"
        f" {facts.duration(sidecars) or _please('scan duration')}."
    )


def _echo_planar(sidecars: Sequence[Mapping[str, Any]]) -> str:
    """Say of echo planar images what the paper does not speak of."""
    if not is_echo_planar(sidecars):
        return ""
    averaged = facts.number(sidecars, "VolumesAveraged")
    mean = f"; the complex mean of {averaged:g} volumes was taken" if averaged else ""
    return f" echo planar scan (geometric distortion was not corrected{mean})"


def _said(value: Any) -> str:
    """Return a word of a sidecar without what Markdown would take for its own."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
    return re.sub(r"[\[\]*_`<>]+", " ", text).strip()


def _please(what: str) -> str:
    return f"**please fill in: {what}**"
