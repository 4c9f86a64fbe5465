"""From a folder of DICOM files to images that have names in a raw BIDS dataset.

Series are found with pydicom, converted one by one with dcm2niix, sorted by
:mod:`qsmbids.io.bids_naming`; :mod:`qsmbids.io.raw_dataset` moves them into a dataset. Names of
patients are compared, for two in one folder are a mistake, but never kept.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from qsmbids.errors import InputError
from qsmbids.io.archive import is_archive, unpack
from qsmbids.io.bids_naming import ConvertedImage, Naming, name_images
from qsmbids.io.dcm2niix_run import run_dcm2niix
from qsmbids.io.dicom_coils import part_coils
from qsmbids.io.dicom_frames import Frame, is_map
from qsmbids.io.dicom_headers import Header, read_header
from qsmbids.io.gzipped import is_gzipped_dicom, unpack_gzipped
from qsmbids.io.missing_slices import missing_files, missing_slices, n_positions
from qsmbids.io.recognition import COIL_KEY
from qsmbids.io.slabs import join_series, join_slabs

__all__ = ["Conversion", "Series", "convert_dicom", "scan_dicom"]

_FIX = "Give the folder with the DICOM files as the scanner or the archive exported them."
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


@dataclass(frozen=True)
class Conversion:
    """What is to become of a folder of DICOM files.

    Attributes
    ----------
    series : list of Series
    naming : Naming
        Runs and what is left out; the files lie in the folder that was given.
    refused : dict
        Reason by index of the series of which nothing, or not everything, was converted.
    warnings : list of str
    """

    series: list[Series]
    naming: Naming
    refused: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield number, images, description and what becomes of it, for each series."""
        for index, series in enumerate(self.series):
            fates = []
            for label, images in self.naming.runs.items():
                own = [i for i in images if i.source.series == index]
                if own:
                    suffix = own[0].name.rsplit("_", 1)[1]
                    parts = "/".join(dict.fromkeys(i.part for i in own))
                    n_echoes = len({i.sidecar["EchoTime"] for i in own})
                    fates.append(f"{label} {suffix}, {parts}, {n_echoes} echo(es)")
            reasons = [why for image, why in self.naming.skipped if image.series == index]
            fates += [f"skipped: {reason}" for reason in dict.fromkeys(reasons)]
            fates += [self.refused[index]] if index in self.refused else []
            for fate in fates or ["skipped: nothing came out of it"]:
                yield str(series.number), str(series.n_images), series.description, fate


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
    for path in (file for folder in folders for file in _files(Path(folder))):
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


def _files(folder: Path) -> Iterator[Path]:
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
    return "", _FIX


def _others(folders: Sequence[str | Path], names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield number and name of files of other kinds."""
    endings = Counter(path.suffix.lower() for folder in folders for path in _files(Path(folder)))
    for name in names:
        count = sum(endings[ending] for ending in _OTHERS[name][0])
        if count:
            yield count, name


def convert_dicom(
    source: str | Path,
    folder: str | Path,
    *,
    participant: str,
    session: str | None = None,
    acquisition: str | None = None,
    accept_filtered: bool = False,
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
    accept_filtered : bool
        Take phase that the scanner filtered where there is no other.
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
    folder = Path(folder)
    folders, n_damaged = _unpacked(Path(source), folder)
    series, notes = scan_dicom(*folders, where=str(source))
    if n_damaged:
        notes.append(f"{n_damaged} damaged gzip file(s) were left out")
    images: list[ConvertedImage] = []
    refused: dict[int, str] = {}
    for index, one in enumerate(series):
        try:
            outputs, reason = _convert_series(index, one, folder / f"series-{index}", timeout_s)
        except InputError:  # dcm2niix is missing
            raise
        except Exception as error:  # noqa: BLE001 - one bad series never ends the conversion
            outputs, reason = [], f"not converted ({type(error).__name__}: {error})"
        images += outputs
        if reason:
            refused[index] = f"skipped: {reason}"
    images, elsewhere = join_series(images, folder / "joined")
    for index, other in elsewhere.items():
        refused[index] = f"its slices go with those of series {series[other].number}"
    naming = name_images(
        images,
        participant=participant,
        session=session,
        acquisition=acquisition,
        accept_filtered=accept_filtered,
    )
    return Conversion(series, naming, refused, notes + naming.warnings)


def _convert_series(
    index: int, series: Series, folder: Path, timeout_s: float
) -> tuple[list[ConvertedImage], str]:
    """Return the images of a series, and why it has none or not all."""
    maps = f"{series.n_maps} images are maps that the scanner calculated" if series.n_maps else ""
    if series.refusal or series.n_maps == series.n_images:
        return [], series.refusal or maps
    images, complaint = run_dcm2niix(series.headers, folder, timeout_s=timeout_s)
    images = join_slabs(images, folder / "joined")
    if not images:
        return [], series.lacking or f"not converted ({complaint})"
    if _n_echoes(images) < series.n_echoes:
        mixed = f"dcm2niix mixed its {series.n_echoes} echoes"
        return [], series.lacking or mixed
    return _converted(index, series, images), maps


def _unpacked(source: Path, folder: Path) -> tuple[list[Path], int]:
    """Return the folders to look into, and how many packed files are damaged."""
    if is_archive(source):
        folders = [unpack(source, folder / "unpacked")]
    elif source.is_dir():
        archives = filter(is_archive, _files(source))
        unpacked = [unpack(p, folder / f"unpacked-{n}") for n, p in enumerate(archives)]
        folders = [source, *unpacked]
    else:
        raise InputError("is neither a folder nor a zip or tar archive", str(source), _FIX)
    packed = [path for place in folders for path in _files(place) if is_gzipped_dicom(path)]
    if not packed:
        return folders, 0
    gunzipped, n_damaged = unpack_gzipped(packed, folder / "gunzipped")
    return [*folders, gunzipped], n_damaged


def _converted(
    index: int, series: Series, outputs: Sequence[tuple[Path, dict[str, Any]]]
) -> list[ConvertedImage]:
    """Return the images of a series with what is wrong with their slices."""
    lacking = series.lacking
    n_slices = n_positions(series.frames)
    images = []
    for path, sidecar in outputs:
        problem = lacking
        if not problem and n_slices and (n := _depth(path)) and n != n_slices:
            problem = f"dcm2niix made a volume of {n} slices of the {n_slices} that there are"
        started = {"AcquisitionTime": series.acquired} if series.acquired else {}
        of_coil = {COIL_KEY: series.coil} if series.coil else {}
        sidecar = {**sidecar, **started, **of_coil}
        images.append(ConvertedImage(path, sidecar, index, problem))
    return images


def _depth(path: Path) -> int:
    try:
        return int(nib.load(path).shape[2])
    except (OSError, ValueError, IndexError, ImageFileError):
        return 0


def _n_echoes(images: Sequence[tuple[Path, dict[str, Any]]]) -> int:
    """Return how many echo times images are of; a field map has two."""
    keys = ("EchoTime", "EchoTime1", "EchoTime2")
    return len({sidecar[key] for _, sidecar in images for key in keys if sidecar.get(key)})
