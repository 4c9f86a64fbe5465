"""Run dcm2niix on the files of one DICOM series.

Two of its habits are dealt with here. Several multi-frame files of one series (a file per echo)
spoil each other's numbers, so each is converted alone. And several echoes in one multi-frame file
that is not from Philips are stacked as if they were slices, so these are split before.
"""

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError

__all__ = ["frame_keys", "run_dcm2niix"]


def run_dcm2niix(
    files: Sequence[Path], folder: Path, *, multiframe: bool, timeout_s: float = 3600.0
) -> tuple[list[tuple[Path, dict[str, Any]]], str]:
    """Convert the files of one series.

    Parameters
    ----------
    files : sequence of Path
        All of one series.
    folder : Path
        New folder for what is written.
    multiframe : bool
        The files are enhanced DICOM.
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
    batches = [[path] for path in files] if multiframe else [list(files)]
    if multiframe:
        split = [_split(path, folder / f"split-{n}") for n, path in enumerate(files)]
        batches = [[path] for parts in split for path in parts]
    images: list[tuple[Path, dict[str, Any]]] = []
    said = ""
    for number, batch in enumerate(batches):
        found, words = _run(batch, folder / str(number), timeout_s)
        images += found
        said = said or words
    return images, said


def frame_keys(header: Any) -> list[tuple[float, str]]:
    """Return echo time [ms] and complex component of every frame of an enhanced image."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    keys = []
    for frame in header.get("PerFrameFunctionalGroupsSequence") or []:
        echo = _first(frame, shared, "MREchoSequence")
        kind = _first(frame, shared, "MRImageFrameTypeSequence")
        te = 0.0 if echo is None else float(echo.get("EffectiveEchoTime") or 0)
        keys.append((te, "" if kind is None else str(kind.get("ComplexImageComponent") or "")))
    return keys


def _first(frame: Any, shared: Any, name: str) -> Any:
    """Return an item of a functional group, of this frame or of all."""
    for group in (frame, shared):
        if group is not None and group.get(name):
            return group.get(name)[0]
    return None


def _split(path: Path, folder: Path) -> list[Path]:
    """Write one multi-frame file per echo and component, unless dcm2niix can tell them apart."""
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    keys = frame_keys(header)
    philips = "philips" in str(header.get("Manufacturer") or "").lower()
    if philips or len(set(keys)) < 2:
        return [path]
    dataset = pydicom.dcmread(path)
    try:
        pixels = dataset.pixel_array
    except Exception:  # noqa: BLE001 - a compression that pydicom lacks: the echo check will tell
        return [path]
    frames: dict[tuple[float, str], list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        frames[key].append(number)
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    folder.mkdir(parents=True)
    out = []
    for number, (key, members) in enumerate(frames.items()):
        dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence([groups[m] for m in members])
        dataset.NumberOfFrames = len(members)
        if key[1]:
            dataset.ComplexImageComponent = key[1]
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
