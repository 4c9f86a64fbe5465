"""The images that the page knows: where they are, how they are called, how they are shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids.core.reference.kinds import REFERENCES, UNREFERENCED
from qsmbids.io.derivatives import derivative_path

__all__ = ["MAPS", "MASKS", "MapKind", "explained", "image_paths", "main_map"]


@dataclass(frozen=True)
class MapKind:
    """One kind of image.

    Attributes
    ----------
    title, unit, explanation : str
        For people.
    datatype, suffix, entities
        Of the file name.
    scale : str
        How the window is found: "chi" and "field" are fixed in ppm, "signed" and "positive" take
        a percentile, "relaxation" goes with the field strength, "unit" is 0 to 1, "phase" one
        turn.
    support : str
        Mask that the image is shown through, "" for none.
    detail : bool
        Whether the page holds every slice.
    """

    title: str
    unit: str
    datatype: str
    suffix: str
    entities: dict[str, str] = field(default_factory=dict)
    scale: str = "signed"
    support: str = ""
    explanation: str = ""
    detail: bool = True


_BRAIN = "mask1"
_INSIDE = "mask4noholes"  # the paper shows maps through the eroded mask (section 9.1.4)

#: In the order of the page; wrapped and unwrapped phase are those of one echo.
MAPS: dict[str, MapKind] = {
    "chi": MapKind(
        "Susceptibility", "ppm", "anat", "Chimap", {"desc": "wholebrain"}, "chi", _INSIDE,
        "Magnetic susceptibility relative to the main reference. Iron and veins are bright.",
    ),
    "local_field": MapKind(
        "Local field", "Hz", "fmap", "fieldmap", {"desc": "local"}, "field", _INSIDE,
        "Field of the tissue alone, from which the susceptibility was computed.",
    ),
    "total_field": MapKind(
        "Total field", "Hz", "fmap", "fieldmap", {"desc": "total"}, "signed", _BRAIN,
        "Field of the tissue and of everything around the brain.",
    ),
    "magnitude": MapKind(
        "Magnitude", "a.u.", "fmap", "magnitude", {}, "positive", "",
        "Root of the sum of squares over the echoes.",
    ),
    "wrapped": MapKind(
        "Phase before unwrapping", "rad", "anat", "MEGRE", {"part": "phase", "desc": "preproc"},
        "phase", "", "Measured phase of one echo.", detail=False,
    ),
    "unwrapped": MapKind(
        "Phase after unwrapping", "rad", "anat", "MEGRE", {"part": "phase", "desc": "unwrapped"},
        "signed", _BRAIN, "The same echo without the phase at TE = 0: smooth, with no jumps left.",
    ),
    "quality": MapKind(
        "Phase quality", "", "anat", "probseg", {"desc": "phasequality"}, "unit", "",
        "Reliability of the phase, 0 (noise) to 1; its threshold makes Mask 2.", detail=False,
    ),
    "r2star": MapKind(
        "R2*", "1/s", "anat", "R2starmap", {}, "relaxation", _BRAIN,
        "Effective transverse relaxation rate.",
    ),
}  # fmt: skip

#: Masks of the paper's Figure 5, with the colour of their outline (apart in grey print, too).
MASKS: dict[str, tuple[str, str]] = {
    "mask1": ("Mask 1, brain", "#ffb000"),
    "mask2": ("Mask 2, reliable phase", "#648fff"),
    "mask3": ("Mask 3, combined", "#21c7a8"),
    "mask4": ("Mask 4, after background removal", "#fe4f8a"),
    "mask4noholes": ("Mask 4 without holes", "#e6e600"),
}


def explained(key: str, sidecar: Mapping[str, Any]) -> str:
    """Return what an image of a run is, by what its steps have recorded.

    Parameters
    ----------
    key : str
        Of :data:`MAPS`.
    sidecar : mapping
        Sidecars of the run.
    """
    steps, usual = sidecar.get("Steps") or (), MAPS[key].explanation
    if key == "chi" and sidecar.get("MainReference") == "none":
        return "Magnetic susceptibility without a reference. Iron and veins are bright."
    if key == "total_field" and "given_field" in steps:
        return f"{usual} It was given."
    if key == "local_field" and "given_local_field" in steps:
        return f"{usual} It was given."
    if key == "unwrapped" and "given_phase" in steps:
        return "The same echo as it was given."
    if key == "unwrapped" and "unwrap_phase" in steps and "remove_phase_offset" not in steps:
        return "The same echo with the phase at TE = 0: smooth, with no jumps left."
    measure = sidecar.get("ReliablePhase")
    other = isinstance(measure, Mapping) and measure.get("Measure") != "romeo-quality"
    if key == "quality" and other:
        return "Reliability of the phase, 0 (noise) to 1; it has no part in Mask 2."
    return usual


def main_map(out_dir: Path, entities: Mapping[str, str]) -> Path:
    """Return the susceptibility map relative to the main reference of a run, which may be none."""

    def named(desc: str, **name: str) -> Path:
        return derivative_path(out_dir, entities, datatype="anat", desc=desc, **name)

    table = named("references", suffix="stats", extension=".json")
    try:
        main = str(json.loads(table.read_text("utf-8")).get("MainReference", ""))
    except (OSError, ValueError, AttributeError):
        main = ""
    known = (*REFERENCES, UNREFERENCED)
    wanted = [main] if main in known else []
    maps = [named(desc, suffix="Chimap") for desc in (*wanted, *known)]
    return next((path for path in maps if path.is_file()), maps[0])


def image_paths(out_dir: Path, entities: Mapping[str, str]) -> dict[str, Path]:
    """Return where the images of a run are if they were written, by their key.

    Of the echoes of the phase the last one that exists is taken: it has the most wraps.
    """
    paths = {"chi": main_map(out_dir, entities)}
    for key, kind in MAPS.items():
        if key in paths:
            continue
        if kind.suffix != "MEGRE":
            paths[key] = derivative_path(
                out_dir, entities, datatype=kind.datatype, suffix=kind.suffix, **kind.entities
            )
            continue
        one = derivative_path(
            out_dir, entities, datatype=kind.datatype, suffix="MEGRE", echo="1", **kind.entities
        )
        images = sorted(
            one.parent.glob(one.name.replace("_echo-1_", "_echo-*_")),
            key=lambda p: (len(p.name), p.name),
        )
        single = derivative_path(
            out_dir, entities, datatype=kind.datatype, suffix="T2starw", **kind.entities
        )
        paths[key] = images[-1] if images else single
    for key in MASKS:
        paths[key] = derivative_path(
            out_dir, entities, datatype="anat", suffix="mask", label="brain", desc=key
        )
    return paths
