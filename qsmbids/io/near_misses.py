"""Names that nearly are right: folders of participants, and phase images."""

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from qsmbids.io.runs import SUFFIXES, Problem

__all__ = [
    "LABEL_RULE",
    "converter",
    "holds_images",
    "odd_folders",
    "odd_names",
    "without_run",
]

#: What to do about :func:`odd_folders`.
LABEL_RULE = (
    "a label is of letters and digits alone (sub-<label>, ses-<label>), so rename the folder and"
    " the files in it"
)

_IMAGE = (".nii", ".nii.gz")
#: Names of phase images, of the whole signal, or of the right suffix in the wrong order.
_PHASE = re.compile(
    r"part-(?:phase|ph|pha|real|imag)(?![a-z])|(?:^|[_-])(?:phase|phs|ph|pha)\d*(?![a-z])|MEGRE"
    r"|T2starw|(?:^|_)(?:GRE|SWI|QSM)(?![a-z])",
    re.IGNORECASE,
)
#: Series of echo planar images with phase.
_EPI = re.compile(r"func/[^/]*_part-[a-z]+_bold\.nii")
#: Images of single receive coils.
_COIL = re.compile(r"_rec-coil(?:s|\d+)_")
#: Phase differences and field maps of these suffixes are no phase of a gradient echo.
_FIELD_MAPS = re.compile(r"_(?:phasediff|fieldmap|magnitude[12]?)\.nii")


def odd_folders(bids_dir: Path, participants: Iterable[str]) -> list[str]:
    """Return the folders that look as if they were of a participant or session and are not.

    A label holds letters and digits (and +) alone; names like ``sub-01_A``, ``Sub-01`` or
    ``sub 01`` are none, and nothing in such a folder is found. Sessions are looked at of some
    participants (labels without ``sub-``) alone, for a study may have thousands.
    """
    odd = odd_names(bids_dir, "sub")
    for label in participants:
        odd += [f"sub-{label}/{name}" for name in odd_names(bids_dir / f"sub-{label}", "ses")]
    return odd


def odd_names(parent: Path, prefix: str) -> list[str]:
    """Return the folders in one folder that nearly are ``<prefix>-<label>``."""
    # a look-ahead leaves out the right ones
    odd = re.compile(rf"(?!{prefix}-[a-zA-Z0-9+]+$)(?i:{prefix}(?:[-_ .]|\d|ject|sion)).*")
    try:
        with os.scandir(parent) as entries:
            return sorted(e.name for e in entries if odd.fullmatch(e.name) and e.is_dir())
    except OSError:  # whoever lists the right ones says so
        return []


def without_run(root: Path, label: str, scope: str) -> Problem:
    """Say what a participant has in place of magnitude and phase that can be used.

    Parameters
    ----------
    root : Path
        Of the dataset.
    label : str
        Of the participant, without ``sub-``.
    scope : str
        Words on what was looked at, "" for everything.
    """
    where, folder = f"sub-{label}", root / f"sub-{label}"
    message = f"no {' or '.join(SUFFIXES)} images with part-phase were found{scope}"
    images, n_files = _images(folder)
    if not n_files:
        empty = (
            "the folder is empty; in a DataLad dataset, install it with 'datalad get -n' and fetch"
            " its images with 'datalad get'"
        )
        return Problem(where, empty, left_out=True)
    near = [
        name
        for name in images
        if any(kind.search(name.rsplit("/", 1)[-1]) for kind in (_PHASE, _FIELD_MAPS))
    ]
    usable = [name for name in near if not _FIELD_MAPS.search(name)]
    part = [name for name in usable if "part-" in name and "part-mag" not in name]
    if not usable or scope:
        if near and not scope:
            message += f"; {_listed(near)} are field maps, which are no phase of every echo"
        return Problem(where, message)
    if all(_EPI.search(name) for name in part or usable):
        return Problem(
            where,
            f"{message}, but {_listed(part or usable)}; these are echo planar images, which are"
            " outside the paper's scope and taken with --include-epi only",
        )
    if all(_COIL.search(name) for name in part or usable):
        return Problem(
            where,
            f"{message}, but {_listed(part or usable)}; these are images of single coils, which"
            " are combined unless --no-convert is given",
        )
    example = (part or usable)[0]
    return Problem(
        where,
        f"{message}, but {_listed(part or usable)}; if these are phase images of a gradient echo,"
        f" have a BIDS dataset made of them by '{converter(root)}', or rename (or link) them and"
        f" their magnitude, for example as {_renamed(example, label)}",
    )


def converter(root: Path) -> str:
    """Return the command that makes a BIDS dataset of a folder with images of other names."""
    return f"qsmbids-convert {shlex.quote(str(root))} NEW_DATASET --from-nifti images.tsv"


def holds_images(root: Path, most: int = 10_000) -> bool:
    """Tell whether there is a NIfTI image among the first files below a folder."""
    seen = 0
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(name.endswith(_IMAGE) for name in names):
            return True
        seen += len(names)
        if seen > most:
            break
    return False


def _images(folder: Path) -> tuple[list[str], int]:
    """Return the images below a folder, named from it, and the number of all files."""
    images: list[str] = []
    n_files = 0
    for parent, _, names in os.walk(folder):
        names = [name for name in names if not name.startswith(".")]
        n_files += len(names)
        images += [
            os.path.relpath(os.path.join(parent, name), folder)
            for name in names
            if name.endswith(_IMAGE)
        ]
    return sorted(images), n_files


def _listed(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _renamed(name: str, label: str) -> str:
    """Return the BIDS name that an image might get; echo and part are kept where they are."""
    base = name.rsplit("/", 1)[-1]
    entities = dict(re.findall(r"(?:^|_)([a-zA-Z]+)-([a-zA-Z0-9+]+)", base))
    number = entities.get("echo") or "1"
    part = next((p for p in ("real", "imag", "mag") if entities.get("part") == p), "phase")
    kept = [f"{key}-{entities[key]}" for key in ("ses", "acq", "rec", "run") if entities.get(key)]
    folder = f"ses-{entities['ses']}/anat" if "ses" in entities else "anat"
    words = [f"sub-{label}", *kept, f"echo-{number}", f"part-{part}", "MEGRE.nii.gz"]
    return f"{folder}/{'_'.join(words)}"
