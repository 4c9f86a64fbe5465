"""Names, sidecars and the frame of the output dataset.

Names come from pybids and the patterns of ``data/bids.json``, always in strict mode: a name that
would lose an entity is an error, for two runs would then overwrite each other.
"""

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from qsmbids.errors import OutputError
from qsmbids.io.descriptions import DESCRIPTIONS
from qsmbids.io.sourcedata import CONVERTED
from qsmbids.io.write import write_json, write_text

__all__ = ["BIDS_VERSION", "UNITS", "bids_uri", "derivative_path", "init_dataset", "sidecar"]

BIDS_VERSION = "1.10.0"

#: Units that BIDS or the house fix for a suffix.
UNITS = {
    "Chimap": "ppm",
    "R2starmap": "1/s",
    "T2starmap": "s",
    "S0map": "arbitrary",
    "fieldmap": "Hz",
    "magnitude": "arbitrary",
}

_IGNORED = (
    "*.html",
    "**/figures",
    "**/figures/**",
    "*_stats.tsv",
    "*_stats.json",
    "*_xfm.*",
    "group_*",
)
_NO_UNITS = ("mask", "dseg", "probseg", "xfm")
_NAME = "qsmbids"


def derivative_path(
    out_dir: str | Path,
    run_entities: Mapping[str, Any],
    *,
    datatype: str,
    suffix: str,
    extension: str = ".nii.gz",
    **entities: Any,
) -> Path:
    """Return the path of an output.

    Parameters
    ----------
    out_dir : path
        Root of the output dataset.
    run_entities : mapping
        Entities of the run, as in :class:`qsmbids.io.layout.Run`.
    datatype : str
        "anat", "fmap" or "figures".
    suffix, extension : str
    **entities
        Further ones under pybids' names: ``echo``, ``part``, ``space``, ``segmentation``,
        ``label``, ``desc``.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        A label is not alphanumeric, or BIDS has no such name: some entity would be lost.

    Notes
    -----
    BIDS allows neither ``task``, ``ce`` nor ``rec`` under ``fmap``. There they are folded into
    ``acq``, as key and value, so that no two runs share a name: ``rec-norm`` becomes
    ``acq-recNorm``, and beside ``acq-a``, ``acq-aRecNorm``.
    """
    labels = {k: str(v) for k, v in {**run_entities, **entities}.items() if v is not None}
    for name, value in labels.items():
        if not re.fullmatch("[a-zA-Z0-9+]+", value):
            raise ValueError(f"{name}-{value}: a BIDS label is alphanumeric")
    if datatype == "fmap":
        labels = _without_rec(labels)
    query = {**labels, "datatype": datatype, "suffix": suffix, "extension": extension}
    from bids.layout.writing import build_path  # 0.2 s that --help need not wait for

    path = build_path(query, list(_patterns()), strict=True)
    if not isinstance(path, str):
        listed = ", ".join(f"{k}={v}" for k, v in query.items())
        raise ValueError(f"BIDS has no file name for {listed}")
    return Path(out_dir) / path


