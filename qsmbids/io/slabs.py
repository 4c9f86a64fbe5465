"""Join the slices of one image that were spread over several files or series."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from qsmbids.io.recognition import ConvertedImage

__all__ = ["join_series", "join_slabs"]

_SAME_MM = 0.02
_ENDING = re.compile(r"(?:_(?:ph|real|imaginary|fieldmaphz|c[A-Z0-9]+))*$")

#: What the slabs of one scan have in common; the first must be known.
_SCAN = ("AcquisitionTime", "SeriesDescription", "ProtocolName", "SequenceName", "FlipAngle")

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


def join_series(
    images: Sequence[ConvertedImage], folder: Path
) -> tuple[list[ConvertedImage], dict[int, int]]:
    """Join slabs of one scan that were stored as several series.

    Only what began at the same moment is one scan; slabs that were measured one after the other
    have a phase of their own.

    Parameters
    ----------
    images : sequence of ConvertedImage
    folder : Path
        Where joined images are written.

    Returns
    -------
    images : list of ConvertedImage
    joined : dict
        Series, by index, whose slices are now in an image of another.
    """
    scans: dict[Any, list[ConvertedImage]] = defaultdict(list)
    for image in images:
        texts = [str(image.sidecar.get(key) or "") for key in _SCAN]
        own = "" if texts[0] and not image.problem else image.path
        scans[(*texts, own)].append(image)
    out: list[ConvertedImage] = []
    elsewhere: dict[int, int] = {}
    for number, members in enumerate(scans.values()):
        if len({image.series for image in members}) < 2:
            out += members
            continue
        by_path = {image.path: image for image in members}
        kept = join_slabs([(i.path, i.sidecar) for i in members], folder / str(number))
        for path, sidecar in kept:
            first = next(image.series for image in members if image.sidecar is sidecar)
            out.append(by_path.get(path) or ConvertedImage(path, sidecar, first))
        alive = {image.series for image in out}
        lost = [image for image in members if image.series not in alive]
        elsewhere |= {
            image.series: next(
                other.series
                for other in members
                if other.series in alive and _key(*_pair(other)) == _key(*_pair(image))
            )
            for image in lost
        }
    return sorted(out, key=lambda image: image.series), elsewhere


def _pair(image: ConvertedImage) -> Converted:
    return image.path, image.sidecar


def _key(path: Path, sidecar: dict[str, Any]) -> Any:
    """Return what slabs of one image have in common; a key of its own for what is no slab."""
    try:
        image = nib.load(path)
    except (OSError, ValueError, ImageFileError):
        return path
    if len(image.shape) != 3:
        return path
    directions = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
    if not 0 < directions.min() <= directions.max() < np.inf:  # refused when its header is read
        return path
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
