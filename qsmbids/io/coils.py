"""Images of single receive coils: found by name, read one coil at a time, combined into raw BIDS.

BIDS has no entity for coils. Files of one coil each are told apart by ``rec-coil01``,
``rec-coil02`` and so on; a 4-D file with the coils as its last dimension is ``rec-coils``. Both
are valid names. What is made of them is ``rec-mcpc3ds``, in a dataset of its own.
"""

import gzip
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from qsmbids.core.phase.phase_scale import PhaseScale, to_radians
from qsmbids.errors import InputError
from qsmbids.io.dataset_index import index_files, list_participants
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.layout import is_coil
from qsmbids.io.phase_numbers import phase_scale_of
from qsmbids.io.raw_dataset import add_run
from qsmbids.io.runs import (
    RUN_ENTITIES,
    BidsFile,
    NoRunError,
    Problem,
    Sidecars,
    run_label,
)
from qsmbids.io.stated import as_number
from qsmbids.io.write import write_json, write_volume

__all__ = ["METHOD", "Coils", "combine_to_raw", "find_coils"]

#: What the sidecars call the way of the combination.
METHOD = "MCPC-3D-S"
_LABEL = "mcpc3ds"
_SMOOTHING_MM = 7.0


@dataclass(frozen=True)
class Coils:
    """Magnitude and phase of all coils of a scan.

    Attributes
    ----------
    entities : dict
        Of the run that is made, under pybids' names.
    magnitude, phase : tuple of tuple of Path
        For each echo, by rising time, the files of the coils in their order; a single 4-D file
        where the coils are its last dimension.
    sidecars : tuple of dict
        Of the phase of the first coil, one per echo.
    """

    entities: dict[str, str]
    magnitude: tuple[tuple[Path, ...], ...]
    phase: tuple[tuple[Path, ...], ...]
    sidecars: tuple[dict[str, Any], ...]

    @property
    def images(self) -> tuple[Path, ...]:
        """All image files."""
        return tuple(p for echoes in (self.magnitude, self.phase) for echo in echoes for p in echo)

    @property
    def label(self) -> str:
        """The run that is made, as its file names begin."""
        return run_label(self.entities)

    @property
    def names(self) -> list[str]:
        """Names that the images get, without extension."""
        return [
            f"{self.label}_echo-{e}_part-{part}_MEGRE"
            for e in range(1, len(self.phase) + 1)
            for part in ("mag", "phase")
        ]

    @property
    def echo_times(self) -> list[float]:
        """[s]."""
        return [float(sidecar["EchoTime"]) for sidecar in self.sidecars]


def find_coils(
    bids_dir: str | Path,
    *,
    participants: Collection[str] | None = None,
    sessions: Collection[str] | None = None,
) -> tuple[list[Coils], list[Problem]]:
    """Return the scans of a dataset whose coils are not combined, and those that cannot be.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    participants, sessions : collection of str, optional
        Labels without ``sub-`` and ``ses-``; default all.
    """
    root = Path(os.path.abspath(bids_dir))
    labels = list_participants(root, participants)
    wanted = [label for label in labels if _has_coils(root / f"sub-{label}")]
    if not wanted:
        return [], []
    json_files: list[BidsFile] = []
    groups: dict[str, list[BidsFile]] = defaultdict(list)
    for file in index_files(root, wanted):
        session = file.entities.get("session")
        if file.path.suffix == ".json":
            json_files.append(file)
        elif is_coil(file.entities) and (sessions is None or session in sessions):
            rest = {k: v for k, v in file.naming.items() if k != "reconstruction"}
            groups[run_label(rest)].append(file)
    sidecars = Sidecars(json_files)
    scans, problems = [], []
    for label, files in sorted(groups.items()):
        try:
            scans.append(_scan(label, files, sidecars))
        except InputError as error:
            problems.append(Problem(f"{label}_rec-{_LABEL}", str(error)))
    return scans, problems


def _has_coils(person: Path) -> bool:
    return any(any(folder.glob("*_rec-coil*")) for folder in (person / "anat", *_visits(person)))


def _visits(person: Path) -> list[Path]:
    return sorted(person.glob("ses-*/anat"))


def _scan(label: str, files: Sequence[BidsFile], sidecars: Sidecars) -> Coils:
    """Form a scan of the images of coils, which must be the same for all echoes and parts."""
    slots: dict[tuple[str, int], dict[str, BidsFile]] = defaultdict(dict)
    for file in files:
        slot = file.naming.get("part", "mag"), int(file.naming.get("echo", 1))
        slots[slot][file.naming["reconstruction"]] = file
    echoes = sorted({echo for _, echo in slots})
    every = {coil for coils in slots.values() for coil in coils}
    lacking = [
        f"{coil} of echo {echo}, {part}"
        for echo in echoes
        for part in ("mag", "phase")
        for coil in sorted(every)
        if coil not in slots.get((part, echo), {})
    ]
    if lacking or len(echoes) < 2:
        what = f"there is no {', '.join(lacking[:3])}" if lacking else "there is one echo alone"
        raise InputError(
            f"coils cannot be combined: {what}",
            label,
            "Two echoes or more are needed, with magnitude and phase of the same coils.",
        )
    try:
        metadata = {e: sidecars.of(min(slots["phase", e].items())[1]) for e in echoes}
    except NoRunError as error:
        raise InputError(str(error), label) from error
    times = {echo: as_number(metadata[echo].get("EchoTime")) for echo in echoes}
    if None in times.values():
        raise InputError("EchoTime of a coil is missing", label, "Add it [s] to the sidecars.")
    order = sorted(echoes, key=lambda echo: times[echo] or 0.0)

    def paths(part: str) -> tuple[tuple[Path, ...], ...]:
        return tuple(tuple(slots[part, e][coil].path for coil in sorted(every)) for e in order)

    naming = {**files[0].naming, "reconstruction": _LABEL}
    entities = {k: naming[k] for k in RUN_ENTITIES if k in naming}
    return Coils(entities, paths("mag"), paths("phase"), tuple(metadata[e] for e in order))


