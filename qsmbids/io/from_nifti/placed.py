"""Make raw BIDS of the images of a complete table."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from qsmbids.core.phase.missing_phase import read_phase_numbers
from qsmbids.errors import InputError
from qsmbids.io.bids_naming import NamedImage, Naming, clean_sidecar
from qsmbids.io.dicom import Conversion
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.from_nifti.found import sidecars_of
from qsmbids.io.from_nifti.table import ALL_COILS, Entry
from qsmbids.io.layout import coil_labels
from qsmbids.io.raw_dataset import place
from qsmbids.io.recognition import PARTS, ConvertedImage, image_type
from qsmbids.io.stacks import volumes_of
from qsmbids.io.stated import as_number

__all__ = ["Scan", "place_scans", "scans_of"]

_PAIRS = ({"mag", "phase"}, {"real", "imag"})


@dataclass
class Scan:
    """The images of one run.

    Attributes
    ----------
    entries : list of Entry
    sidecars : dict
        Metadata by file.
    units : str
        Of the phase, as the sidecars will have it.
    problems : list of str
        What is wrong with the images together.
    """

    entries: list[Entry]
    sidecars: dict[str, dict[str, Any]]
    units: str = "arbitrary"
    problems: list[str] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of BIDS by the columns of the table."""
        return self.entries[0].labels

    @property
    def label(self) -> str:
        """The run as its file names begin."""
        keys = {
            "participant": "sub",
            "session": "ses",
            "acquisition": "acq",
            "reconstruction": "rec",
            "run": "run",
        }
        labels = self.labels
        return "_".join(f"{key}-{labels[name]}" for name, key in keys.items() if labels[name])

    @property
    def times(self) -> list[float]:
        """All echo times [s], rising."""
        return sorted({time for entry in self.entries for time in entry.echo_times})

    @property
    def names(self) -> dict[tuple[str, float], str]:
        """BIDS names without extension, by part and echo time."""
        times = self.times
        return {
            (entry.part, time): self.label
            + (f"_echo-{times.index(time) + 1}" if len(times) > 1 else "")
            + f"_part-{entry.part}_{'MEGRE' if len(times) > 1 else 'T2starw'}"
            for entry in sorted(self.entries, key=lambda entry: PARTS.index(entry.part))
            for time in entry.echo_times
        }


def scans_of(source: Path, entries: Sequence[Entry]) -> tuple[list[Scan], list[str]]:
    """Form runs of the rows of a table, and check them down to the numbers of the phase.

    Parameters
    ----------
    source : Path
        Folder with the images.
    entries : sequence of Entry

    Returns
    -------
    scans : list of Scan
    problems : list of str
        One line each; there must be none before anything is written.
    """
    absent = [e for e in entries if not (source / e.file).is_file()]
    problems = [f"line {e.number}, {e.file}: there is no such file in {source}" for e in absent]
    present = [e for e in entries if e not in absent]
    sidecars = sidecars_of(source, [PurePosixPath(e.file) for e in present])
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in _with_coil_labels(present):
        groups[entry.run].append(entry)
    scans = []
    for members in groups.values():
        own = {e.file: sidecars[PurePosixPath(e.file)] for e in members}
        scan = Scan(sorted(members, key=lambda e: e.number), own)
        scan.problems += _incomplete(scan) or _unlike(source, scan) or _phase_numbers(source, scan)
        problems += scan.problems
        scans.append(scan)
    return scans, problems


def _with_coil_labels(entries: Sequence[Entry]) -> list[Entry]:
    """Give the images of every coil the label that :mod:`qsmbids.io.coils` looks for."""
    coils: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for entry in entries:
        if entry.coil:
            coils[entry.run].add(entry.coil)
    labelled = []
    for entry in entries:
        if entry.coil:
            own = coil_labels(coils[entry.run])[entry.coil]
            label = "coils" if entry.coil.lower() == ALL_COILS else own
            entry = replace(entry, labels={**entry.labels, "reconstruction": label})
        labelled.append(entry)
    return labelled


