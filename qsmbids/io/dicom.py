"""From a folder of DICOM files to images that have names in a raw BIDS dataset.

Series are found with pydicom, converted one by one with dcm2niix, sorted by
:mod:`qsmbids.io.bids_naming`; :mod:`qsmbids.io.raw_dataset` moves them into a dataset. Names of
patients are compared, for two in one folder are a mistake, but never kept.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qsmbids.errors import InputError
from qsmbids.io.archive import is_archive, unpack
from qsmbids.io.bids_naming import ConvertedImage, Naming, name_images
from qsmbids.io.dcm2niix_run import frame_keys, run_dcm2niix

__all__ = ["Conversion", "Series", "convert_dicom", "scan_dicom"]

_TAGS = (
    "SOPInstanceUID SeriesInstanceUID StudyInstanceUID PatientID PatientName Modality SeriesNumber"
    " SeriesDescription ProtocolName Manufacturer NumberOfFrames Rows EchoTime"
    " SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
).split()
_FIX = "Give the folder with the DICOM files as the scanner or the archive exported them."


@dataclass(frozen=True)
class Series:
    """One DICOM series, without anything about the patient.

    Attributes
    ----------
    number : int
        0 where there is none.
    description : str
    manufacturer : str
    files : tuple of Path
    n_images : int
        Slices, in as many files (classic) or as frames of fewer (enhanced).
    n_echoes : int
        Different echo times.
    refusal : str
        Why it is not even converted; "" for MR images.
    """

    number: int
    description: str
    manufacturer: str
    files: tuple[Path, ...]
    n_images: int
    n_echoes: int = 1
    refusal: str = ""


@dataclass(frozen=True)
class Conversion:
    """What is to become of a folder of DICOM files.

    Attributes
    ----------
    series : list of Series
    naming : Naming
        Runs and what is left out; the files lie in the folder that was given.
    refused : dict
        Reason by index of the series of which nothing was converted.
    warnings : list of str
    """

    series: list[Series]
    naming: Naming
    refused: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield number, images, description and what becomes of it, for each series."""
        for index, series in enumerate(self.series):
            fates = [self.refused[index]] if index in self.refused else []
            for label, images in self.naming.runs.items():
                own = [i for i in images if i.source.series == index]
                if own:
                    suffix = own[0].name.rsplit("_", 1)[1]
                    parts = "/".join(dict.fromkeys(i.part for i in own))
                    n_echoes = len({i.sidecar["EchoTime"] for i in own})
                    fates.append(f"{label} {suffix}, {parts}, {n_echoes} echo(es)")
            reasons = [why for image, why in self.naming.skipped if image.series == index]
            fates += [f"skipped: {reason}" for reason in dict.fromkeys(reasons)]
            for fate in fates or ["skipped: nothing came out of it"]:
                yield str(series.number), str(series.n_images), series.description, fate


def scan_dicom(*folders: str | Path) -> tuple[list[Series], list[str]]:
    """Find the DICOM series below folders, whatever the files are called.

    Parameters
    ----------
    *folders : path

    Returns
    -------
    series : list of Series
        By series number.
    warnings : list of str
        Files that could not be read, several studies.

    Raises
    ------
    InputError
        There is no DICOM image, or those of more than one patient.
    """
    import pydicom

    groups: dict[str, list[tuple[Path, Any]]] = {}
    patients, studies, seen = set(), set(), set()
    n_broken = n_copies = 0
    for path in (file for folder in folders for file in _files(Path(folder))):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd values in tags that nobody asked for
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
                facts = {tag: header.get(tag) for tag in _TAGS[:-2]}
                facts["echoes"] = {te for te, _ in frame_keys(header)} or {facts["EchoTime"]}
        except pydicom.errors.InvalidDicomError:
            continue
        except Exception:  # noqa: BLE001 - whatever pydicom makes of a damaged file
            n_broken += 1
            continue
        if facts["SeriesInstanceUID"] is None:
            continue  # a DICOMDIR or the like
        if facts["SOPInstanceUID"] in seen:
            n_copies += 1
            continue
        seen.add(facts["SOPInstanceUID"])
        # an archive may hold a series as classic and, under the same number, as enhanced files
        key = f"{facts['SeriesInstanceUID']} {int(facts['NumberOfFrames'] or 1) > 1}"
        groups.setdefault(key, []).append((path, facts))
        patients.add((str(facts["PatientID"] or ""), str(facts["PatientName"] or "")))
        studies.add(str(facts["StudyInstanceUID"]))
    if not groups:
        raise InputError("holds no DICOM image", str(folders[0]), _FIX)
    if len(patients) > 1:
        raise InputError(
            f"holds images of {len(patients)} patients",
            str(folders[0]),
            "Sort them into a folder each, and convert one participant at a time.",
        )
    notes = [f"{n_broken} damaged DICOM file(s) were left out"] if n_broken else []
    if n_copies:
        notes.append(f"{n_copies} copies of DICOM files were left out")
    if len(studies) > 1:
        notes.append(
            f"the images are of {len(studies)} examinations; convert them one by one if they are"
            " different sessions"
        )
    series = [_series(members) for members in groups.values()]
    return sorted(series, key=lambda s: (s.number, s.files[0])), notes


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (p for name in sorted(names) if (p := Path(root, name)).is_file())


