"""Split 4-D files with all echoes into the files that BIDS wants, one per echo.

Such files are no BIDS (``part-phase_MEGRE`` without ``echo-``), yet many tools write them. The
echoes go into a raw dataset of their own; the 4-D files stay as they are.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from qsmbids.errors import InputError, MetadataError, NotFetchedError
from qsmbids.io.dataset_index import index_files, list_participants
from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.raw_dataset import add_run
from qsmbids.io.runs import RUN_ENTITIES, BidsFile, NoRunError, Sidecars, run_label
from qsmbids.io.stated import as_number, contradiction
from qsmbids.io.write import write_json

__all__ = ["Stack", "echo_names", "find_stacks", "split_stack", "volumes_of"]

_STACK = re.compile(r"sub-(?!.*_echo-).*_part-(?:mag|phase|real|imag)_MEGRE\.nii(?:\.gz)?")
_PAIRS = (("mag", "phase"), ("real", "imag"))


@dataclass(frozen=True)
class Stack:
    """Two 4-D files, for example magnitude and phase, with all echoes of one run.

    Attributes
    ----------
    entities : dict
        As in :class:`qsmbids.io.runs.Run`.
    parts : tuple of str
    images : tuple of Path
    sidecars : tuple of dict
        One of each per part.
    """

    entities: dict[str, str]
    parts: tuple[str, ...]
    images: tuple[Path, ...]
    sidecars: tuple[dict[str, Any], ...]

    @property
    def label(self) -> str:
        """The run as its file names begin."""
        return run_label(self.entities)


def find_stacks(
    bids_dir: str | Path,
    *,
    participants: Collection[str] | None = None,
    sessions: Collection[str] | None = None,
) -> list[Stack]:
    """Return the 4-D runs of a dataset; most have none, which costs a listing of folders.

    Parameters
    ----------
    bids_dir : path
        Root of the dataset.
    participants, sessions : collection of str, optional
        Labels without ``sub-`` and ``ses-``; default all.
    """
    root = Path(os.path.abspath(bids_dir))
    labels = list_participants(root, participants)
    wanted = [label for label in labels if _has_stack(root / f"sub-{label}")]
    if not wanted:
        return []
    sidecars: list[BidsFile] = []
    groups: dict[str, dict[str, BidsFile]] = defaultdict(dict)
    for file in index_files(root, wanted):
        if file.path.suffix == ".json":
            sidecars.append(file)
        elif _STACK.fullmatch(file.path.name) and (
            sessions is None or file.entities.get("session") in sessions
        ):
            groups[run_label(file.naming)][file.naming["part"]] = file
    inherited, stacks = Sidecars(sidecars), []
    for _, parts in sorted(groups.items()):
        pair = next((pair for pair in _PAIRS if set(pair) <= set(parts)), None)
        if pair is None:
            continue  # the search for runs says what is missing
        files = [parts[part] for part in pair]
        try:
            raise_if_not_fetched(file.path for file in files)
            metadata = tuple(inherited.of(file) for file in files)
        except (NoRunError, NotFetchedError):  # the search for runs says so
            continue
        entities = {k: files[0].naming[k] for k in RUN_ENTITIES if k in files[0].naming}
        stacks.append(Stack(entities, pair, tuple(file.path for file in files), metadata))
    return stacks


def echo_names(stack: Stack, echo_times: Sequence[float] | None = None) -> list[str]:
    """Return the names that the echoes get, without extension; of each echo, both parts.

    Parameters
    ----------
    stack : Stack
    echo_times : sequence of float, optional
        Instead of the sidecars' [s].

    Raises
    ------
    InputError
        A file cannot be read, or has coils.
    MetadataError
        There is not one echo time for each volume.
    """
    _check(stack, echo_times)
    times = _echo_times(stack, echo_times)
    return [
        f"{stack.label}_echo-{echo}_part-{part}_MEGRE"
        for echo in range(1, len(times) + 1)
        for part in stack.parts
    ]


def split_stack(
    stack: Stack, bids_dir: str | Path, *, echo_times: Sequence[float] | None = None
) -> list[Path]:
    """Write one file per echo and part into a raw dataset, which is made if it does not exist.

    The stored numbers, slope and intercept stay as they are.

    Parameters
    ----------
    stack : Stack
    bids_dir : path
        Root of the dataset to write.
    echo_times : sequence of float, optional
        Instead of the sidecars' [s].

    Returns
    -------
    list of Path
        The images.

    Raises
    ------
    InputError
        See :func:`echo_names`.
    OutputError
        The dataset cannot be written, or other images of these names are there.
    """
    names, times = echo_names(stack, echo_times), _echo_times(stack, echo_times)

    def write(folder: Path) -> list[Path]:
        staged: list[Path] = []
        for part, image, sidecar in zip(stack.parts, stack.images, stack.sidecars, strict=True):
            for echo, volume in enumerate(volumes_of(image)):
                stem = folder / names[echo * len(stack.parts)]
                stem = stem.with_name(re.sub("_part-[a-z]+_", f"_part-{part}_", stem.name))
                content = {**sidecar, "EchoTime": times[echo], "EchoNumber": echo + 1}
                if part == "phase":
                    content.setdefault("Units", "arbitrary")
                staged.append(write_json(stem.with_name(stem.name + ".json"), content))
                staged.append(stem.with_name(stem.name + ".nii.gz"))
                volume.to_filename(staged[-1])
        return staged

    return add_run(bids_dir, stack.entities, names, write, source="the 4-D file was")


def _has_stack(person: Path) -> bool:
    folders = [person / "anat", *person.glob("ses-*/anat")]
    return any(
        _STACK.fullmatch(name)
        for folder in folders
        if folder.is_dir()
        for name in os.listdir(folder)
    )


def _check(stack: Stack, echo_times: Sequence[float] | None) -> None:
    """Refuse what is not one volume per echo."""
    n_echoes = len(_echo_times(stack, echo_times))
    for path in stack.images:
        shape = _shape(path)
        if len(shape) > 4:
            raise InputError(
                f"has the shape {shape}: beside the echoes, receive coils or repetitions",
                str(path),
                "Combine the coils first, with their phase: by the scanner, MCPC-3D-S or ASPIRE.",
            )
        n_volumes = shape[3] if len(shape) == 4 else 1
        if n_volumes != n_echoes:
            raise MetadataError(
                f"has {n_volumes} volumes for {n_echoes} echo times",
                str(path),
                "List one EchoTime [s] per volume in the sidecar, or give them with --echo-times."
                " If the volumes are receive coils, combine them first, with their phase.",
            )


def _shape(path: Path) -> tuple[int, ...]:
    """Return the shape without further dimensions of one."""
    raise_if_not_fetched(path)
    try:
        shape = [int(n) for n in nib.load(path).shape]
    except (OSError, ValueError, ImageFileError) as error:
        raise InputError(f"cannot be read ({error})", str(path)) from error
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _echo_times(stack: Stack, echo_times: Sequence[float] | None) -> list[float]:
    """Return the echo times [s], of the command line or of the first sidecar that lists them."""
    listed = [echo_times, *(sidecar.get("EchoTime") for sidecar in reversed(stack.sidecars))]
    if echo_times is None and (conflict := contradiction(*reversed(stack.sidecars))) is not None:
        key, one, two = conflict
        raise MetadataError(
            f"the two parts have the {key} {two} and {one}",
            str(stack.images[-1]),
            "Correct the sidecars, or give the echo times with --echo-times.",
        )
    for times in listed:
        numbers = [as_number(t) for t in times] if isinstance(times, list | tuple) else [None]
        if None not in numbers:
            return [float(t) for t in numbers if t is not None]
    raise MetadataError(
        "is one file for all echoes, without a list of their times",
        str(stack.images[-1]),
        "List one EchoTime [s] per volume in the sidecar, or give them with --echo-times.",
    )


def volumes_of(path: Path) -> list[Any]:
    """Return one image per volume, with the numbers as they are stored."""
    image = nib.load(path)
    try:
        stored = np.asarray(image.dataobj.get_unscaled())
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"is truncated or damaged ({error})", str(path)) from error
    stored = stored.reshape((*stored.shape[:3], -1))
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    volumes = []
    for number in range(stored.shape[3]):
        volume = nib.Nifti1Image(stored[..., number], image.affine, image.header)
        volume.header.set_slope_inter(slope, intercept)
        volumes.append(volume)
    return volumes