@functools.cache
def _patterns() -> tuple[str, ...]:
    text = resources.files("qsmbids").joinpath("data", "bids.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["default_path_patterns"])


def _without_rec(entities: dict[str, str]) -> dict[str, str]:
    """Fold what BIDS forbids under fmap into ``acq``."""
    folded = [
        key + entities[name]
        for name, key in (("task", "Task"), ("ceagent", "Ce"), ("reconstruction", "Rec"))
        if name in entities
    ]
    kept = {k: v for k, v in entities.items() if k not in ("task", "ceagent", "reconstruction")}
    if folded:
        text = entities.get("acquisition", "") + "".join(folded)
        kept["acquisition"] = text[0].lower() + text[1:] if "acquisition" not in entities else text
    return kept


def bids_uri(path: str | Path, dataset_root: str | Path, name: str = "") -> str:
    """Return the BIDS URI of a file: ``bids:<name>:<path in the dataset>``.

    Parameters
    ----------
    path, dataset_root : path
        Links are not resolved, so that git-annex files keep their BIDS names.
    name : str
        Key of DatasetLinks; "" is the dataset itself.

    Raises
    ------
    ValueError
        The file is not inside the dataset.
    """
    inside = Path(os.path.abspath(path)).relative_to(os.path.abspath(dataset_root))
    return f"bids:{name}:{inside.as_posix()}"


def sidecar(
    suffix: str,
    description: str,
    *,
    sources: Iterable[str] = (),
    skull_stripped: bool | None = None,
    units: str | None = None,
    mask_type: str = "Brain",
    algorithm: str | None = None,
    reference: str | None = None,
    entities: Mapping[str, Any] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Return a sidecar with the keys that BIDS requires of an output.

    Parameters
    ----------
    suffix, description : str
    sources : iterable of str
        BIDS URIs.
    skull_stripped : bool, optional
        Required of images that are no mask or segmentation.
    units : str, optional
        Default by the suffix.
    mask_type : str
        "Brain", "Lesion", "Face" or "ROI"; for masks.
    algorithm, reference : str, optional
        EstimationAlgorithm and EstimationReference.
    entities : mapping, optional
        Of the file name; some call for further keys.
    **extra
        Any other key, for example ``EchoTime``.

    Raises
    ------
    ValueError
        A required key is missing, or the units are not those of BIDS.
    """
    named = entities or {}
    content: dict[str, Any] = {"Description": description}
    if suffix == "mask":
        if mask_type not in ("Brain", "Lesion", "Face", "ROI"):
            raise ValueError(f"a mask has no Type {mask_type!r}")
        content["Type"] = mask_type
    elif suffix not in _NO_UNITS:
        units = units or UNITS.get(suffix)
        if units is None:
            raise ValueError(f"{suffix}: the units must be given")
        content["Units"] = units
    if suffix in UNITS and units is not None and units != UNITS[suffix]:
        raise ValueError(f"{suffix}: BIDS wants {UNITS[suffix]}, not {units}")
    if named.get("part") == "phase" and units not in ("rad", "arbitrary"):
        raise ValueError(f"phase: BIDS wants rad or arbitrary, not {units}")
    if skull_stripped is not None:
        content["SkullStripped"] = skull_stripped
    elif suffix not in _NO_UNITS:
        raise ValueError(f"{suffix}: SkullStripped must be given")
    content["Sources"] = list(sources)
    if algorithm:
        content["EstimationAlgorithm"] = algorithm
    if reference:
        content["EstimationReference"] = reference
    content |= extra
    calls_for = {"echo": "EchoTime", "space": "SpatialReference", "res": "Resolution"}
    for entity, key in calls_for.items():
        if entity in named and key not in content:
            raise ValueError(f"{suffix}: {entity}- in the name calls for {key}")
    return content


def init_dataset(
    out_dir: str | Path,
    *,
    version: str,
    raw_dir: str | Path,
    command: str | None = None,
    container: Mapping[str, str] | None = None,
    tools: Sequence[Mapping[str, str]] = (),
) -> list[str]:
    """Write what makes the output folder a derivative dataset.

    Jobs may do so side by side: each file appears whole, and one that says the same already is
    left alone.

    Parameters
    ----------
    out_dir, raw_dir : path
        Roots of the output and of the raw dataset.
    version : str
        Of qsmbids.
    command : str, optional
        Command line of the first job.
    container : mapping, optional
        BIDS Container object, ``{"Type": ..., "Tag": ...}``; by default what the environment says.
    tools : sequence of mapping
        Further GeneratedBy entries, for example FSL.

    Returns
    -------
    list of str
        What could not be brought up to date.

    Raises
    ------
    OutputError
        The folder cannot be written, or it holds raw data.
    """
    root, raw = Path(os.path.abspath(out_dir)), Path(os.path.abspath(raw_dir))
    if root == raw:
        fix = "Choose another one, for example derivatives/qsmbids in the dataset."
        raise OutputError("the output folder is the dataset itself", str(root), fix)
    warnings: list[str] = []

    def keep_going(target: Path, write: Any, content: Any) -> None:
        try:
            write(target, content)
        except OutputError as error:
            if not target.exists():
                raise
            warnings.append(str(error))

    ours: dict[str, Any] = {"Name": _NAME, "Version": version}
    ours["Description"] = "Quantitative susceptibility mapping after the ISMRM consensus"
    container = container or _container(os.environ, version)
    if container:
        ours["Container"] = dict(container)
    link = _link(root, raw)
    raw_description = _load(raw / "dataset_description.json") or {}
    links = {"raw": link}
    if (root / CONVERTED).is_dir():
        links["converted"] = CONVERTED.as_posix()
    source = {"URL": link}
    if raw_description.get("DatasetDOI"):
        source["DOI"] = str(raw_description["DatasetDOI"])
    raw_name = raw_description.get("Name") or "the source dataset"
    description = {
        "Name": f"Susceptibility maps of {raw_name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [ours, *map(dict, tools)],
        "SourceDatasets": [source],
        "DatasetLinks": links,
    }
    target = root / "dataset_description.json"
    present = _load(target)
    if present is None or _may_replace(present, target, warnings):
        known = {**(present or {}), "GeneratedBy": _without_command(present)}
        if known != description:  # the command of a later job alone is no reason to rewrite it
            if command:
                ours["CommandLine"] = command
            keep_going(target, write_json, description)
    keep_going(root / ".bidsignore", write_text, _ignore_text(root / ".bidsignore"))
    keep_going(root / "README.md", write_text, _README.format(version=version, raw_name=raw_name))
    rows = [f"desc-{name}\t{meaning}\n" for name, meaning in DESCRIPTIONS.items()]
    keep_going(root / "descriptions.tsv", write_text, "desc_id\tdescription\n" + "".join(rows))
    keep_going(root / "descriptions.json", write_json, _DESCRIPTIONS_JSON)
    return warnings


_DESCRIPTIONS_JSON = {
    "Description": "Meaning of the desc entities in the file names",
    "desc_id": {"Description": "The entity as it stands in the file names"},
    "description": {"Description": "What the files with this entity hold"},
}

_README = """# Susceptibility maps of {raw_name}

Made by qsmbids {version}, which follows the consensus recommendations of the ISMRM
Electro-Magnetic Tissue Properties Study Group for quantitative susceptibility mapping of the
brain.

- `anat/*_desc-wholebrain_Chimap.nii.gz`: magnetic susceptibility in ppm, with the mean of the
  brain (Mask 4) as zero. Paramagnetic is positive.
- `anat/*_mask.nii.gz`: Masks 1 to 4 of the consensus, see `descriptions.tsv`.
- `fmap/*_fieldmap.nii.gz`: total and local field in Hz; divide by ImagingFrequency of the
  sidecar [MHz] for ppm.
- `*.html`: a report for each participant.

The sidecars name the sources and the settings of every map.
"""


def _container(environ: Mapping[str, str], version: str) -> dict[str, str] | None:
    """Return the BIDS Container object of the image that this runs in."""
    if not environ.get("QSMBIDS_CONTAINER"):
        return None
    kind = "apptainer" if "APPTAINER_CONTAINER" in environ else environ["QSMBIDS_CONTAINER"]
    return {"Type": kind, "Tag": environ.get("QSMBIDS_DOCKER_TAG") or f"{_NAME}:{version}"}


def _link(root: Path, raw: Path) -> str:
    """Return a relative link where both folders move together, else a file URI."""
    return os.path.relpath(raw, root) if root.is_relative_to(raw) else raw.as_uri()


def _load(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None where there is none to be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _without_command(description: Mapping[str, Any] | None) -> list[Any]:
    entries = (description or {}).get("GeneratedBy") or []
    return [
        {k: v for k, v in entry.items() if k != "CommandLine"}
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]


def _may_replace(description: Mapping[str, Any], target: Path, warnings: list[str]) -> bool:
    """Tell whether a dataset_description.json is ours; refuse that of raw data."""
    if description.get("DatasetType", "raw") == "raw":
        fix = "Choose an empty folder, for example derivatives/qsmbids in the dataset."
        raise OutputError("the output folder holds a raw dataset", str(target), fix)
    names = [e.get("Name") for e in description.get("GeneratedBy") or [] if isinstance(e, dict)]
    if names and _NAME not in names:
        warnings.append(f"{target} is that of {', '.join(map(str, names))} and was left as it is")
        return False
    return True


def _ignore_text(path: Path) -> str:
    """Return the present .bidsignore with our patterns added."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return "\n".join([*lines, *(p for p in _IGNORED if p not in lines)]) + "\n"
