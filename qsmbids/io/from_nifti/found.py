"""Find the images below a folder, and fill a table of them as far as files and names tell."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from qsmbids.errors import InputError
from qsmbids.io.from_nifti.names import ECHO_PLANAR, OTHER_KINDS, WhatNameSays, read_name, stem_of
from qsmbids.io.from_nifti.table import ALL_COILS, SKIP, Row
from qsmbids.io.recognition import FEWEST_SLICES, IS_DIFFERENCE, image_type, other_contrast
from qsmbids.io.recognition import TOKENS as TYPES
from qsmbids.io.runs import BidsFile, NoRunError, Sidecars
from qsmbids.io.stated import as_number
from qsmbids.units import GAMMA_BAR_HZ_PER_T

__all__ = ["Found", "find_images", "sidecars_of"]

_IMAGE = (".nii", ".nii.gz")
_MADE = re.compile(r"(?:^|[_-])(?:swi|min_?ip|mip|swip)(?:_|$)", re.IGNORECASE)
#: What dcm2niix notes in the header of an image.
_NOTED_TIME = re.compile(r"(?:^|;)TE=([\d.]+)")
_PHASE_DIFFERENCE = re.compile(r"phase_?diff", re.IGNORECASE)
_NO_PARTNER = {
    "mag": "no phase beside it",
    "phase": "no magnitude beside it",
    "real": "no imaginary part beside it",
    "imag": "no real part beside it",
}
_PARTNERS = {"mag": "phase", "phase": "mag", "real": "imag", "imag": "real"}


@dataclass
class Found:
    """An image while its row is made."""

    file: PurePosixPath
    says: WhatNameSays
    sidecar: dict[str, Any]
    part: str = ""
    echo_time_s: str = ""
    field_strength_t: str = ""
    acquisition: str = ""
    run: str = ""
    coil: str = ""
    notes: list[str] = field(default_factory=list)
    why_skipped: str = ""

    @property
    def scan(self) -> tuple[str, ...]:
        """What the images of one run have in common."""
        says = self.says
        return (says.participant, says.session, self.acquisition, says.reconstruction, self.run)

    def row(self) -> Row:
        """Return what goes into the table."""
        participant, session, acquisition, reconstruction, run = self.scan
        return Row(
            file=str(self.file),
            participant=participant,
            session=session,
            acquisition=acquisition,
            reconstruction=reconstruction,
            run=run,
            coil=self.coil,
            part=SKIP if self.why_skipped else self.part,
            echo_time_s=self.echo_time_s,
            field_strength_t=self.field_strength_t,
            comment="; ".join(filter(None, [self.why_skipped, *self.notes])),
        )


def find_images(
    source: Path, *, participant: str = "", session: str = "", acquisition: str = ""
) -> tuple[list[Row], Counter[str]]:
    """Return a row for every image that may be of a gradient echo, and the number of others.

    Parameters
    ----------
    source : Path
        Folder with NIfTI files; their sidecars are beside them, or above them as in BIDS.
    participant, session, acquisition : str
        Labels of all images, instead of those that names tell.

    Returns
    -------
    rows : list of Row
        In the order of the paths; what is not known is empty.
    others : Counter
        Of images that cannot be a gradient echo, by the last word of their names.

    Raises
    ------
    InputError
        There is no image.
    """
    files, others = _listed(source)
    if not files:
        kinds = f" but {', '.join(sorted(others))}" if others else ""
        raise InputError(
            f"holds no NIfTI image{kinds} that may be a gradient echo",
            str(source),
            "Name the folder with the .nii or .nii.gz files; DICOM is converted without"
            " --from-nifti.",
        )
    sidecars = sidecars_of(source, files)
    images = []
    for file in files:
        says = read_name(file)
        says = replace(
            says,
            participant=participant or says.participant,
            session=session or says.session,
            acquisition=acquisition or says.acquisition,
        )
        images.append(_looked_at(source, Found(file, says, sidecars[file])))
    _tell_apart(images)
    _fill_from_partners(images)
    _skip_without_partner(images)
    return [image.row() for image in images], others


def _listed(source: Path) -> tuple[list[PurePosixPath], Counter[str]]:
    """Return the images that may be used, and how many of which kind may not."""
    files, others = [], Counter[str]()
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.endswith(_IMAGE):
                continue
            kind = stem_of(name).rsplit("_", 1)[-1]
            # MPM and the like may well be gradient echoes with phase; echo planar images are not
            if kind in OTHER_KINDS and (kind in ECHO_PLANAR or "_part-" not in name):
                others[kind] += 1
            else:
                files.append(PurePosixPath(os.path.relpath(os.path.join(parent, name), source)))
    return files, others


def sidecars_of(
    source: Path, files: Collection[PurePosixPath]
) -> dict[PurePosixPath, dict[str, Any]]:
    """Return the metadata of images, those of BIDS names with what they inherit.

    Raises
    ------
    InputError
        A sidecar cannot be read.
    """
    folders = {folder for file in files for folder in file.parents}
    found = [
        _file(source, folder / name)
        for folder in sorted(folders)
        if (source / folder).is_dir()
        for name in sorted(os.listdir(source / folder))
        if name.endswith(".json") and not name.startswith(".")
    ]
    inherited = Sidecars(found)
    try:
        return {file: inherited.of(_file(source, file)) for file in files}
    except NoRunError as error:
        raise InputError(str(error)) from error


def _file(source: Path, inside: PurePosixPath) -> BidsFile:
    """Return an image or sidecar; a name that is not as in BIDS belongs to its own alone."""
    stem = stem_of(inside.name).removesuffix(".json")
    entities = {"suffix": stem}
    words = stem.split("_")
    pairs = [word.partition("-") for word in words[:-1]]
    if all(dash for _, dash, _ in pairs):  # GRE.json at the top is as much BIDS as sub-01_GRE
        entities = {key: value for key, _, value in pairs} | {"suffix": words[-1]}
    return BidsFile(source / inside, inside, entities)


def _looked_at(source: Path, image: Found) -> Found:
    """Fill in what header, sidecar and name tell."""
    says, sidecar = image.says, image.sidecar
    tokens = (TYPES.get(token) for token in reversed(image_type(sidecar)))
    image.part = says.part or next(filter(None, tokens), "mag")
    image.acquisition, image.run, image.coil = says.acquisition, says.run, says.coil
    image.echo_time_s = _stated_times(sidecar)
    image.field_strength_t = _stated_strength(sidecar)
    try:
        header = nib.load(source / image.file)
        shape = tuple(int(n) for n in header.shape)
    except (OSError, ValueError, ImageFileError) as error:
        image.why_skipped = f"cannot be read ({' '.join(str(error).split())})"
        return image
    if not image.echo_time_s and "descrip" in getattr(header, "header", {}):
        noted = _NOTED_TIME.search(header.header["descrip"].item().decode("latin-1"))
        if noted and (time := as_number(noted[1])):
            image.echo_time_s = f"{time / 1000:g}"
            image.notes.append("echo time from the header of the image")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 4 and image.echo_time_s and "," not in image.echo_time_s:
        image.coil = ALL_COILS
        image.notes.append(f"{shape[3]} volumes of one echo: taken for receive coils")
    elif len(shape) == 4:
        image.notes.append(f"{shape[3]} volumes: one echo time each")
    image.why_skipped = _no_gradient_echo(image, shape)
    return image


def _no_gradient_echo(image: Found, shape: tuple[int, ...]) -> str:
    """Return why an image is of no use, "" if it may be one."""
    stem = stem_of(image.file.name)
    if len(shape) not in (3, 4):
        return f"{len(shape)} dimensions"
    if min(shape[:3]) < FEWEST_SLICES:
        return f"only {min(shape[:3])} slices, a localiser or a test"
    if "__dup" in stem:
        return "a duplicate by heudiconv"
    if _PHASE_DIFFERENCE.search(stem):
        return IS_DIFFERENCE
    if _MADE.search(stem) and not image.says.part and image.says.echo is None:
        return "susceptibility weighted or projected by the scanner"
    return other_contrast({"SeriesDescription": stem, **image.sidecar}, image.part)


def _stated_times(sidecar: dict[str, Any]) -> str:
    """Return the echo time [s] of a sidecar, or those of all volumes."""
    value = sidecar.get("EchoTime")
    numbers = [as_number(v) for v in (value if isinstance(value, list) else [value])]
    times = [number for number in numbers if number]
    if not times or len(times) < len(numbers):
        return ""
    return ", ".join(f"{time / 1000 if max(times) > 1 else time:.9g}" for time in times)


def _stated_strength(sidecar: dict[str, Any]) -> str:
    """Return the field strength [T] of a sidecar, from the frequency where it has no other."""
    strength = as_number(sidecar.get("MagneticFieldStrength"))
    frequency = as_number(sidecar.get("ImagingFrequency"))
    if not strength and frequency:
        return f"{frequency * (1e6 if frequency < 1e5 else 1) / GAMMA_BAR_HZ_PER_T:.4g}"
    if not strength:
        return ""
    # as qsmbids reads a sidecar: from 10000 it is gauss, from 100 millitesla
    return f"{strength / (1e4 if strength >= 1e4 else 1e3 if strength >= 100 else 1):g}"


def _tell_apart(images: Iterable[Found]) -> None:
    """Give scans of one participant different labels, and repeated images run numbers."""
    scans: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for image in images:
        if not image.why_skipped:
            scans[image.scan].append(image)
    for members in scans.values():
        parts_by_words: dict[str, set[str]] = defaultdict(set)
        for image in members:
            parts_by_words[_words(image)].add(image.part)
        # words that only one part has do not tell scans apart, but parts
        pairs = {w for w, parts in parts_by_words.items() if len(parts) > 1}
        if len(pairs) > 1:
            for image in members:
                image.acquisition += _words(image) if _words(image) in pairs else ""
    repeated: dict[tuple[Any, ...], list[Found]] = defaultdict(list)
    for members in scans.values():
        for image in members:
            echo = image.says.echo if image.says.echo is not None else image.echo_time_s
            repeated[(*image.scan, image.part, echo, image.coil)].append(image)
    scans_with_copies = {key[:5] for key, alike in repeated.items() if len(alike) > 1}
    for key, alike in repeated.items():
        if key[:5] in scans_with_copies and not key[4]:
            for number, image in enumerate(sorted(alike, key=_series), 1):
                image.run = str(number)


def _words(image: Found) -> str:
    return image.says.words


def _series(image: Found) -> tuple[float, str]:
    return as_number(image.sidecar.get("SeriesNumber")) or 0.0, str(image.file)


def _fill_from_partners(images: Iterable[Found]) -> None:
    """Take what one part of a scan lacks from the other part of it."""
    scans: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for image in images:
        if not image.why_skipped:
            scans[image.scan].append(image)
    for members in scans.values():
        strengths = {i.field_strength_t for i in members if i.field_strength_t}
        for image in members:
            if not image.field_strength_t and len(strengths) == 1:
                image.field_strength_t = next(iter(strengths))
                image.notes.append("field strength from other images of the scan")
            same = {
                other.echo_time_s
                for other in members
                if other.echo_time_s and other.says.echo == image.says.echo
            }
            if not image.echo_time_s and len(same) == 1:
                image.echo_time_s = next(iter(same))
                image.notes.append("echo time from the other part")


def _skip_without_partner(images: Iterable[Found]) -> None:
    """Leave out scans of which there is one part alone."""
    parts: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in images:
        if not image.why_skipped:
            parts[image.scan].add(image.part)
    for image in images:
        if not image.why_skipped and _PARTNERS[image.part] not in parts[image.scan]:
            image.why_skipped = _NO_PARTNER[image.part]
