"""Find the segmentations that a user supplies for a run, and the names of their regions."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qsmbids.errors import InputError
from qsmbids.io.grids import difference
from qsmbids.io.matching import entities_of, fits, n_shared
from qsmbids.io.nifti_header import Header, read_header
from qsmbids.io.runs import Run
from qsmbids.io.segmentation_labels import Region, freesurfer_regions, read_regions

__all__ = ["Segmentation", "best_in_dataset", "find_segmentations", "label_values", "same_grid"]

_IMAGE = (".nii", ".nii.gz")
#: Values of ``space-`` for images on the grid of the gradient echo.
_GRE = ("orig", "megre", "t2starw", "gre", "qsm", "native")
_NO_WAY = (
    "Give --t1w IMAGE or --t1w auto (registers with antspyx) or --t1w-transform, or resample the"
    " segmentation to the first echo's magnitude (nearest neighbour)."
)


@dataclass(frozen=True)
class Segmentation:
    """One image of labels, where it lies, and the names of its labels.

    Attributes
    ----------
    label : str
        For ``seg-`` of the outputs.
    image : Path
    regions : tuple of Region
        Those of the table; empty where there is none.
    space : str
        "MEGRE": on the grid of the run; "T1w": in the space of the T1w image.
    table : str
        Name of the table of labels, "" where there is none.
    only_named : bool
        Leave out labels without a name (FreeSurfer's cortex has its own tables).
    """

    label: str
    image: Path
    regions: tuple[Region, ...]
    space: str
    table: str = ""
    only_named: bool = False


def find_segmentations(source: Path, run: Run, t1w_way: bool = False) -> list[Segmentation]:
    """Return the segmentations of a run: an image, or all that fit in a derivative dataset.

    Parameters
    ----------
    source : Path
        A NIfTI file, or a BIDS derivative with files ``*_dseg.nii[.gz]``. Of several with the
        same ``seg-``, ``atlas-`` or ``desc-``, the one whose name has most in common with the
        run counts, and one on its grid before one in T1w space.
    run : Run
        Its first image gives the grid.
    t1w_way : bool
        Whether there is a way from T1w space to the run.

    Raises
    ------
    InputError
        Nothing fits, or several do; a grid is another one and there is no way to it; the table
        of labels is damaged.
    """
    grid = read_header(run.images[0])
    if source.is_file():
        if not source.name.endswith(_IMAGE):
            fix = "Give a .nii or .nii.gz file; mri_convert makes one of .mgz."
            raise InputError("is not a NIfTI image", str(source), fix)
        space = _space(source, run, grid, t1w_way, strict=False)
        if space is None:
            raise _other_grid(source, grid)
        return [_described(source, space, source.parent)]
    if not source.is_dir():
        raise InputError("does not exist", str(source), "Check --segmentation.")
    folder = source / f"sub-{run.subject}"
    images = [p for p in sorted(folder.rglob("*_dseg.nii*")) if not p.name.startswith(".")]
    chosen = best_in_dataset(source, run, t1w_way, images)
    if not chosen:
        raise InputError(
            f"no segmentation fits {run.label}",
            str(source),
            f"Expected {folder.name}/**/*_dseg.nii.gz there, in the space of the gradient echo or"
            " with space-T1w.",
        )
    return chosen


def same_grid(one: Header, other: Header) -> bool:
    """Return whether two images have the same voxels, in whatever order of the axes."""
    return not difference(one.shape, one.affine, other.shape, other.affine)


def best_in_dataset(
    root: Path, run: Run, t1w_way: bool, images: Iterable[Path]
) -> list[Segmentation]:
    """Return the best of some images for every label; none where no image fits the run.

    Raises
    ------
    InputError
        Several fit alike, or there is no way to the one that does.
    """
    grid = read_header(run.images[0])
    images = [p for p in images if p.name.endswith(_IMAGE)]
    fitting: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    out_of_reach: list[Path] = []
    for path in images:
        if not fits(path.name, run, ("subject", "session")):
            continue
        space = _space(path, run, grid, t1w_way, strict=True)
        if space is not None:
            fitting[_label(path.name)].append((path, space))
        elif entities_of(path.name).get("space", "T1w") == "T1w":
            out_of_reach.append(path)
    chosen = []
    for label, candidates in sorted(fitting.items()):
        best = max(_closeness(p, s) for p, s in candidates)
        kept = [c for c in candidates if _closeness(*c) == best]
        if len(kept) > 1:
            names = ", ".join(p.name for p, _ in kept[:4])
            raise InputError(
                f"several segmentations '{label}' fit {run.label}: {names}",
                str(root),
                "Give the file itself with --segmentation.",
            )
        chosen.append(_described(*kept[0], root))
    if not chosen and out_of_reach:
        raise _other_grid(out_of_reach[0], grid)
    return chosen


def _space(path: Path, run: Run, grid: Header, t1w_way: bool, *, strict: bool) -> str | None:
    """Return where a segmentation lies, None where that is out of reach.

    ``strict`` asks the name as well: in a dataset, images of other runs and spaces lie beside.
    A segmentation of a T1w image has the entities of that image, of which only participant and
    session say something about the run.
    """
    named = entities_of(path.name).get("space", "")
    of_run = not strict or fits(path.name, run)
    if named not in ("", "T1w") and named.lower() not in _GRE:
        return "MEGRE" if not strict and same_grid(read_header(path), grid) else None
    if named != "T1w" and of_run and same_grid(read_header(path), grid):
        return "MEGRE"
    return "T1w" if t1w_way and named in ("", "T1w") else None


def _other_grid(path: Path, grid: Header) -> InputError:
    shape = read_header(path).shape
    return InputError(
        f"the segmentation is not on the run's grid ({shape}, the run has {grid.shape})",
        str(path),
        _NO_WAY,
    )


def _closeness(path: Path, space: str) -> tuple[bool, int]:
    return space == "MEGRE", n_shared(path.name)


def _label(name: str) -> str:
    """Return the label of a segmentation: of its entities, else of the file name."""
    entities = entities_of(name)
    for key in ("seg", "atlas", "desc", "label"):
        if key in entities:
            return re.sub("[^a-zA-Z0-9+]", "", entities[key])
    stem = re.sub(r"\.nii(\.gz)?$", "", name)
    words = [w for w in re.split(r"[_.]", stem) if not re.match(r"[a-zA-Z]+-", w)]
    return re.sub("[^a-zA-Z0-9]", "", "".join(words)) or "given"


def _described(image: Path, space: str, root: Path) -> Segmentation:
    """Add the names of the labels."""
    label = _label(image.name)
    table = _table(image, root)
    if table is not None:
        return Segmentation(label, image, tuple(read_regions(table)), space, table.name)
    if re.search(r"aseg|aparc|synthseg|fastsurfer", image.name, re.IGNORECASE):
        regions = tuple(freesurfer_regions())
        return Segmentation(label, image, regions, space, "FreeSurfer's names", True)
    return Segmentation(label, image, (), space)


def _table(image: Path, root: Path) -> Path | None:
    """Return the table of an image: its own, else the closest of the folders above."""
    own = Path(re.sub(r"\.nii(\.gz)?$", ".tsv", str(image)))
    if own.is_file():
        return own
    entities = entities_of(image.name)
    for folder in (image.parent, *image.parent.parents):
        inherited = [
            path
            for path in sorted(folder.glob("*dseg.tsv"))
            if (path.name == "dseg.tsv" or path.name.endswith("_dseg.tsv"))
            and entities_of(path.name).items() <= entities.items()
        ]
        if inherited:
            return max(inherited, key=lambda path: len(entities_of(path.name)))
        if folder == root:
            return None
    return None


def label_values(array: npt.NDArray[np.floating], path: str) -> npt.NDArray[np.int32]:
    """Return an image of labels as integers.

    Raises
    ------
    InputError
        A value is negative, too large or no integer: the image was interpolated, or is none of
        labels.
    """
    whole = np.rint(array)
    if not (np.abs(array - whole) < 1e-3).all() or whole.min() < 0 or whole.max() >= 2**31:
        raise InputError(
            "holds values that are no labels",
            path,
            "Resample segmentations with nearest neighbour (antsApplyTransforms -n GenericLabel)"
            " and give a dseg, not a probseg.",
        )
    return whole.astype(np.int32)
