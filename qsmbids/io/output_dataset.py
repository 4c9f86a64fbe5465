"""What makes the output folder a BIDS derivative dataset."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids.errors import OutputError
from qsmbids.io.derivatives import BIDS_VERSION
from qsmbids.io.descriptions import DESCRIPTIONS
from qsmbids.io.sourcedata import CONVERTED
from qsmbids.io.write import write_json, write_text

__all__ = ["init_dataset"]

_IGNORED = (
    "*.html",
    "**/figures",
    "**/figures/**",
    "*_stats.tsv",
    "*_stats.json",
    "*_xfm.*",
    "group_*",
)
_NAME = "qsmbids"
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

    description = _description(root, raw, version, container, tools)
    target = root / "dataset_description.json"
    present = _load(target)
    if present is None or _may_replace(present, target, warnings):
        known = {**(present or {}), "GeneratedBy": _without_command(present)}
        if known != description:  # the command of a later job alone is no reason to rewrite it
            if command:
                description["GeneratedBy"][0]["CommandLine"] = command
            keep_going(target, write_json, description)
    keep_going(root / ".bidsignore", write_text, _ignore_text(root / ".bidsignore"))
    readme = _README.format(version=version, raw_name=_raw_name(raw))
    keep_going(root / "README.md", write_text, readme)
    rows = [f"desc-{name}\t{meaning}\n" for name, meaning in DESCRIPTIONS.items()]
    keep_going(root / "descriptions.tsv", write_text, "desc_id\tdescription\n" + "".join(rows))
    keep_going(root / "descriptions.json", write_json, _DESCRIPTIONS_JSON)
    return warnings


def _description(
    root: Path,
    raw: Path,
    version: str,
    container: Mapping[str, str] | None,
    tools: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Return the dataset_description.json, less the command line."""
    ours: dict[str, Any] = {"Name": _NAME, "Version": version}
    ours["Description"] = "Quantitative susceptibility mapping after the ISMRM consensus"
    container = container or _container(os.environ, version)
    if container:
        ours["Container"] = dict(container)
    link = _link(root, raw)
    links = {"raw": link}
    if (root / CONVERTED).is_dir():
        links["converted"] = CONVERTED.as_posix()
    source = {"URL": link}
    doi = (_load(raw / "dataset_description.json") or {}).get("DatasetDOI")
    if doi:
        source["DOI"] = str(doi)
    return {
        "Name": f"Susceptibility maps of {_raw_name(raw)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [ours, *map(dict, tools)],
        "SourceDatasets": [source],
        "DatasetLinks": links,
    }


def _raw_name(raw: Path) -> Any:
    return (_load(raw / "dataset_description.json") or {}).get("Name") or "the source dataset"


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
