"""Run dcm2niix on the files of one DICOM series.

Three of its habits are dealt with here. Several multi-frame files of one series (a file per echo)
spoil each other's numbers, so each is converted alone. Several echoes in one multi-frame file that
is not from Philips are stacked as if they were slices, so these are split before. And maps that
the scanner calculated are taken for further echoes, so they are left out where there are echoes.
"""

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError
from qsmbids.io.dicom_headers import Header

__all__ = ["run_dcm2niix"]


def run_dcm2niix(
    headers: Sequence[Header], folder: Path, *, timeout_s: float = 3600.0
) -> tuple[list[tuple[Path, dict[str, Any]]], str]:
    """Convert the files of one series.

    Parameters
    ----------
    headers : sequence of Header
        All of one series.
    folder : Path
        New folder for what is written.
    timeout_s : float
        [s].

    Returns
    -------
    images : list of tuple
        NIfTI file and content of its sidecar.
    said : str
        What dcm2niix said went wrong, for the case that there is no image.

    Raises
    ------
    InputError
        dcm2niix is missing.
    """
    maps_too = len({f.calculated for header in headers for f in header.frames}) > 1
    if any(header.enhanced for header in headers):
        split = [
            _split(header, folder / f"split-{n}", maps_too) for n, header in enumerate(headers)
        ]
        batches = [[path] for parts in split for path in parts]
    else:
        alike: dict[tuple[bool, bool], list[Path]] = defaultdict(list)
        for header in headers:
            frame = header.frames[0]
            alike[frame.calculated, frame.derived].append(header.path)
        batches = [paths for key, paths in alike.items() if not (maps_too and key[0])]
    images: list[tuple[Path, dict[str, Any]]] = []
    said = ""
    for number, batch in enumerate(batches):
        found, words = _run(batch, folder / str(number), timeout_s)
        images += found
        said = said or words
    return images, said


def _split(header: Header, folder: Path, maps_too: bool) -> list[Path]:
    """Write a multi-frame file per echo and kind of image, unless dcm2niix tells them apart.

    It does for Philips, except for what was derived from the echoes. Maps are left out where
    there are echoes beside them.
    """
    import pydicom

    philips = "philips" in header.manufacturer.lower()
    frames: dict[Any, list[int]] = defaultdict(list)
    for number, frame in enumerate(header.frames):
        if maps_too and frame.calculated:
            continue
        own = () if philips else (frame.echo_time, frame.kind)
        frames[frame.calculated, frame.derived, *own].append(number)
    if len(frames) == 1 and sum(map(len, frames.values())) == len(header.frames):
        return [header.path]
    dataset = pydicom.dcmread(header.path)
    try:
        pixels = dataset.pixel_array
    except Exception:  # noqa: BLE001 - a compression that pydicom lacks: the echo check will tell
        return [header.path]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    folder.mkdir(parents=True)
    out = []
    for number, members in enumerate(frames.values()):
        dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence([groups[m] for m in members])
        dataset.NumberOfFrames = len(members)
        components = {header.frames[m].component for m in members} - {""}
        if len(components) == 1:
            dataset.ComplexImageComponent = components.pop()
        dataset.PixelData = pixels[members].tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        out.append(folder / f"{number}.dcm")
        pydicom.dcmwrite(out[-1], dataset, little_endian=True, implicit_vr=False)
    return out


def _run(
    files: Sequence[Path], folder: Path, timeout_s: float
) -> tuple[list[tuple[Path, dict[str, Any]]], str]:
    inside, outside = folder / "dicom", folder / "nifti"
    inside.mkdir(parents=True)
    outside.mkdir()
    for number, path in enumerate(files):
        (inside / f"{number:06d}.dcm").symlink_to(path.resolve())
    # no user defaults (-g i); names by us (-f v); no comment in the header (-c); never rotate or
    # crop (-x i), so that slices stay the third axis
    options = ["-g", "i", "-b", "y", "-ba", "y", "-c", "", "-x", "i", "-z", "n", "-f", "v"]
    try:
        done = subprocess.run(  # noqa: S603 - a list, and a program of our own
            [_executable(), *options, "-o", str(outside), str(inside)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], f"dcm2niix did not finish within {timeout_s:g} s"
    except OSError as error:
        raise InputError(f"dcm2niix cannot be started ({error.strerror})") from error
    found = []
    for path in sorted(outside.glob("*.nii")):
        try:
            sidecar = json.loads(path.with_suffix(".json").read_text("utf-8", errors="replace"))
        except (OSError, ValueError):
            continue
        found.append((path, sidecar))
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
    words = lines[-1].replace(str(inside), "the series").strip() if lines else ""
    return found, words or f"dcm2niix ended with status {done.returncode}"


def _executable() -> str:
    """Return the dcm2niix of the Python package, or else the one of the system."""
    try:
        import dcm2niix  # type: ignore[import-untyped]
    except ImportError:
        found = shutil.which("dcm2niix")
        if found is None:
            raise InputError("dcm2niix is missing", "", "pip install dcm2niix") from None
        return found
    return str(dcm2niix.bin)
