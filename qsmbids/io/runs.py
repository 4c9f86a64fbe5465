"""Form runs from the files of a dataset: parts, echoes and inherited sidecars."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from qsmbids.io.fetched import raise_if_not_fetched
from qsmbids.io.stated import contradiction, is_stated

__all__ = ["RUN_ENTITIES", "SUFFIXES", "Problem", "Run", "run_entities", "run_label"]

#: Entities that a run may have, in the order of file names, with their short keys.
RUN_ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "run": "run",
    "chunk": "chunk",
}

SUFFIXES = ("MEGRE", "T2starw")

_PARTS = {"mag": "magnitude", "phase": "phase", "real": "real part", "imag": "imaginary part"}
#: Options that give what a sidecar may say.
_OVERRIDES = {"EchoTime": "--echo-times", "MagneticFieldStrength": "--field-strength"}
#: Keys of a magnitude sidecar that say nothing about the phase image.
_OF_THE_IMAGE = {"Units", "ImageType", "SeriesDescription", "SeriesNumber", "ImageComments"}


class Problem(NamedTuple):
    """A run that cannot be formed, and why.

    ``left_out`` marks what nobody may have asked for: its content is not here, or it is no scan
    for QSM.
    """

    where: str
    message: str
    left_out: bool = False


class NoRunError(Exception):
    """Some images do not make a run; the message says why and what to do."""


class NoPhaseError(NoRunError):
    """There are magnitude images alone."""


@dataclass(frozen=True)
class Run:
    """The images of one multi-echo acquisition, by rising echo number or echo time.

    Attributes
    ----------
    entities : dict
        Those present, under pybids' names, in the order of file names; all are strings, so
        that ``run`` and ``chunk`` keep their zeros.
    suffix : str
        "MEGRE" or "T2starw".
    echoes : tuple of int
        Echo numbers of the file names; (1,) where a single echo is not numbered.
    magnitude, phase : tuple of Path
        One file per echo; both empty for a run of real and imaginary images.
    sidecars : tuple of dict
        Metadata of the phase image (or the imaginary part) per echo, inherited values
        included; those of the magnitude fill the gaps.
    real, imag : tuple of Path
        One file per echo of a run that was exported as real and imaginary part.
    """

    entities: dict[str, str]
    suffix: str
    echoes: tuple[int, ...]
    magnitude: tuple[Path, ...]
    phase: tuple[Path, ...]
    sidecars: tuple[dict[str, Any], ...]
    real: tuple[Path, ...] = ()
    imag: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """The run as its file names begin: ``sub-01_ses-1_acq-x_run-1``."""
        return run_label(self.entities)

    @property
    def subject(self) -> str:
        """Participant label without ``sub-``."""
        return self.entities["subject"]

    @property
    def session(self) -> str | None:
        """Session label without ``ses-``, if there is one."""
        return self.entities.get("session")

    @property
    def images(self) -> tuple[Path, ...]:
        """All image files."""
        return (*self.magnitude, *self.phase, *self.real, *self.imag)


@dataclass(frozen=True)
class BidsFile:
    """An image or a sidecar, its place in the dataset and what its name says."""

    path: Path
    inside: PurePosixPath
    entities: dict[str, str]

    @property
    def suffix(self) -> str:
        """Last word of the name."""
        return self.entities.get("suffix", "")

    @cached_property
    def naming(self) -> dict[str, str]:
        """Entities that tell the files of one suffix apart."""
        skip = ("suffix", "extension", "datatype", "fmap", "scans")
        return {k: v for k, v in self.entities.items() if k not in skip}


class Sidecars:
    """The JSON files of a dataset, merged for an image by the inheritance principle."""

    def __init__(self, files: Iterable[BidsFile]) -> None:
        self._by_folder: dict[PurePosixPath, list[BidsFile]] = defaultdict(list)
        for file in files:
            self._by_folder[file.inside.parent].append(file)
        self._read: dict[Path, dict[str, Any]] = {}

    def of(self, image: BidsFile) -> dict[str, Any]:
        """Return the metadata of an image; what is nearer or more specific wins.

        Raises
        ------
        NoRunError
            A sidecar that applies cannot be read.
        """
        merged: dict[str, Any] = {}
        for folder in reversed(image.inside.parents):  # from the root of the dataset
            applicable = [
                file
                for file in self._by_folder.get(folder, [])
                if file.suffix == image.suffix and file.naming.items() <= image.naming.items()
            ]
            for file in sorted(applicable, key=lambda f: (len(f.naming), str(f.inside))):
                merged.update(self._content(file.path))
        return merged

    def _content(self, path: Path) -> dict[str, Any]:
        if path not in self._read:
            self._read[path] = _read_json(path)
        return self._read[path]


def form_run(
    images: Iterable[BidsFile],
    sidecars: Sidecars,
    complex_parts: bool,
    overridden: Collection[str] = (),
) -> Run | None:
    """Form one run from images that differ in echo and part alone.

    Parameters
    ----------
    images : iterable of BidsFile
    sidecars : Sidecars
        All sidecars of the dataset.
    complex_parts : bool
        Accept real and imaginary images.
    overridden : collection of str
        Keys of the sidecars that the user gives in another way.

    Returns
    -------
    Run or None
        None for an ordinary T2*-weighted image, which has no phase and asks for no QSM.

    Raises
    ------
    NoRunError
        The images are not a complete run.
    NotFetchedError
        The content of a sidecar is not here.
    """
    images = list(images)
    first = images[0]
    foreign = sorted(set(first.naming) - set(RUN_ENTITIES) - {"echo", "part"})
    if foreign:
        raise NoRunError(
            f"images with the entity {', '.join(foreign)} are not supported; say it with acq- "
            "instead (acq-flip2, for example), so that each series is a run"
        )
    parts = _by_part(images)
    if first.suffix == "T2starw" and set(parts) == {""}:
        return None
    if "mag" not in parts and "" in parts:
        parts["mag"] = parts.pop("")  # by convention, an image without a part is a magnitude
    pair = _pair(parts, complex_parts)
    echoes = _common_echoes(parts, pair)
    merged = []
    for echo in echoes:
        phase_like = sidecars.of(parts[pair[1]][echo])
        other = sidecars.of(parts[pair[0]][echo])
        _check_parts(echo, phase_like, other, overridden)
        kept = {k: v for k, v in other.items() if k not in _OF_THE_IMAGE and "Philips" not in k}
        own = {k: v for k, v in phase_like.items() if k not in kept or is_stated(v)}
        merged.append({**kept, **own})
    files = {part: tuple(parts[part][echo].path for echo in echoes) for part in pair}
    return Run(
        entities={k: first.naming[k] for k in RUN_ENTITIES if k in first.naming},
        suffix=first.suffix,
        echoes=echoes,
        magnitude=files.get("mag", ()),
        phase=files.get("phase", ()),
        sidecars=tuple(merged),
        real=files.get("real", ()),
        imag=files.get("imag", ()),
    )


def run_label(entities: Mapping[str, str]) -> str:
    """Return the entities of a run as file names begin."""
    return "_".join(f"{short}-{entities[k]}" for k, short in RUN_ENTITIES.items() if k in entities)


def run_entities(label: str) -> dict[str, str] | None:
    """Return the entities that :func:`run_label` was made of, None where it is no such label.

    Examples
    --------
    >>> run_entities("sub-01_ses-a_run-02")
    {'subject': '01', 'session': 'a', 'run': '02'}
    """
    names = {short: name for name, short in RUN_ENTITIES.items()}
    entities = {}
    for part in label.split("_"):
        short, dash, value = part.partition("-")
        if not dash or short not in names or not re.fullmatch("[a-zA-Z0-9+]+", value):
            return None
        entities[names[short]] = value
    return entities if "subject" in entities else None


def _by_part(images: list[BidsFile]) -> dict[str, dict[int, BidsFile]]:
    """Sort images by part ("" where none is given) and echo number."""
    parts: dict[str, dict[int, BidsFile]] = defaultdict(dict)
    numbered = {"echo" in image.naming for image in images}
    if len(numbered) == 2:
        raise NoRunError("some of the images have an echo number and others have none")
    for image in images:
        if image.suffix == "MEGRE" and "echo" not in image.naming:
            raise NoRunError(
                f"{image.path.name} has no echo number; BIDS wants one 3-D file per echo, named "
                "echo-1, echo-2 and so on, so split a 4-D file (a pair of 4-D files with both "
                "parts is split for you, unless you say --no-convert)"
            )
        echo = int(image.naming.get("echo", 1))
        of_part = parts[image.naming.get("part", "")]
        if echo in of_part:
            raise NoRunError(
                f"{of_part[echo].path.name} and {image.path.name} are the same echo; remove one"
            )
        of_part[echo] = image
    return parts


def _pair(parts: Mapping[str, dict[int, BidsFile]], complex_parts: bool) -> tuple[str, str]:
    """Return which two parts make the run."""
    if "mag" in parts and "phase" in parts:
        return "mag", "phase"
    if "real" in parts and "imag" in parts:
        if complex_parts:
            return "real", "imag"
        raise NoRunError(
            "only real and imaginary parts were found; convert them to part-mag and part-phase"
        )
    if "phase" in parts:
        raise NoRunError("the phase images have no magnitude; add the part-mag images")
    if "mag" in parts:
        raise NoPhaseError("the magnitude images have no phase; QSM needs the part-phase images")
    here = next(_PARTS[p] for p in ("real", "imag") if p in parts)
    raise NoRunError(f"only the {here} was found; add the other part")


def _common_echoes(
    parts: Mapping[str, dict[int, BidsFile]], pair: tuple[str, str]
) -> tuple[int, ...]:
    """Return the echo numbers, which must be the same for both parts."""
    a, b = (set(parts[p]) for p in pair)
    if a != b:
        lacks = [
            f"no {_PARTS[part]} of echo {echo} ("
            + parts[other][echo].path.name.replace(f"part-{other}", f"part-{part}")
            + ")"
            for part, other, missing in ((*pair, b - a), (pair[1], pair[0], a - b))
            for echo in sorted(missing)
        ]
        raise NoRunError(
            f"there is {' and '.join(lacks)}; add the images, or name the echoes to use in a "
            "BIDS filter file"
        )
    return tuple(sorted(a))


def _check_parts(
    echo: int,
    ours: Mapping[str, Any],
    other: Mapping[str, Any],
    overridden: Collection[str],
) -> None:
    """Refuse two parts of one echo that were not acquired together."""
    conflict = contradiction(ours, other, overridden)
    if conflict is not None:
        key, one, two = conflict
        option = _OVERRIDES.get(key)
        raise NoRunError(
            f"the two parts of echo {echo} have the {key} {two} and {one}; correct the sidecars, "
            "or the echo numbers of the files" + (f", or give it with {option}" if option else "")
        )


def _whole_number(text: str) -> int | float:
    """Return a number of 300 digits and more as what 1e999 is, so that it can be computed with."""
    number = int(text)
    try:
        float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    return number


def _read_json(path: Path) -> dict[str, Any]:
    raise_if_not_fetched(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise NoRunError(
            f"{path}: malformed JSON in line {error.lineno}, column {error.colno} ({error.msg}); "
            "correct the file"
        ) from error
    except UnicodeDecodeError as error:
        raise NoRunError(f"{path}: the text is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, 100 000 brackets
        raise NoRunError(f"{path}: no sensible JSON ({error}); correct the file") from error
    except OSError as error:
        raise NoRunError(f"{path}: the sidecar cannot be read ({error.strerror})") from error
    if not isinstance(content, dict):
        raise NoRunError(f"{path}: the sidecar must hold one JSON object; correct the file")
    return content
