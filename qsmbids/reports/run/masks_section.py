"""Volumes of Masks 1 to 4 and what each step took away."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from qsmbids.reports.run.catalogue import MASKS
from qsmbids.reports.run.images import Images
from qsmbids.reports.run.section import Section, paragraph, table

__all__ = ["masks_section"]

#: Mask, the mask before it, and what happened between them.
_STEPS = (
    ("mask1", "", "brain extraction"),
    ("mask2", "mask1", "voxels of unreliable phase taken out"),
    ("mask3", "mask1", "Mask 1 where the phase is reliable, holes filled"),
    ("mask4noholes", "mask3", "rim lost to background removal; support of the map"),
    ("mask4", "mask4noholes", "holes of unreliable phase; data of the inversion"),
)


def _otherwise(key: str, sidecar: Mapping[str, Any]) -> str:
    """Return what happened in a run that went another way, "" in the usual one."""
    steps = sidecar.get("Steps") or ()
    measure = sidecar.get("ReliablePhase")
    if key == "mask1" and str((sidecar.get("BrainExtraction") or {}).get("Name", "")).startswith(
        "given"
    ):
        return "given"
    guide = sidecar.get("MaskGuide")
    if key == "mask1" and isinstance(guide, Mapping):
        used = guide.get("Used") is True
        return "brain extraction" + (", guided by a template of the head" if used else " alone")
    if isinstance(measure, Mapping) and measure.get("Measure") == "none":
        words = {"mask2": "no phase was taken for unreliable", "mask3": "Mask 1, holes filled"}
        if key in words:
            return words[key]
    if key == "mask4noholes" and "given_local_field" in steps:
        return "where the given local field is known; support of the map"
    return ""


def masks_section(images: Images) -> Section:
    """Return the table of the masks.

    Mask 2 covers the whole image; here it is counted inside Mask 1.
    """
    voxel_ml = 1e-3
    for size in images.grid.voxel_size:
        voxel_ml *= size
    counted = dict(images.masks)
    if "mask1" in counted and "mask2" in counted:
        counted["mask2"] = counted["mask2"] & counted["mask1"]
    volume = {key: voxel_ml * float(mask.sum()) for key, mask in counted.items()}
    rows = []
    for key, before, happened in _STEPS:
        if key not in volume:
            continue
        removed, of = "", ""
        if before in volume and volume[before] > 0:
            removed = f"{100 * (1 - volume[key] / volume[before]):.1f} %"
            of = MASKS[before][0].partition(",")[0]
        happened = _otherwise(key, images.sidecar) or happened
        swatch = Markup('<span class="swatch" data-mask="{}"></span>{}').format(key, MASKS[key][0])
        rows.append((swatch, f"{volume[key]:.0f}", removed, of, happened))
    head = ("Mask", "Volume [ml]", "Removed", "of", "By")
    note = paragraph(
        "Numbered as in Figure 5 of the consensus paper. Mask 2 covers the whole image and is "
        "counted inside Mask 1 here. The outlines can be switched on above the maps.",
        "note",
    )
    return Section("masks", "Masks", table(head, rows, numeric=(1, 2)) + note)
