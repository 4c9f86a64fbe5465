"""The series of a folder of DICOM files, whatever the files are called.

Names of patients are compared, for two in one folder are a mistake, but never kept.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qsmbids.errors import InputError
from qsmbids.io.dicom_coils import part_coils
from qsmbids.io.dicom_frames import Frame, is_map
from qsmbids.io.dicom_headers import Header, read_header
from qsmbids.io.missing_slices import missing_files, missing_slices

__all__ = ["FIX", "Series", "files_below", "scan_dicom"]

#: What to do where a folder holds no DICOM.
FIX = "Give the folder with the DICOM files as the scanner or the archive exported them."
#: What people have in place of DICOM: endings, and what to do.
_OTHERS = {
    "Philips PAR/REC": (
        (".par", ".rec"),
        "Export the scan as DICOM, for PAR/REC does not hold the field strength.",
    ),
    "an archive that is not read": (
        (".7z", ".rar", ".bz2", ".xz", ".zst"),
        "Unpack it yourself, or pack it as zip or tar.",
    ),
    "NIfTI": (
        (".nii", ".gz", ".mgz", ".hdr"),
        "Images that are converted already are run as they are, in a BIDS dataset or from 4-D"
        " files.",
    ),
    "raw data": ((".dat",), "Export the reconstructed images as DICOM."),
}
#: Of these, what may hold a scan that is not among the DICOM files.
_UNREAD = ("Philips PAR/REC", "an archive that is not read")


@dataclass(frozen=True)
class Series:
    """One DICOM series, without anything about the patient.

    Attributes
    ----------
    number : int
        0 where there is none.
    description : str
    manufacturer : str
    headers : tuple of Header
        One per file.
    refusal : str
        Why it is not even converted; "" for MR images.
    coil : str
        The one receive coil of its images; "" where they were combined.
    """

    number: int
    description: str
    manufacturer: str
    headers: tuple[Header, ...]
    refusal: str = ""
    coil: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the series."""
        return tuple(header.path for header in self.headers)

    @property
    def frames(self) -> list[Frame]:
        """All images of the series, in as many files (classic) or in fewer (enhanced)."""
        return [frame for header in self.headers for frame in header.frames]

    @property
    def n_images(self) -> int:
        """Number of slices."""
        return len(self.frames)

    @property
    def n_echoes(self) -> int:
        """Number of different echo times; maps that were calculated have none."""
        return len({frame.echo_time for frame in self.frames if not frame.calculated})

    @property
    def lacking(self) -> str:
        """Which files or slices are not there, "" if all are."""
        return missing_files(self.headers) or missing_slices(self.frames)

    @property
    def n_maps(self) -> int:
        """Number of images that the scanner calculated; without any echo time nobody can tell."""
        maps = [frame for frame in self.frames if frame.calculated]
        told = len(maps) < self.n_images or all(is_map(f.kind.split("\\")) for f in maps)
        return len(maps) if told else 0

    @property
    def acquired(self) -> str:
        """When the acquisition began, "" if unknown."""
        return min((h.acquired for h in self.headers if h.acquired), default="")


def scan_dicom(*folders: str | Path, where: str = "") -> tuple[list[Series], list[str]]:
    """Find the DICOM series below folders, whatever the files are called.

    Parameters
    ----------
    *folders : path
    where : str
        What to call them in messages; default the first.

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
    groups: dict[str, list[Header]] = {}
    patients, studies, seen = set(), set(), set()
    n_broken = n_copies = 0
    for path in (file for folder in folders for file in files_below(Path(folder))):
        try:
            header = read_header(path)
        except ValueError:
            n_broken += 1
            continue
        if header is None:
            continue
        if header.instance in seen:
            n_copies += 1
            continue
        seen.add(header.instance)
        # an archive may hold a series as classic and, under the same number, as enhanced files
        key = f"{header.series} {header.number} {header.enhanced}"
        groups.setdefault(key, []).append(header)
        patients.add(header.patient)
        studies.add(header.study)
    if not groups:
        what, fix = _something_else(folders)
        if n_broken:
            what, fix = f": {n_broken} file(s) are damaged", "Export or copy them again."
        raise InputError(f"holds no DICOM image{what}", where or str(folders[0]), fix)
    if len(patients) > 1:
        raise InputError(
            f"holds images of {len(patients)} patients",
            where or str(folders[0]),
            "Sort them into a folder each, and convert one participant at a time.",
        )
    notes = _notes(folders, n_broken, n_copies, len(studies))
    series = [
        replace(_series(own), coil=coil)
        for members in groups.values()
        for coil, own in part_coils(members)
    ]
    return sorted(series, key=lambda s: (s.number, s.files[0])), notes


def _notes(
    folders: Sequence[str | Path], n_broken: int, n_copies: int, n_studies: int
) -> list[str]:
    """Return what a person should know of the files."""
    notes = [f"{n_broken} damaged DICOM file(s) were left out"] if n_broken else []
    count, what = next(_others(folders, _UNREAD), (0, ""))
    if count:
        notes.append(f"{count} file(s) of {what} were left out")
    if n_copies:
        notes.append(f"{n_copies} copies of DICOM files were left out")
    if n_studies > 1:
        notes.append(
            f"the images are of {n_studies} examinations; convert them one by one if they are"
            " different sessions"
        )
    return notes


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of all below that are not hidden, in their order."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (p for name in sorted(names) if (p := Path(root, name)).is_file())


def _series(headers: Sequence[Header]) -> Series:
    # Philips adds presentation states and the like to a series of images
    headers = [header for header in headers if header.rows] or headers
    first = headers[0]
    refusal = ""
    if first.modality != "MR":
        refusal = f"not MR but {first.modality or 'of unknown modality'}"
    elif not first.rows:
        refusal = "no image (spectra, protocol or raw data)"
    elif any(header.lossy for header in headers):
        refusal = "compressed with loss, which phase does not survive; get the original files"
    return Series(first.number, first.description, first.manufacturer, tuple(headers), refusal)


def _something_else(folders: Sequence[str | Path]) -> tuple[str, str]:
    """Say what a folder holds in place of DICOM, and what to do with it."""
    for count, name in _others(folders, _OTHERS):
        return f", but {count} file(s) of {name}", _OTHERS[name][1]
    return "", FIX


def _others(folders: Sequence[str | Path], names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield number and name of files of other kinds."""
    endings = Counter(
        path.suffix.lower() for folder in folders for path in files_below(Path(folder))
    )
    for name in names:
        count = sum(endings[ending] for ending in _OTHERS[name][0])
        if count:
            yield count, name
