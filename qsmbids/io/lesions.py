"""Find the image of lesions that a user supplies for a run."""

from dataclasses import replace
from pathlib import Path

from qsmbids.errors import InputError
from qsmbids.io.matching import entities_of
from qsmbids.io.runs import Run
from qsmbids.io.segmentations import Segmentation, best_in_dataset, find_segmentations

__all__ = ["LESIONS", "find_lesions"]

#: What the lesions are called in the names of outputs.
LESIONS = "lesions"
_SUFFIXES = ("dseg", "mask")


def find_lesions(source: Path, run: Run, t1w_way: bool = False) -> Segmentation:
    """Return the lesions of a run: an image of labels, or the one in a derivative dataset.

    Parameters
    ----------
    source : Path
        A NIfTI file, or a BIDS derivative with ``*_label-lesion_mask.nii.gz`` or a ``*_dseg``
        whose label tells of lesions.
    run : Run
    t1w_way : bool
        Whether there is a way from T1w space to the run.

    Raises
    ------
    InputError
        Nothing fits, or several do; the grid is another one.
    """
    if source.is_file():
        (given,) = find_segmentations(source, run, t1w_way)
        return replace(given, label=LESIONS)
    if not source.is_dir():
        raise InputError("does not exist", str(source), "Check --lesions.")
    folder = source / f"sub-{run.subject}"
    images = [p for p in sorted(folder.rglob("*.nii*")) if _is_of_lesions(p.name)]
    found = best_in_dataset(source, run, t1w_way, images)
    if len(found) > 1:
        names = ", ".join(s.image.name for s in found)
        raise InputError(
            f"several images of lesions fit {run.label}: {names}",
            str(source),
            "Give the file itself with --lesions.",
        )
    if not found:
        raise InputError(
            f"no image of lesions fits {run.label}",
            str(source),
            f"Expected {folder.name}/**/*_label-lesion_mask.nii.gz there; of a participant without"
            " lesions, one that is zero everywhere.",
        )
    return replace(found[0], label=LESIONS)


def _is_of_lesions(name: str) -> bool:
    if name.startswith("."):
        return False
    labels = entities_of(name)
    suffix = name.partition(".nii")[0].rpartition("_")[2]
    told = any("lesion" in labels.get(key, "").lower() for key in ("label", "seg", "desc"))
    return suffix in _SUFFIXES and told