def combine_to_raw(
    coils: Coils, bids_dir: str | Path, *, n_threads: int = 1
) -> tuple[list[Path], list[str]]:
    """Write the combined images of a scan into a raw dataset, which is made if it does not exist.

    Parameters
    ----------
    coils : Coils
    bids_dir : path
        Root of the dataset to write.
    n_threads : int

    Returns
    -------
    images : list of Path
    notes : list of str
        What was done, for the log.

    Raises
    ------
    InputError
        An image cannot be read, or does not fit the others.
    OutputError
        The dataset cannot be written, or other images of these names are there.
    """
    from qsmbids.core.phase.coils import combine_coils  # its compiled loops take long to import

    names = coils.names
    with _Reader.open(coils) as reader:
        try:
            combined = combine_coils(
                reader.signal,
                reader.n_coils,
                coils.echo_times,
                np.linalg.norm(reader.affine[:3, :3], axis=0),
                smoothing_mm=_SMOOTHING_MM,
                n_threads=n_threads,
            )
        except ValueError as error:
            raise InputError(f"coils cannot be combined: {error}", coils.label) from error
        n_coils, affine = reader.n_coils, reader.affine
    facts = {
        "CoilCombinationMethod": METHOD,
        "CoilsCombined": n_coils,
        "CoilOffsetSmoothingMm": _SMOOTHING_MM,
    }

    def write(folder: Path) -> list[Path]:
        staged = []
        for number, name in enumerate(names):
            echo, is_phase = divmod(number, 2)
            sidecar = {**coils.sidecars[echo], **facts, "EchoNumber": echo + 1}
            sidecar.pop("Units", None)
            sidecar |= {"Units": "rad"} if is_phase else {}
            values = (combined.phase if is_phase else combined.magnitude)[echo]
            staged.append(write_json(folder / f"{name}.json", sidecar))
            staged.append(write_volume(folder / f"{name}.nii.gz", values, affine))
        return staged

    images = add_run(bids_dir, coils.entities, names, write, source="the coils were")
    return images, [f"{n_coils} coils combined by {METHOD}"]


class _Reader:
    """Reads one coil at a time; packed 4-D files are unpacked once, for each coil is far in."""

    def __init__(self, coils: Coils, folder: Path) -> None:
        self.stacked = len(coils.phase[0]) == 1
        self.paths = {
            part: [[self._unpacked(p, folder) for p in echo] for echo in files]
            for part, files in (("mag", coils.magnitude), ("phase", coils.phase))
        }
        first = _load(self.paths["phase"][0][0])
        self.affine, self.shape = first.affine, tuple(first.shape[:3])
        self.n_coils = len(coils.phase[0])
        if self.stacked:
            if len(first.shape) != 4:
                raise InputError(
                    f"has the shape {first.shape}; coils are its last dimension",
                    str(coils.phase[0][0]),
                    "Name files of one coil each rec-coil01, rec-coil02 and so on.",
                )
            self.n_coils = int(first.shape[3])
        self.sidecar: Mapping[str, Any] = coils.sidecars[0]
        self.scale: PhaseScale | None = None

    @classmethod
    @contextmanager
    def open(cls, coils: Coils) -> Iterator["_Reader"]:
        """Yield a reader whose temporary files go with it."""
        with tempfile.TemporaryDirectory(prefix="qsmbids-coils-") as folder:
            yield cls(coils, Path(folder))

    def signal(self, coil: int) -> npt.NDArray[np.complex64]:
        """Return the complex signal (E, X, Y, Z) of a coil."""
        echoes = []
        for magnitude, phase in zip(self.paths["mag"], self.paths["phase"], strict=True):
            turns = self._radians(self._volume(phase, coil), phase[0])
            signal = self._volume(magnitude, coil) * np.exp(1j * turns)
            echoes.append(signal.astype(np.complex64))
        return np.stack(echoes)

    def _volume(self, files: Sequence[Path], coil: int) -> npt.NDArray[np.float32]:
        path = files[0] if self.stacked else files[coil]
        image = _load(path)
        wanted = (*self.shape, self.n_coils) if self.stacked else self.shape
        if tuple(image.shape) != wanted or not np.allclose(image.affine, self.affine, atol=1e-2):
            raise InputError(f"is on another grid than other coils ({image.shape})", str(path))
        try:
            values = image.dataobj[..., coil] if self.stacked else image.dataobj
            return np.asarray(values, dtype=np.float32)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"is truncated or damaged ({error})", str(path)) from error

    def _radians(self, phase: npt.NDArray[np.float32], path: Path) -> npt.NDArray[np.float32]:
        """Bring a phase to radians, by one rule for all coils."""
        if self.scale is None:
            self.scale = phase_scale_of([phase], self.sidecar, path)
        return to_radians(phase, self.scale)

    def _unpacked(self, path: Path, folder: Path) -> Path:
        raise_if_not_fetched(path)
        if not (self.stacked and path.name.endswith(".gz")):
            return path
        plain = folder / re.sub(r"\.gz$", "", path.name)
        try:
            with gzip.open(path) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file)
        except (OSError, EOFError) as error:
            raise InputError(f"is truncated or damaged ({error})", str(path)) from error
        return plain


def _load(path: Path) -> Any:
    try:
        return nib.load(path)
    except (OSError, ValueError, ImageFileError) as error:
        raise InputError(f"cannot be read ({error})", str(path)) from error
