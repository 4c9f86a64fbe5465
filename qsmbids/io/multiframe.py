"""Write the frames of enhanced DICOM anew, so that each file is one image for dcm2niix.

Several echoes in one multi-frame file that is not from Philips are stacked by dcm2niix as if they
were slices; slices of one image in several files become an image each (dcm2niix#626).
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.io.dicom_frames import n_positions
from qsmbids.io.dicom_headers import Header

__all__ = ["split_frames"]

#: Frames of a new file: of which header, and which number there.
_Members = list[tuple[int, int]]


def split_frames(headers: Sequence[Header], folder: Path) -> list[Path]:
    """Return files that dcm2niix can convert one by one.

    Parameters
    ----------
    headers : sequence of Header
        Enhanced DICOM of one series.
    folder : Path
        Where new files are written; what dcm2niix can tell apart stays as it is.

    Returns
    -------
    list of Path
        Maps that were calculated are left out where there are echoes beside them.
    """
    maps_too = len({f.calculated for header in headers for f in header.frames}) > 1
    spread = _is_spread(headers)
    groups: dict[Any, _Members] = defaultdict(list)
    for number, header in enumerate(headers):
        apart = spread or "philips" not in header.manufacturer.lower()
        for k, frame in enumerate(header.frames):
            if not (maps_too and frame.calculated):
                own = (frame.echo_time, frame.kind) if apart else ()
                file = () if spread else number
                groups[(file, frame.calculated, frame.derived, *own)].append((number, k))
    untouched = {
        members[0][0]
        for members in groups.values()
        if len(members) == len(headers[members[0][0]].frames)
        and len({number for number, _ in members}) == 1
    }
    read: dict[int, tuple[Any, list[Any], Any]] = {}
    out = []
    for n, members in enumerate(groups.values()):
        if members[0][0] in untouched:
            out.append(headers[members[0][0]].path)
            continue
        for number in {number for number, _ in members} - set(read):
            try:
                read[number] = _read(headers[number].path)
            except Exception:  # noqa: BLE001 - a compression that pydicom lacks: checks will tell
                return [header.path for header in headers]
        out.append(_write(headers, members, read, folder / f"{n}.dcm"))
    return out


def _is_spread(headers: Sequence[Header]) -> bool:
    """Tell whether files hold some of the slices only."""
    every = n_positions([frame for header in headers for frame in header.frames])
    return any(0 < n_positions(header.frames) < every for header in headers)


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
    frames = [headers[number].frames[k] for number, k in members]
    dataset = read[members[0][0]][0]
    groups = [read[number][1][k] for number, k in members]
    if len({number for number, _ in members}) > 1:
        groups = [_renumbered(group, n) for n, group in enumerate(groups, 1)]
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    dataset.NumberOfFrames = len(members)
    components = {frame.component for frame in frames} - {""}
    if len(components) == 1:
        dataset.ComplexImageComponent = components.pop()
    dataset.PixelData = np.stack([read[number][2][k] for number, k in members]).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, little_endian=True, implicit_vr=False)
    return path


def _renumbered(group: Any, place: int) -> Any:
    """Return a frame that says its place among the frames of all files."""
    content = (group.get("FrameContentSequence") or [None])[0]
    if content is not None:
        content.InStackPositionNumber = place
        indices = content.get("DimensionIndexValues")
        if indices is not None:
            values = [indices] if isinstance(indices, int) else list(indices)
            content.DimensionIndexValues = [place, *([1] * (len(values) - 1))]
    return group
