"""What to bear in mind when a map is interpreted (section 9.1.6), as far as it holds for a run."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from qsmbids.reports.paper.settings_in_force import looked_up, ran

__all__ = ["Caveat", "interpretation"]

#: Field strength above which the paper warns of fibres across the main field [T].
_HIGH_FIELD = 3.0
#: "3 T" is a little more on some scanners.
_ABOVE = 1.1

#: Background removals whose field is known, but less well, up to the rim of their mask.
_TO_THE_RIM = ("PDF", "LBV", "V-SHARP")


class Caveat(NamedTuple):
    """One limit of a map.

    Attributes
    ----------
    topic : str
    text : str
        One or two sentences.
    """

    topic: str
    text: str


def interpretation(
    record: Mapping[str, Any] | None, b0_tesla: float | None = None
) -> tuple[Caveat, ...]:
    """Return the limits of the map of a run; none where the run made no map.

    Parameters
    ----------
    record : mapping, optional
        Sidecars of the run; None for one that is planned.
    b0_tesla : float, optional
    """
    found = record or {}
    if record is not None and not ran(found, "invert_dipole_field"):
        return ()
    caveats = [_fibres(b0_tesla), _surface(found), _smoothing(found), _reference(found)]
    if isinstance(times := found.get("EchoTime"), list) and len(times) == 1:
        text = (
            "With one echo the phase at echo time zero could not be told from the field, and"
            " part of it is in the map."
        )
        caveats.append(Caveat("single echo", text))
    return tuple(c for c in caveats if c.text)


def _fibres(b0_tesla: float | None) -> Caveat:
    text = (
        "The field that water in and around myelinated fibres feels depends on their angle to"
        " the main field and on TE and TR, so that a change of the structure of myelin may change"
        " values without a change of susceptibility."
    )
    if b0_tesla is not None and b0_tesla > _ABOVE * _HIGH_FIELD:
        text += (
            f" At {b0_tesla:.3g} T, values in and around fibres across the main field need"
            " particular caution."
        )
    return Caveat("fibre orientation", text)


def _surface(record: Mapping[str, Any]) -> Caveat:
    name = str(looked_up(record, "BackgroundRemoval.Name") or "")
    text = (
        "Values near the surface of the brain may be wrong or have less contrast, because the"
        " phase there is less reliable"
    )
    if name == "given":
        text += ", and what was removed with the background is not known, as the field was given."
    elif name and name not in _TO_THE_RIM:
        text += f" and part of the tissue's field went with the background ({name})."
    else:
        text += " and part of the tissue's field was removed with the background."
    return Caveat("surface of the brain", text)


def _smoothing(record: Mapping[str, Any]) -> Caveat:
    name = str(looked_up(record, "DipoleInversion.Name") or "")
    if name == "TKD":
        text = (
            "Division in k-space leaves streaks and underestimates susceptibility; features that"
            " follow the dipole pattern may be artefacts."
        )
    elif name == "closed-form L2":
        text = "The penalty smooths edges: small structures may be lost or too faint."
    elif name.startswith("MEDI"):
        text = (
            "Regularisation may smooth the map, and edges of the magnitude that it takes as"
            " known may be brought into it; detail that phase or magnitude show may be lost."
        )
    else:
        text = (
            "Regularisation may smooth the map; detail that phase or magnitude show may be lost."
        )
    return Caveat("regularisation", text)


def _reference(record: Mapping[str, Any]) -> Caveat:
    """Return the disadvantages of the reference region (Table 2)."""
    region = str(record.get("MainReference") or "")
    texts = {
        "wholebrain": (
            "The mean of the brain, to which values are referenced, may itself be changed by age"
            " and pathology."
        ),
        "csf": (
            "The fluid to which values are referenced may be a small region, with partial volume,"
            " flow and choroid plexus in it."
        ),
        "whitematter": (
            "White matter, to which values are referenced, depends on the orientation of its"
            " fibres and may be changed by age and pathology."
        ),
        "internalcapsule": (
            "The internal capsule, to which values are referenced, is a small region; it depends"
            " on the orientation of its fibres and may be changed by pathology."
        ),
        "region": (
            "How pathology may affect the region to which values are referenced should be"
            " discussed."
        ),
        "none": "Values are not referenced and cannot be compared between scans.",
    }
    return Caveat("reference", texts.get(region, ""))
