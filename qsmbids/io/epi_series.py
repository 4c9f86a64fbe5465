"""Echo planar images with phase: series in ``func`` to one volume per echo in raw BIDS.

``func/*_part-mag_bold`` and ``func/*_part-phase_bold``, one file per echo, become a scan in
``anat`` of a dataset of its own, for BIDS has no other place for a single volume with phase. The
series stay as they are.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from qsmbids.core.phase.phase_scale import to_radians
from qsmbids.core.phase.series import average_series
from qsmbids.errors import InputError
from qsmbids.io.dataset_index import list_participants
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.phase_numbers import phase_scale_of
from qsmbids.io.raw_dataset import add_run
from qsmbids.io.runs import BidsFile, NoRunError, Problem, Sidecars
from qsmbids.io.slices import is_echo_planar
from qsmbids.io.stated import as_number
from qsmbids.io.write import write_json, write_volume

__all__ = ["MOST_VOLUMES", "EpiSeries", "average_to_raw", "find_series"]

#: Volumes of a series that are averaged: the first ones, for later ones drift further.
MOST_VOLUMES = 10

_NAME = re.compile(r"sub-.*_part-(?:mag|phase)_bold\.nii(?:\.gz)?")
#: Of the whole series, and untrue of one volume.
_OF_THE_SERIES = ("SliceTiming", "TaskName", "VolumeTiming", "NumberOfVolumesDiscardedByUser")
_KEYS = {"ses": "session", "rec": "reconstruction", "run": "run"}


@dataclass(frozen=True)
class EpiSeries:
    """Magnitude and phase of all echoes of a series.

    Attributes
    ----------
    entities : dict
        Of the volume that is made, under pybids' names.
    magnitude, phase : tuple of Path
        One per echo, by rising echo time.
    sidecars : tuple of dict
        Of the phase, one per echo.
    """

    entities: dict[str, str]
    magnitude: tuple[Path, ...]
    phase: tuple[Path, ...]
    sidecars: tuple[dict[str, Any], ...]

    @property
    def images(self) -> tuple[Path, ...]:
        """All image files."""
        return (*self.magnitude, *self.phase)

    @property
    def label(self) -> str:
        """The run that is made, as its file names begin."""
        short = {"subject": "sub", "session": "ses", "acquisition": "acq", "reconstruction": "rec"}
        words = {**short, "run": "run"}
        return "_".join(f"{words[k]}-{self.entities[k]}" for k in words if k in self.entities)

    @property
    def names(self) -> list[str]:
        """Names that the images get, without extension."""
        several = len(self.phase) > 1
        return [
            f"{self.label}{f'_echo-{e}' if several else ''}_part-{part}"
            f"_{'MEGRE' if several else 'T2starw'}"
            for e in range(1, len(self.phase) + 1)
            for part in ("mag", "phase")
        ]


def find_series(
    bids_dir: str | Path,
    *,
    participants: Collection[str] | None = None,
    sessions: Collection[str] | None = None,
) -> tuple[list[EpiSeries], list[Problem]]:
    """Return the echo planar series of a dataset that have phase, and those that are incomplete.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    participants, sessions : collection of str, optional
        Labels without ``sub-`` and ``ses-``; default all.
    """
    root = Path(os.path.abspath(bids_dir))
    series: list[EpiSeries] = []
    problems: list[Problem] = []
    for label in list_participants(root, participants):
        person = root / f"sub-{label}"
        for folder in (person / "func", *sorted(person.glob("ses-*/func"))):
            visit = folder.parent.name.removeprefix("ses-")
            if sessions is None or visit in sessions:
                _in_folder(root, folder, series, problems)
    return series, problems


def _in_folder(root: Path, folder: Path, series: list[EpiSeries], problems: list[Problem]) -> None:
    """Add the series of a folder to those that can be used, or to those that cannot."""
    images = [_file(root, path) for path in sorted(folder.glob("*")) if _NAME.fullmatch(path.name)]
    if not images:
        return
    above = [root, *(root / p for p in reversed(images[0].inside.parents) if p.parts)]
    sidecars = Sidecars(_file(root, path) for place in above for path in place.glob("*_bold.json"))
    groups: dict[tuple[tuple[str, str], ...], dict[str, dict[int, BidsFile]]] = {}
    for image in images:
        rest = tuple((k, v) for k, v in image.naming.items() if k not in ("echo", "part"))
        parts = groups.setdefault(rest, defaultdict(dict))
        parts[image.naming["part"]][int(image.naming.get("echo", 1))] = image
    for key, parts in groups.items():
        if not parts["phase"]:
            continue
        try:
            series.append(_series(dict(key), parts, sidecars))
        except InputError as error:
            problems.append(Problem("_".join("-".join(pair) for pair in key), str(error)))


def _series(
    naming: Mapping[str, str], parts: Mapping[str, dict[int, BidsFile]], sidecars: Sidecars
) -> EpiSeries:
    phase, magnitude = parts["phase"], parts["mag"]
    where = str(next(iter(phase.values())).path)
    if set(phase) != set(magnitude):
        raise InputError(
            "not every echo of the series has both magnitude and phase",
            where,
            "Add the part-mag and part-phase images, or leave out --include-epi.",
        )
    try:
        metadata = {echo: sidecars.of(image) for echo, image in phase.items()}
    except NoRunError as error:
        raise InputError(str(error), where) from error
    times = {echo: as_number(sidecar.get("EchoTime")) for echo, sidecar in metadata.items()}
    if None in times.values():
        raise InputError("EchoTime is missing", where, "Add it [s] to the sidecar of every echo.")
    order = sorted(times, key=lambda echo: times[echo] or 0.0)
    words = "".join(naming.get(key, "") for key in ("acq", "task", "dir"))
    entities = {"subject": naming["sub"], "acquisition": f"{words}EPI"}
    entities |= {name: naming[key] for key, name in _KEYS.items() if key in naming}
    return EpiSeries(
        entities,
        tuple(magnitude[echo].path for echo in order),
        tuple(phase[echo].path for echo in order),
        tuple(metadata[echo] for echo in order),
    )


def average_to_raw(series: EpiSeries, bids_dir: str | Path) -> tuple[list[Path], list[str]]:
    """Write the complex mean of a series into a raw dataset, which is made if it does not exist.

    Parameters
    ----------
    series : EpiSeries
    bids_dir : path
        Root of the dataset to write.

    Returns
    -------
    images : list of Path
    notes : list of str
        What was done, for the log.

    Raises
    ------
    InputError
        The series cannot be read, or the echoes do not fit each other.
    OutputError
        The dataset cannot be written, or other images of these names are there.
    """
    names = series.names
    phase, affine = _read(series.phase)
    magnitude, _ = _read(series.magnitude)
    if magnitude.shape != phase.shape:
        raise InputError(
            f"magnitude {magnitude.shape[1:]} and phase {phase.shape[1:]} differ in shape",
            str(series.phase[0]),
        )
    for echo, sidecar in enumerate(series.sidecars):
        scale = phase_scale_of(list(phase[echo]), sidecar, series.phase[echo])
        phase[echo] = np.stack([to_radians(volume, scale) for volume in phase[echo]])
    mean = average_series(np.nan_to_num(magnitude), np.nan_to_num(phase))
    n, n_used = phase.shape[1], len(mean.used)
    facts = {
        "VolumesAveraged": n_used,
        "VolumesLeftOut": n - n_used,
        "PhaseDriftRad": round(mean.drift, 3),
        "Sources": [path.name for path in series.images],
    }

    def write(folder: Path) -> list[Path]:
        staged = []
        for number, name in enumerate(names):
            echo, is_phase = divmod(number, 2)
            sidecar = {**_of_a_volume(series.sidecars[echo]), **facts}
            if len(series.phase) > 1:
                sidecar["EchoNumber"] = echo + 1
            sidecar |= {"Units": "rad"} if is_phase else {}
            values = (mean.phase if is_phase else mean.magnitude)[echo]
            staged.append(write_json(folder / f"{name}.json", sidecar))
            staged.append(write_volume(folder / f"{name}.nii.gz", values, affine))
        return staged

    images = add_run(bids_dir, series.entities, names, write, source="the series was")
    text = f"complex mean of {n_used} of {n} volumes, phase drift up to {mean.drift:.2f} rad"
    return images, [text]


def _of_a_volume(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of one volume, with what the series is in words that are looked for."""
    own = {k: v for k, v in sidecar.items() if k not in _OF_THE_SERIES and k != "Units"}
    own.setdefault("MRAcquisitionType", "2D")
    if not is_echo_planar([own]):
        own["PulseSequenceType"] = "Gradient echo EPI"
    if "RepetitionTime" in own:
        own.setdefault("RepetitionTimeExcitation", own["RepetitionTime"])
    return own


