"""The single images within DICOM files, and the slices that are missing among them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Frame", "frames_of", "is_map", "missing_slices", "n_positions"]

#: Positions that are nearer to each other are those of one slice [mm].
_SAME_MM = 0.05
#: GE keeps in a number what other vendors write into ImageType.
_GE_KIND = (0x0043, 0x102F)
_QUANTITY = r"(?:FIELD|[TR][12](?:[ _]?STAR|[*])?|B[01]|ADC|FAT[ _]FRACTION)"
_MAP = re.compile(rf"{_QUANTITY}[ _]?MAP|QUANTITY")
_DERIVED_MAP = re.compile(rf"{_QUANTITY}(?:[ _]?MAP)?")


@dataclass(frozen=True)
class Frame:
    """One image: a classic file is one, an enhanced file holds many.

    Attributes
    ----------
    echo_time : float
        [ms]; 0 where there is none, as in calculated maps.
    component : str
        MAGNITUDE, PHASE, REAL or IMAGINARY of enhanced images, else "".
    kind : str
        All that the header says about the kind of image.
    orientation : tuple of float
        Directions of rows and columns, () if unknown.
    position : float or None
        Along the normal of the slice [mm].
    """

    echo_time: float
    component: str
    kind: str
    orientation: tuple[float, ...]
    position: float | None

    @property
    def derived(self) -> bool:
        """Whether it was made from other images."""
        return self.kind.startswith("DERIVED")

    @property
    def calculated(self) -> bool:
        """Whether it is a map, for it has no echo time or says so."""
        return self.echo_time <= 0 or is_map(self.kind.split("\\"))


def is_map(image_type: Iterable[str]) -> bool:
    """Tell by the words of ImageType (upper case) whether an image is a map, not an echo.

    The weighting of an original image is named like the map of a derived one: ``T2_STAR``.
    """
    words = list(image_type)
    pattern = _DERIVED_MAP if "DERIVED" in words else _MAP
    return any(_MAP.fullmatch(word) or pattern.fullmatch(word) for word in words)


def frames_of(header: Any) -> list[Frame]:
    """Return the frames of one DICOM dataset.

    Parameters
    ----------
    header : pydicom.Dataset

    Returns
    -------
    list of Frame
        One for a classic image.

    Raises
    ------
    ValueError, TypeError
        A number is none.
    """
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        ge = header.get(_GE_KIND)
        kind = _words(header.get("ImageType"), "" if ge is None else f"GE{ge.value}")
        return [_frame(header.get("EchoTime"), "", kind, header, header)]
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = []
    for item in per_frame:
        echo = _first(item, shared, "MREchoSequence")
        kind = _first(item, shared, "MRImageFrameTypeSequence")
        te = header.get("EchoTime") if echo is None else echo.get("EffectiveEchoTime")
        component = "" if kind is None else str(kind.get("ComplexImageComponent") or "")
        words = _words(None if kind is None else kind.get("FrameType"), component)
        plane = _first(item, shared, "PlaneOrientationSequence")
        place = _first(item, shared, "PlanePositionSequence")
        frames.append(_frame(te, component, words, plane, place))
    return frames


def _frame(te: Any, component: str, kind: str, plane: Any, place: Any) -> Frame:
    axes = None if plane is None else plane.get("ImageOrientationPatient")
    origin = None if place is None else place.get("ImagePositionPatient")
    orientation: tuple[float, ...] = ()
    position = None
    if axes is not None and origin is not None and len(axes) == 6 and len(origin) == 3:
        directions = np.array([float(v) for v in axes])
        normal = np.cross(directions[:3], directions[3:])
        position = float(normal @ [float(v) for v in origin])
        orientation = tuple(float(v) + 0.0 for v in np.round(directions, 2))
    time = float(te or 0)
    if not np.isfinite(time) or (position is not None and not np.isfinite(position)):
        raise ValueError("an echo time or position is no number")
    return Frame(round(time, 3), component, kind, orientation, position)


def _words(tokens: Any, *more: str) -> str:
    first = [tokens] if isinstance(tokens, str) else list(tokens or ())
    return "\\".join(str(token).upper() for token in (*first, *more) if token)


def _first(frame: Any, shared: Any, name: str) -> Any:
    """Return an item of a functional group, of this frame or of all."""
    for group in (frame, shared):
        if group is not None and group.get(name):
            return group.get(name)[0]
    return None


def n_positions(frames: Sequence[Frame]) -> int:
    """Return how many slices there are, 0 if that is unknown or they are of several stacks."""
    chosen = [f for f in frames if not f.calculated] or frames
    chosen = [f for f in chosen if not f.derived] or chosen
    if not chosen or len({f.orientation for f in chosen}) != 1 or not chosen[0].orientation:
        return 0
    return len(_slices(chosen))


def _slices(frames: Iterable[Frame]) -> list[float]:
    """Return the positions that differ, by rising value."""
    out: list[float] = []
    for position in sorted(f.position for f in frames if f.position is not None):
        if not out or position - out[-1] > _SAME_MM:
            out.append(position)
    return out


def missing_slices(frames: Sequence[Frame]) -> str:
    """Say which slices of a series are not there.

    Parameters
    ----------
    frames : sequence of Frame
        All of the series; those of calculated maps do not count.

    Returns
    -------
    str
        "" if every echo and part has the same slices, evenly spaced.
    """
    stacks: dict[Any, dict[Any, list[Frame]]] = defaultdict(lambda: defaultdict(list))
    for f in frames:
        if f.orientation and not f.calculated:
            stacks[f.orientation, f.derived][f.echo_time, f.kind].append(f)
    for groups in stacks.values():
        reason = _absent(groups) or _gap(_slices(f for group in groups.values() for f in group))
        if reason:
            return f"{reason}; get the missing files"
    return ""


def _absent(groups: dict[tuple[float, str], list[Frame]]) -> str:
    """Say which slice an echo or part lacks that another has."""
    every = _slices(f for group in groups.values() for f in group)
    for (te, _), group in sorted(groups.items()):
        own = np.array(_slices(group))
        lost = [n for n, z in enumerate(every, 1) if np.abs(own - z).min() > _SAME_MM]
        if not lost:
            continue
        n_images = sum(len(g) for g in groups.values())
        n_echoes = len({key[0] for key in groups})
        n_parts = len(groups) // n_echoes
        parts = f" and {n_parts} parts" if n_parts > 1 else ""
        numbers = ", ".join(str(n) for n in lost[:5]) + (" ..." if len(lost) > 5 else "")
        return (
            f"{n_images} images, but {len(every)} slices of {n_echoes} echo(es){parts} are"
            f" {len(every) * len(groups)}: of the echo at {te:g} ms slice {numbers} of"
            f" {len(every)} is missing"
        )
    return ""


def _gap(positions: Sequence[float]) -> str:
    """Say where slices are further apart than elsewhere."""
    steps = np.diff(positions)
    if len(steps) < 3:
        return ""
    usual, worst = float(np.median(steps)), int(np.argmax(steps))
    if steps[worst] < 1.5 * usual:
        return ""
    lost = max(1, round(float(steps[worst]) / usual) - 1)
    return (
        f"{len(positions)} slices {usual:.4g} mm apart, but {steps[worst]:.4g} mm from slice"
        f" {worst + 1} to the next: {lost} slice(s) between them are missing"
    )
