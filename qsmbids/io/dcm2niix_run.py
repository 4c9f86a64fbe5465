"""Run dcm2niix on the files of one DICOM series.

Three of its habits are dealt with here. What it cannot tell apart in multi-frame files is written
anew, a file for each volume (:mod:`qsmbids.io.multiframe`). Of single images, it knows the part of
the complex signal by some spellings of the header only, so the parts are converted one by one. And
maps that the scanner calculated are taken for further echoes, so they are left out where there are
echoes.
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
from qsmbids.io.multiframe import split_frames
from qsmbids.io.recognition import COMPONENT_KEY

__all__ = ["run_dcm2niix"]

#: Transfer syntaxes that dcm2niix reads: plain, JPEG without loss, JPEG-LS, JPEG 2000 and RLE.
_KNOWN_SYNTAXES = {
    f"1.2.840.10008.1.2{ending}"
    for ending in ("", ".1", ".2", ".4.57", ".4.70", ".4.80", ".4.90", ".4.91", ".5")
}


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
    complaint : str
        What dcm2niix said went wrong, for the case that there is no image.

    Raises
    ------
    InputError
        dcm2niix is missing.
    """
    try:
        if any(header.enhanced for header in headers):
            volumes = split_frames(headers, folder / "split")
            batches = [([volume.path], volume.component) for volume in volumes]
        else:
            batches = _batches(headers, folder / "unpacked")
    except ValueError as error:
        return [], str(error)
    images: list[tuple[Path, dict[str, Any]]] = []
    complaint = ""
    for number, (batch, component) in enumerate(batches):
        converted, words = _run(batch, folder / str(number), timeout_s)
        known = {COMPONENT_KEY: component} if component else {}
        images += [
            (path, {**sidecar, **known, **_maker(headers[0].manufacturer, sidecar)})
            for path, sidecar in converted
        ]
        complaint = complaint or words
    return images, complaint


def _maker(stated: str, sidecar: dict[str, Any]) -> dict[str, str]:
    """Return the manufacturer where dcm2niix, which knows some, left it out or guessed another.

    The sign of the phase goes by it.
    """
    said = str(sidecar.get("Manufacturer") or "").lower()
    return {} if not stated or (said and said in stated.lower()) else {"Manufacturer": stated}


def _batches(headers: Sequence[Header], folder: Path) -> list[tuple[list[Path], str]]:
    """Return classic files that are converted together, and the part that they are.

    Without maps, what is derived apart. Files in a transfer syntax that dcm2niix does not know are
    written anew.
    """
    alike: dict[tuple[bool, bool, str], list[Path]] = defaultdict(list)
    for number, header in enumerate(headers):
        frame = header.frames[0]
        known = not header.syntax or header.syntax in _KNOWN_SYNTAXES
        path = header.path if known else _unpacked(header, folder / f"{number:06d}.dcm")
        alike[frame.calculated, frame.derived, frame.component].append(path)
    echoes_too = any(not calculated for calculated, *_ in alike)
    return [
        (paths, component)
        for (calculated, _, component), paths in alike.items()
        if not (calculated and echoes_too)
    ]


def _unpacked(header: Header, path: Path) -> Path:
    """Write a file anew with plain pixels.

    Raises
    ------
    ValueError
        Nobody here knows its compression.
    """
    import pydicom

    dataset = pydicom.dcmread(header.path)
    try:
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress()
    except Exception as error:
        kind = pydicom.uid.UID(header.syntax).name
        raise ValueError(
            f"its pixels are compressed as {kind}, which cannot be read; decompress them first"
        ) from error
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, little_endian=True, implicit_vr=False)
    return path


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
    images = []
    for path in sorted(outside.glob("*.nii")):
        try:
            sidecar = json.loads(path.with_suffix(".json").read_text("utf-8", errors="replace"))
        except (OSError, ValueError):
            continue
        images.append((path, sidecar))
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
    words = lines[-1].replace(str(inside), "the series").strip() if lines else ""
    return images, words or f"dcm2niix ended with status {done.returncode}"


def _executable() -> str:
    """Return the dcm2niix of the Python package, or else the one of the system."""
    try:
        import dcm2niix  # type: ignore[import-untyped]
    except ImportError:
        program = shutil.which("dcm2niix")
        if program is None:
            raise InputError("dcm2niix is missing", "", "pip install dcm2niix") from None
        return program
    return str(dcm2niix.bin)