def _read(paths: tuple[Path, ...]) -> tuple[Any, Any]:
    """Return the first volumes of all echoes as (E, T, X, Y, Z), and the affine."""
    echoes: list[Any] = []
    affine = None
    for path in paths:
        raise_if_not_fetched(path)
        try:
            image = nib.load(path)
            affine = image.affine if affine is None else affine
            data = image.dataobj[..., :MOST_VOLUMES] if len(image.shape) > 3 else image.dataobj
            values = np.asarray(data, dtype=np.float32)
        except (OSError, ValueError, EOFError, ImageFileError) as error:
            raise InputError(f"cannot be read ({error})", str(path)) from error
        values = values if values.ndim == 4 else values[..., None]
        if echoes and values.shape != echoes[0].shape[1:] + echoes[0].shape[:1]:
            raise InputError(f"has the shape {image.shape}, unlike other echoes", str(path))
        echoes.append(np.moveaxis(values, 3, 0))
    return np.stack(echoes), affine


def _file(root: Path, path: Path) -> BidsFile:
    """Return an image or sidecar with the entities of its name."""
    stem = re.sub(r"\.(?:nii|nii\.gz|json)$", "", path.name)
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return BidsFile(path, PurePosixPath(path.relative_to(root)), {**entities, "suffix": suffix})