def place_scans(source: Path, bids_dir: Path, scans: Sequence[Scan]) -> dict[str, str]:
    """Write the runs into a dataset, which is made if it does not exist.

    Parameters
    ----------
    source, bids_dir : Path
    scans : sequence of Scan
        Without problems.

    Returns
    -------
    dict
        Reason by label of the runs that were left out, for files of their name exist.

    Raises
    ------
    OutputError
        The dataset cannot be written.
    """
    people: dict[tuple[str, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        people[scan.labels["participant"], scan.labels["session"]].append(scan)
    kept: dict[str, str] = {}
    for (participant, session), own in people.items():
        for scan in own:  # one at a time on the disk
            with tempfile.TemporaryDirectory(prefix="qsmbids-convert-") as work:
                naming = Naming({scan.label: _named(source, Path(work), scan)})
                _, why = place(
                    Conversion([], naming),
                    bids_dir,
                    participant=participant,
                    session=session or None,
                    with_scanner_key=False,
                    converters=(),
                )
            kept |= why
    return kept


def _incomplete(scan: Scan) -> list[str]:
    """Return what a run lacks, or has twice."""
    slots: dict[tuple[str, float], Entry] = {}
    for entry in scan.entries:
        for time in entry.echo_times:
            first = slots.setdefault((entry.part, time), entry)
            if first is not entry:
                return [
                    f"lines {first.number} and {entry.number}, {entry.file}: both are"
                    f" {entry.part} at {time:g} s of {scan.label}; correct a time, tell them apart"
                    " by acquisition or run, or skip one"
                ]
    parts = {part for part, _ in slots}
    where = f"line {scan.entries[0].number}, {scan.label}"
    if parts not in _PAIRS:
        return [
            f"{where}: has {' and '.join(sorted(parts))}; a run is magnitude and phase, or real"
            " and imaginary part"
        ]
    problems = [
        f"{where}: there is no {part} at {time:g} s"
        for part in sorted(parts)
        for time in scan.times
        if (part, time) not in slots
    ]
    strengths = sorted({entry.b0_tesla for entry in scan.entries})
    if len(strengths) > 1:
        listed = " and ".join(f"{b0:g}" for b0 in strengths)
        problems.append(f"{where}: has field strengths of {listed} T")
    return problems


def _unlike(source: Path, scan: Scan) -> list[str]:
    """Return how the images of a run do not fit each other, or their echo times."""
    problems, grid = [], None
    for entry in scan.entries:
        where = f"line {entry.number}, {entry.file}"
        try:
            raise_if_not_fetched(source / entry.file)
            image = nib.load(source / entry.file)
            shape = [int(n) for n in image.shape]
        except (InputError, OSError, ValueError, ImageFileError) as error:
            problems.append(f"{where}: cannot be read ({' '.join(str(error).split())})")
            continue
        while len(shape) > 3 and shape[-1] == 1:
            shape.pop()
        n_volumes = shape[3] if len(shape) == 4 else 1
        if entry.coil.lower() == ALL_COILS:
            if len(shape) != 4 or len(entry.echo_times) != 1:
                problems.append(
                    f"{where}: has the shape {' x '.join(map(str, shape))} and"
                    f" {len(entry.echo_times)} echo time(s); with coil all, there is one echo, and"
                    " coils are the last of four dimensions"
                )
        elif len(shape) not in (3, 4) or n_volumes != len(entry.echo_times):
            problems.append(
                f"{where}: has the shape {' x '.join(map(str, shape))} and"
                f" {len(entry.echo_times)} echo time(s); write one time per volume, with commas"
            )
        elif image.get_data_dtype().kind not in "iuf":
            problems.append(f"{where}: holds {image.get_data_dtype()}, not one number per voxel")
        own = (tuple(shape[:3]), np.asarray(image.affine, dtype=float))
        grid = own if grid is None else grid
        if own[0] != grid[0] or not np.allclose(own[1], grid[1], atol=1e-2):
            problems.append(
                f"{where}: is on another grid than {scan.entries[0].file} (line"
                f" {scan.entries[0].number}); both are of {scan.label} by the table"
            )
    return problems


def _phase_numbers(source: Path, scan: Scan) -> list[str]:
    """Find the units of the phase; return what is wrong with its numbers."""
    phase = [entry for entry in scan.entries if entry.part == "phase"]
    if not phase:
        return []
    where = f"line {phase[0].number}, {phase[0].file}"
    try:
        volumes = [
            np.asarray(volume.dataobj, dtype=np.float32)
            for entry in phase
            for volume in volumes_of(source / entry.file)[: len(entry.echo_times)]
        ]
        sidecar = scan.sidecars[phase[0].file]
        stated = sidecar.get("Units")
        units = stated if stated in ("rad", "arbitrary") else None
        found = read_phase_numbers(volumes, units=units, image_type=image_type(sidecar)).scale
    except (InputError, ValueError) as error:
        return [f"{where}: {error}"]
    scan.units = "rad" if found.rule.startswith("radians") else "arbitrary"
    return []


def _named(source: Path, work: Path, scan: Scan) -> list[NamedImage]:
    """Write every echo and part of a run as a file of its own, with its sidecar."""
    names = scan.names
    images = []
    for entry in scan.entries:
        if entry.coil.lower() == ALL_COILS:
            volumes = [_as_stored(source / entry.file)]
        else:
            volumes = volumes_of(source / entry.file)
        for time, volume in zip(entry.echo_times, volumes, strict=True):
            name = names[entry.part, time]
            path = work / f"{name}.nii"
            nib.save(volume, path)  # type: ignore[no-untyped-call]
            sidecar = _sidecar(scan, entry, time)
            images.append(NamedImage(ConvertedImage(path, {}, 0), entry.part, name, sidecar))
    return images


def _as_stored(path: Path) -> Any:
    """Return an image whose numbers are written as they are stored."""
    image = nib.load(path)
    try:
        stored = np.asarray(image.dataobj.get_unscaled())
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"is truncated or damaged ({error})", str(path)) from error
    out = nib.Nifti1Image(stored, image.affine, image.header)  # type: ignore[no-untyped-call]
    out.header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)
    return out


def _sidecar(scan: Scan, entry: Entry, time: float) -> dict[str, Any]:
    """Return the metadata of one echo; what the table says comes first."""
    sidecar = clean_sidecar(scan.sidecars[entry.file])
    for key in ("EchoTime1", "EchoTime2", "EchoNumber"):
        sidecar.pop(key, None)
    if "RepetitionTime" in sidecar:
        sidecar.setdefault("RepetitionTimeExcitation", sidecar["RepetitionTime"])
    sidecar |= {"EchoTime": time, "MagneticFieldStrength": entry.b0_tesla}
    frequency = as_number(sidecar.get("ImagingFrequency"))
    if frequency is None:
        sidecar.pop("ImagingFrequency", None)
    if len(scan.times) > 1:
        sidecar["EchoNumber"] = scan.times.index(time) + 1
    if entry.part == "mag":
        sidecar.pop("Units", None)
    else:
        sidecar["Units"] = scan.units if entry.part == "phase" else "arbitrary"
    return sidecar
