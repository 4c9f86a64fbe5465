"""Names and sidecars of the output dataset.

Names come from pybids and the patterns of ``data/bids.json``, always in strict mode: a name that
would lose an entity is an error, for two runs would then overwrite each other.
"""

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["BIDS_VERSION", "UNITS", "bids_uri", "derivative_path", "sidecar"]

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

_NO_UNITS = ("mask", "dseg", "probseg", "xfm")


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
        Entities of the run, as in :class:`qsmbids.io.runs.Run`.
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