def _series(members: Sequence[tuple[Path, Any]]) -> Series:
    facts = members[0][1]
    refusal = ""
    if facts["Modality"] != "MR":
        refusal = f"not MR but {facts['Modality'] or 'of unknown modality'}"
    elif not facts["Rows"]:
        refusal = "no image (spectra, protocol or raw data)"
    text = str(facts["SeriesNumber"] or "")
    return Series(
        number=int(text) if text.isdigit() else 0,
        description=_printable(facts["SeriesDescription"] or facts["ProtocolName"]),
        manufacturer=_printable(facts["Manufacturer"]),
        files=tuple(path for path, _ in members),
        n_images=sum(int(f["NumberOfFrames"] or 1) for _, f in members),
        n_echoes=len(set().union(*(f["echoes"] for _, f in members))),
        refusal=refusal,
    )


def _printable(text: Any) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text or "")).strip()


def convert_dicom(
    source: str | Path,
    folder: str | Path,
    *,
    participant: str,
    session: str | None = None,
    acquisition: str | None = None,
    timeout_s: float = 3600.0,
) -> Conversion:
    """Convert a folder or archive of DICOM files and decide on the names.

    Parameters
    ----------
    source : path
        Folder, in which there may be archives, or one archive, as
        :func:`qsmbids.io.archive.unpack` takes it.
    folder : path
        Empty folder for what dcm2niix writes.
    participant, session, acquisition : str
        Labels; see :func:`qsmbids.io.bids_naming.name_images`.
    timeout_s : float
        Longest time for one series [s].

    Returns
    -------
    Conversion
        Nothing is in a dataset yet; see :func:`qsmbids.io.raw_dataset.place`.

    Raises
    ------
    InputError
        The source is no folder of DICOM images of one patient, or dcm2niix is missing.
    """
    source, folder = Path(source), Path(folder)
    if is_archive(source):
        folders = [unpack(source, folder / "unpacked")]
    elif source.is_dir():
        archives = filter(is_archive, _files(source))
        unpacked = [unpack(p, folder / f"unpacked-{n}") for n, p in enumerate(archives)]
        folders = [source, *unpacked]
    else:
        raise InputError("is neither a folder nor a zip or tar archive", str(source), _FIX)
    series, notes = scan_dicom(*folders)
    images: list[ConvertedImage] = []
    refused: dict[int, str] = {}
    for index, one in enumerate(series):
        if one.refusal:
            refused[index] = f"skipped: {one.refusal}"
            continue
        found, said = run_dcm2niix(
            one.files,
            folder / f"series-{index}",
            multiframe=one.n_images > len(one.files),
            timeout_s=timeout_s,
        )
        n_echoes = len({te for _, s in found for te in _echo_times(s)})
        if not found:
            refused[index] = f"skipped: not converted ({said})"
        elif n_echoes < one.n_echoes:
            refused[index] = f"skipped: dcm2niix mixed its {one.n_echoes} echoes"
        else:
            images += [ConvertedImage(path, sidecar, index) for path, sidecar in found]
    naming = name_images(images, participant=participant, session=session, acquisition=acquisition)
    return Conversion(series, naming, refused, notes + naming.warnings)


def _echo_times(sidecar: dict[str, Any]) -> list[Any]:
    """Return the echo times an image is of; a field map has two."""
    keys = ("EchoTime", "EchoTime1", "EchoTime2")
    return [sidecar[key] for key in keys if sidecar.get(key) is not None]
