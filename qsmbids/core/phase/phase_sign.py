"""Whether the phase of a scanner grows or falls with the field."""

from typing import NamedTuple

__all__ = ["PhaseSign", "phase_sign"]

#: Vendors whose phase falls as the field grows: GE for certain (S2 step 1), the others by the
#: sign that the MEDI toolbox gives their readers, which may depend on the software version.
_FALLING = {
    "ge": True,
    "general electric": True,
    "uih": False,
    "united imaging": False,
    "hitachi": False,
    "fujifilm": False,
    "toshiba": False,
    "canon": False,
}


class PhaseSign(NamedTuple):
    """The factor that makes phase grow as +2 pi f TE, and where it comes from."""

    sign: int
    reason: str
    warning: str


def phase_sign(choice: str = "auto", manufacturer: str = "") -> PhaseSign:
    """Return the sign that makes paramagnetic susceptibility positive.

    Parameters
    ----------
    choice : {"auto", "+1", "-1"}
        A sign given by the user wins.
    manufacturer : str
        ``Manufacturer`` of the sidecar.

    Raises
    ------
    ValueError
        Unknown choice.

    References
    ----------
    Consensus paper, Supplementary II, step 1: GE phase is inverted, Siemens and Philips are not.

    Examples
    --------
    >>> phase_sign("auto", "GE MEDICAL SYSTEMS").sign
    -1
    >>> phase_sign("auto", "Siemens").sign
    1
    """
    if choice in ("+1", "-1"):
        return PhaseSign(int(choice), "given by the user", "")
    if choice != "auto":
        raise ValueError(f"unknown phase sign '{choice}'")
    name = manufacturer.strip().lower()
    if not name:
        return PhaseSign(
            1,
            "no Manufacturer in the sidecar",
            "the sidecar names no Manufacturer: the phase is taken to grow with the field;"
            " if veins come out dark, run again with --phase-sign=-1",
        )
    # by whole words: "CANON_MEC", "Shanghai United Imaging Healthcare", but not "Generic"
    words = " ".join("".join(c if c.isalnum() else " " for c in name).split())
    for vendor, certain in _FALLING.items():
        if f" {vendor} " in f" {words} ":
            warning = (
                ""
                if certain
                else f"the phase of {manufacturer} is inverted by convention, which may depend on"
                " the software version; if veins come out dark, run again with --phase-sign=+1"
            )
            return PhaseSign(-1, f"convention of {manufacturer}", warning)
    return PhaseSign(1, f"convention of {manufacturer}", "")
