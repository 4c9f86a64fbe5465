"""Write the frames of enhanced DICOM anew, so that each file is one volume for dcm2niix.

An object may hold magnitude, phase, real and imaginary images of all echoes, with its frames in
any order; dcm2niix stacks what it cannot tell apart as if it were slices (dcm2niix#626,
dcm2niix#1033). Each new file has the slices of one echo and part in order, says so in its header,
and has one stack as its only dimension.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.io.dicom_headers import Header

__all__ = ["VolumeFile", "split_frames"]

#: Frames of a new file: of which header, and which number there.
_Members = list[tuple[int, int]]
_STACK_ID, _IN_STACK, _CONTENT = 0x00209056, 0x00209057, 0x00209111


@dataclass(frozen=True)
class VolumeFile:
    """A file for dcm2niix, and which part of the complex signal it holds.

    Attributes
    ----------
    path : Path
    component : str
        MAGNITUDE, PHASE, REAL or IMAGINARY; "" where the header does not tell.
    """

    path: Path
    component: str = ""


def split_frames(headers: Sequence[Header], folder: Path) -> list[VolumeFile]:
    """Return files that dcm2niix can convert one by one.

    Parameters
    ----------
    headers : sequence of Header
        Enhanced DICOM of one series.
    folder : Path
        Where new files are written.

    Returns
    -------
    list of VolumeFile
        Maps that were calculated are left out where there are echoes beside them.

    Raises
    ------
    ValueError
        The pixels of a file with several volumes cannot be read.
    """
    maps_too = len({f.calculated for header in headers for f in header.frames}) > 1
    groups: dict[Any, _Members] = defaultdict(list)
    for number, header in enumerate(headers):
        for k, frame in enumerate(header.frames):
            if not (maps_too and frame.calculated):
                groups[frame.echo_time, frame.kind, frame.orientation].append((number, k))
    read: dict[int, tuple[Any, list[Any], Any]] = {}
    out = []
    for n, members in enumerate(groups.values()):
        component = headers[members[0][0]].frames[members[0][1]].component
        try:
            for number in {number for number, _ in members} - set(read):
                read[number] = _read(headers[number].path)
        except Exception as error:
            if len(groups) > 1 or len(headers) > 1:
                raise ValueError(
                    f"its pixels cannot be read ({str(error).splitlines()[0]}); decompress them"
                    " first"
                ) from error
            out.append(VolumeFile(headers[0].path, component))  # dcm2niix may know how
            continue
        out.append(VolumeFile(_write(headers, members, read, folder / f"{n}.dcm"), component))
    return out


def _read(path: Path) -> tuple[Any, list[Any], Any]:
    """Return a dataset, what it says of each frame, and pixels as frames, rows, columns."""
    import pydicom

    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    return dataset, groups, pixels[None] if pixels.ndim == 2 else pixels


def _write(
    headers: Sequence[Header],
    members: _Members,
    read: dict[int, tuple[Any, list[Any], Any]],
    path: Path,
) -> Path:
    """Write frames as one file, after the pattern of the file that the first of them is from."""
    import pydicom

    members = sorted(members, key=lambda m: headers[m[0]].frames[m[1]].position or 0.0)
    first = headers[members[0][0]].frames[members[0][1]]
    dataset = read[members[0][0]][0]
    groups = [_renumbered(read[number][1][k], n) for n, (number, k) in enumerate(members, 1)]
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    dataset.NumberOfFrames = len(members)
    _describe_stack(dataset)
    if first.component:
        dataset.ComplexImageComponent = first.component
    types = groups[0].get("MRImageFrameTypeSequence")
    if types and types[0].get("FrameType"):
        dataset.ImageType = types[0].FrameType
    dataset.PixelData = np.stack([read[number][2][k] for number, k in members]).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, little_endian=True, implicit_vr=False)
    return path


def _describe_stack(dataset: Any) -> None:
    """Make the slices of one stack the only dimension of an object."""
    import pydicom

    pointers = []
    for tag in (_STACK_ID, _IN_STACK):
        pointer = pydicom.Dataset()
        pointer.DimensionIndexPointer, pointer.FunctionalGroupPointer = tag, _CONTENT
        pointers.append(pointer)
    dataset.DimensionIndexSequence = pydicom.Sequence(pointers)


def _renumbered(group: Any, place: int) -> Any:
    """Return a frame that says its place in the only stack."""
    import pydicom

    if not group.get("FrameContentSequence"):
        group.FrameContentSequence = pydicom.Sequence([pydicom.Dataset()])
    content = group.FrameContentSequence[0]
    content.StackID, content.InStackPositionNumber = "1", place
    content.DimensionIndexValues = [1, place]
    return group
