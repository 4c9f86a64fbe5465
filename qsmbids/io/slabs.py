"""Join the slices of one image that a scanner spread over several files."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

__all__ = ["join_slabs"]

_SAME_MM = 0.02
_ENDING = re.compile(r"(?:_(?:ph|real|imaginary|fieldmaphz|c[A-Z0-9]+))*$")

Converted = tuple[Path, dict[str, Any]]


def join_slabs(images: Sequence[Converted], folder: Path) -> list[Converted]:
    """Join images of one series that are parts of one stack of slices.

    Parameters
    ----------
    images : sequence of tuple
        NIfTI file and sidecar of each.
    folder : Path
        Where joined images are written.

    Returns
    -------
    list of tuple
        Slabs of the same echo and part whose slices, together, are evenly spaced, are one image
        (with the sidecar of the first); everything else is as it was.
    """
    alike: dict[Any, list[Converted]] = defaultdict(list)
    for path, sidecar in images:
        alike[_key(path, sidecar)].append((path, sidecar))
    out: list[Converted] = []
    for number, members in enumerate(alike.values()):
        paths = [path for path, _ in members]
        joined = None if len(members) < 2 else _joined([nib.load(path) for path in paths])
        if joined is None:
            out += members
            continue
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / str(number) / paths[0].name
        target.parent.mkdir()
        nib.save(joined, target)
        out.append((target, members[0][1]))
    return out


def _key(path: Path, sidecar: dict[str, Any]) -> Any:
    """Return what slabs of one image have in common; a key of its own for what is no slab."""
    try:
        image = nib.load(path)
    except (OSError, ValueError, ImageFileError):
        return path
    if len(image.shape) != 3:
        return path
    directions = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
    axes = np.round(np.asarray(image.affine)[:3, :3] / directions, 2) + 0.0
    ending = _ENDING.search(path.name.split(".")[0])
    return (
        "" if ending is None else ending[0],
        sidecar.get("EchoTime"),
        str(sidecar.get("ImageType")),
        image.shape[:2],
        tuple(axes.ravel()),
        tuple(np.round(directions[:2], 3)),
    )


def _joined(images: Sequence[Any]) -> Any:
    """Return one image of all slices, None if they are no stack."""
    affines = [np.asarray(image.affine, dtype=float) for image in images]
    normal = affines[0][:3, 2] / np.linalg.norm(affines[0][:3, 2])
    places = [
        (float(normal @ (affine[:3, 3] + k * affine[:3, 2])), number, k)
        for number, (image, affine) in enumerate(zip(images, affines, strict=True))
        for k in range(image.shape[2])
    ]
    places.sort()
    first = affines[places[0][1]]
    aside = [a[:3, 3] - first[:3, 3] for a in affines]
    shifts = [np.linalg.norm(d - (normal @ d) * normal) for d in aside]
    steps = np.diff([place[0] for place in places])
    if max(shifts) > _SAME_MM or steps.min() < _SAME_MM or np.ptp(steps) > _SAME_MM:
        return None
    arrays = [np.asanyarray(image.dataobj) for image in images]
    stack = np.stack([arrays[number][:, :, k] for _, number, k in places], axis=2)
    affine = first.copy()
    affine[:3, 3] += places[0][2] * first[:3, 2]
    affine[:3, 2] = normal * steps.mean()
    out = nib.Nifti1Image(_stored(stack, images), affine)
    out.header.set_xyzt_units("mm", "sec")
    out.set_qform(affine, 1)
    out.set_sform(affine, 1)
    return out


def _stored(stack: Any, images: Sequence[Any]) -> Any:
    """Return numbers as the slabs stored them, where none was scaled."""
    scaled = any(image.dataobj.slope != 1 or image.dataobj.inter != 0 for image in images)
    return stack.astype(np.float32) if scaled else stack
