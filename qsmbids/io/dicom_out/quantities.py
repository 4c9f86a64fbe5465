"""What each map becomes in DICOM: quantity, unit, window, and the step of stored numbers."""

from dataclasses import dataclass

from qsmbids.core.reference.kinds import REFERENCES, UNREFERENCED
from qsmbids.io.dicom_out.anatomy import Concept

__all__ = [
    "NO_UNIT",
    "PER_SECOND",
    "PPM",
    "R2STAR",
    "SUSCEPTIBILITY",
    "Quantity",
    "quantity_of",
]

NO_UNIT = Concept("1", "UCUM", "no units")
PPM = Concept("[ppm]", "UCUM", "ppm")
PPB = Concept("[ppb]", "UCUM", "ppb")
PER_SECOND = Concept("/s", "UCUM", "1/s")


@dataclass(frozen=True)
class Quantity:
    """A kind of map.

    Attributes
    ----------
    title : str
        Short, for the description of the series.
    concept : Concept or None
        None for an image whose numbers mean nothing by themselves.
    unit : Concept
        Of the map as it is, which the Parametric Map keeps.
    stored_unit : Concept
        Of the rescaled numbers of classic images.
    factor : float
        From the one to the other.
    step : float
        Of stored numbers, in ``stored_unit``; larger where the map would not fit.
    window : tuple of float
        Black and white, in ``stored_unit``.
    image_type : tuple of str
        Third and fourth value of the type of classic images.
    contrast : str
        Derived pixel contrast of the Parametric Map.
    """

    title: str
    concept: Concept | None
    unit: Concept
    stored_unit: Concept
    factor: float
    step: float
    window: tuple[float, float]
    image_type: tuple[str, str]
    contrast: str = "QUANTITY"

    @property
    def window_name(self) -> str:
        """What a viewer calls the window."""
        unit = "" if self.stored_unit is NO_UNIT else f" {self.stored_unit.meaning}"
        return f"{self.window[0]:g} to {self.window[1]:g}{unit}"


SUSCEPTIBILITY = Concept("126396", "DCM", "Magnetic Susceptibility")
R2STAR = Concept("126395", "DCM", "R2*")

#: Maps of susceptibility by their ``desc`` entity; others are steps on the way.
_REFERENCES = {
    **{desc: f"zero: {kind.name}" for desc, kind in REFERENCES.items()},
    UNREFERENCED: "no reference",
}
_WEIGHTED = {
    "swi": ("SWI", False),
    "swimip": ("SWI, minimum projection", True),
    "smwi": ("SMWI", False),
    "smwimip": ("SMWI, minimum projection", True),
}


def quantity_of(suffix: str, desc: str, b0_tesla: float | None = None) -> Quantity | None:
    """Return what a map becomes, None for what is not for a viewer of images.

    Parameters
    ----------
    suffix, desc : str
        Of the file name.
    b0_tesla : float, optional
        Field strength [T], with which R2* grows; 3 where it is not known.

    Examples
    --------
    >>> quantity_of("Chimap", "csf").window
    (-200.0, 200.0)
    >>> quantity_of("Chimap", "passfilled") is None
    True
    """
    if suffix == "Chimap" and desc in _REFERENCES:
        return Quantity(
            f"Susceptibility, {_REFERENCES[desc]}",
            SUSCEPTIBILITY,
            PPM,
            PPB,
            1000.0,
            1.0,
            (-200.0, 200.0),
            ("OTHER", "QSM"),
        )
    if suffix == "R2starmap" and not desc:
        white = 20.0 * (b0_tesla or 3.0)
        return Quantity(
            "R2*", R2STAR, PER_SECOND, PER_SECOND, 1.0, 0.1, (0.0, white), ("OTHER", "R2_STAR")
        )
    if suffix == "T2starw" and desc in _WEIGHTED:
        title, minimum = _WEIGHTED[desc]
        return Quantity(
            title,
            None,
            NO_UNIT,
            NO_UNIT,
            1.0,
            0.001,
            (0.0, 1.5),
            ("PROJECTION IMAGE" if minimum else "OTHER", "SWI" if "SWI" in title else "SMWI"),
            "MINIMUM" if minimum else "NONE",
        )
    return None
