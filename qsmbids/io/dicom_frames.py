"""The single images within DICOM files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["COMPONENTS", "Frame", "frames_of", "is_map"]

#: GE keeps in a number what other vendors write into ImageType.
_GE_KIND = (0x0043, 0x102F)
_PARTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
#: Where Siemens (since XA11) and Philips keep the words of a classic ImageType: in an item of a
#: private sequence of the frame.
_INNER_TYPES = (((0x0021, 0x11FE), (0x0021, 0x1175)), ((0x2005, 0x140F), (0x0008, 0x0008)))
#: Words of ImageType that tell which part of the complex signal an image is.
COMPONENTS = {
    "M": "MAGNITUDE",
    "MAGNITUDE": "MAGNITUDE",
    "P": "PHASE",
    "PHASE": "PHASE",
    "R": "REAL",
    "REAL": "REAL",
    "I": "IMAGINARY",
    "IMAGINARY": "IMAGINARY",
}
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
        MAGNITUDE, PHASE, REAL or IMAGINARY; "" where the header does not tell.
    kind : str
        All that the header says about the kind of image.
    orientation : tuple of float
        Directions of rows and columns, () if unknown.
    position : float or None
        Along the normal of the slice [mm].
    place : int or None
        Number of the slice in its stack, from 1, of enhanced images.
    """

    echo_time: float
    component: str
    kind: str
    orientation: tuple[float, ...]
    position: float | None
    place: int | None = None

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
        component = _component(header, header, [header.get("ImageType")])
        ge = header.get(_GE_KIND)
        words = _words(header.get("ImageType"), "" if ge is None else f"GE{ge.value}")
        return [_frame(header.get("EchoTime"), component, words, header, header)]
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = []
    for item in per_frame:
        echo = _first(item, shared, "MREchoSequence")
        kind = _first(item, shared, "MRImageFrameTypeSequence")
        te = header.get("EchoTime") if echo is None else echo.get("EffectiveEchoTime")
        types = [None if kind is None else kind.get("FrameType"), *_inner_types(item, shared)]
        component = _component(header if kind is None else kind, item, types)
        plane = _first(item, shared, "PlaneOrientationSequence")
        place = _first(item, shared, "PlanePositionSequence")
        content = _first(item, shared, "FrameContentSequence")
        number = None if content is None else content.get("InStackPositionNumber")
        words = "\\".join(filter(None, map(_words, types)))
        frames.append(_frame(te, component, words, plane, place, number))
    return frames


def _inner_types(frame: Any, shared: Any) -> list[Any]:
    """Return the words of a classic ImageType that a frame has beside its own."""
    types = []
    for sequence, tag in _INNER_TYPES:
        for group in (frame, shared):
            element = None if group is None else group.get(sequence)
            inside = [] if element is None or element.VR != "SQ" else element.value
            if inside and (found := inside[0].get(tag)) is not None:
                types.append(found.value)
                break
    return types


def _component(stating: Any, numbering: Any, types: Iterable[Any]) -> str:
    """Return which part of the complex signal an image is, "" where nothing tells.

    A scanner that leaves the attribute out, or writes MIXED also into the frames, still tells by a
    number of its own (GE) or by the words of the type (Siemens, Philips and others).
    """
    stated = str(stating.get("ComplexImageComponent") or "").upper()
    if stated in _PARTS:
        return stated
    number = numbering.get(_GE_KIND)
    if number is not None and number.value in range(len(_PARTS)):
        return _PARTS[number.value]
    words = [word for tokens in types for word in _words(tokens).split("\\")]
    return next((COMPONENTS[word] for word in reversed(words) if word in COMPONENTS), "")


def _frame(
    te: Any, component: str, kind: str, plane: Any, place: Any, number: Any = None
) -> Frame:
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
    in_stack = None if number is None else int(number)
    kind = kind if component in kind.split("\\") else "\\".join(filter(None, [kind, component]))
    return Frame(round(time, 3), component, kind, orientation, position, in_stack)


def _words(tokens: Any, *more: str) -> str:
    first = [tokens] if isinstance(tokens, str) else list(tokens or ())
    return "\\".join(str(token).upper() for token in (*first, *more) if token)


def _first(frame: Any, shared: Any, name: str) -> Any:
    """Return an item of a functional group, of this frame or of all."""
    for group in (frame, shared):
        if group is not None and group.get(name):
            return group.get(name)[0]
    return None
