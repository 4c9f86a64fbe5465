"""From a folder of DICOM files to images that have names in a raw BIDS dataset.

Series are found by :mod:`qsmbids.io.dicom_series`, converted one by one with dcm2niix, sorted by
:mod:`qsmbids.io.bids_naming`; :mod:`qsmbids.io.raw_dataset` moves them into a dataset.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from qsmbids.errors import InputError
from qsmbids.io.archive import is_archive, unpack
from qsmbids.io.bids_naming import ConvertedImage, Naming, name_images
from qsmbids.io.dcm2niix_run import run_dcm2niix
from qsmbids.io.dicom_series import FIX, Series, files_below, scan_dicom
from qsmbids.io.gzipped import is_gzipped_dicom, unpack_gzipped
from qsmbids.io.missing_slices import n_positions
from qsmbids.io.recognition import COIL_KEY
from qsmbids.io.slabs import join_series, join_slabs

__all__ = ["Conversion", "convert_dicom"]


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
        archives = filter(is_archive, files_below(source))
        unpacked = [unpack(p, folder / f"unpacked-{n}") for n, p in enumerate(archives)]
        folders = [source, *unpacked]
    else:
        raise InputError("is neither a folder nor a zip or tar archive", str(source), FIX)
    packed = [path for place in folders for path in files_below(place) if is_gzipped_dicom(path)]
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
