"""Whether the scanner high-pass filtered the phase, as for SWI: by its header and its numbers.

Filtered phase lacks most of the field. Some headers say so in words; others only tell that the
sequence is one whose phase is filtered as a rule, and the numbers must decide.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qsmbids.core.phase.magnitude import signal_mask
from qsmbids.core.phase.phase_checks import PhaseCheck, detect_filtered_phase, tells_filter
from qsmbids.core.phase.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.errors import InputError
from qsmbids.io.nifti import read_volume
from qsmbids.io.recognition import Candidate, image_type

__all__ = [
    "ACCEPT",
    "FILTER_KEY",
    "NOTE_KEY",
    "TOO_EARLY",
    "FilterEvidence",
    "filter_evidence",
    "filter_found",
    "measure_filter",
    "phase_choice",
    "refusal",
]

#: In a sidecar: whether the phase was filtered by the scanner, and what is known of it.
FILTER_KEY, NOTE_KEY = "PhaseFilterApplied", "PhaseFilterNote"
ACCEPT = "--accept-filtered-phase"
TOO_EARLY = PhaseCheck(float("nan"), None, "the echoes are too early to tell")

_FILTERED = re.compile(
    r"(?<![a-z])filt(?:er(?:ed|ing)?)?(?![a-z])|high[\W_]?pass|(?<![a-z])hpf?(?![a-z])"
)
#: "unfiltered", "not filtered", "no filter", "filter off", "nofilt", "raw": the opposite.
_UNFILTERED = re.compile(
    r"(?<![a-z])(?:un|non?|not|without|w/?o)[\W_]*(?:(?:swi|phase|pha)[\W_]*)?"
    r"(?:(?:filt\w*|high[\W_]?pass\w*|hpf?(?![a-z]))[\W_]*)+"
    r"|filt[a-z]*[\W_]*(?:off|none|no)(?![a-z])"
)
#: Sequences whose product filters the phase unless told otherwise.
_PRODUCT = re.compile(r"\*?swi\dd1r")


class FilterEvidence(NamedTuple):
    """What a header says of a filter.

    Attributes
    ----------
    text : str
    certain : bool
        The header says that this image is filtered; otherwise, that images of its kind are.
    """

    text: str
    certain: bool


def filter_evidence(sidecar: Mapping[str, Any]) -> FilterEvidence | None:
    """Return what tells that a phase image was filtered, None if nothing does.

    Parameters
    ----------
    sidecar : mapping
        Of the phase image; ``PhaseFilterApplied`` decides, if it is there.

    Examples
    --------
    >>> filter_evidence({"SeriesDescription": "FILT_PHA: Ax SWAN"}).certain
    True
    >>> filter_evidence({"SequenceName": "*swi3d1r", "SeriesDescription": "Pha_unfiltered"})
    """
    stated = sidecar.get(FILTER_KEY)
    if isinstance(stated, bool):
        note = str(sidecar.get(NOTE_KEY) or f"{FILTER_KEY} is true")
        return FilterEvidence(note, True) if stated else None
    words = image_type(dict(sidecar))
    names = [str(sidecar.get(key) or "") for key in ("SeriesDescription", "ProtocolName")]
    text = " ".join([*names, *words]).lower()
    if match := _FILTERED.search(_UNFILTERED.sub(" ", text)):
        where = next((name for name in names if match[0] in name.lower()), "")
        said = f"the series is called '{where}'" if where else f"ImageType says {match[0].upper()}"
        return FilterEvidence(said, True)
    if _UNFILTERED.search(text):
        return None
    sequences = [str(sidecar.get(key) or "") for key in ("SequenceName", "PulseSequenceName")]
    product = next((name for name in sequences if _PRODUCT.match(name.lower())), "")
    if "pha_images" in text:
        return FilterEvidence("the series is called Pha_Images, as those of SWI are", False)
    if product:
        return FilterEvidence(f"the sequence is that of SWI ({product})", False)
    if "SWI" in words:
        return FilterEvidence("ImageType says SWI", False)
    return None


def phase_choice(sidecar: Mapping[str, Any]) -> str:
    """Return what the conversion noted where the scanner saved phase with and without a filter."""
    return "" if sidecar.get(FILTER_KEY) is not False else str(sidecar.get(NOTE_KEY) or "")


def filter_found(evidence: str, certain: bool, check: PhaseCheck) -> str:
    """Return why phase counts as filtered by its header and its numbers, "" if it does not.

    Parameters
    ----------
    evidence : str
        What the header says of a filter.
    certain : bool
        It says so of this image.
    check : PhaseCheck
        Of :func:`qsmbids.core.phase.phase_checks.detect_filtered_phase`.
    """
    if certain:
        return evidence
    if check.suspicious:
        return check.text
    return f"{evidence}, and {check.text}" if evidence and check.suspicious is None else ""


def refusal(evidence: str) -> tuple[str, str]:
    """Return what is wrong with filtered phase, and what to do."""
    return (
        f"holds phase filtered by the scanner ({evidence}): it lacks most of the field",
        f"Export the phase without the filter, or accept small values with {ACCEPT}. If it is not"
        f' filtered, say so in its sidecar: "{FILTER_KEY}": false',
    )


def measure_filter(phase: Sequence[Candidate], magnitude: Sequence[Candidate]) -> PhaseCheck:
    """Look at converted images of the last echo of a series.

    Parameters
    ----------
    phase : sequence of Candidate
        All echoes of a series.
    magnitude : sequence of Candidate
        Of any series; one of the same echo and grid says where the head is.

    Returns
    -------
    PhaseCheck
        ``suspicious`` is None where nothing can be told.
    """
    last = max(phase, key=lambda c: c.echo_time)
    field = last.number("MagneticFieldStrength") or 0.0
    partner = next((m for m in magnitude if _is_partner(m, last)), None)
    if partner is None or not tells_filter(last.echo_time, field):
        return PhaseCheck(float("nan"), None, "its echoes are too early to tell, or alone")
    try:
        image, strength = read_volume(last.image.path), read_volume(partner.image.path)
        statistics = phase_statistics([read_volume(c.image.path).array for c in phase])
        scale = detect_phase_scale(statistics, image_type=image_type(last.image.sidecar))
        return detect_filtered_phase(
            to_radians(image.array, scale),
            strength.array,
            signal_mask(strength.array),
            image.adult_voxel_size,
        )
    except (ValueError, InputError) as error:
        return PhaseCheck(float("nan"), None, str(error))


def _is_partner(magnitude: Candidate, phase: Candidate) -> bool:
    same = magnitude.shape == phase.shape and magnitude.slot[1] == phase.slot[1]
    return same and bool((abs(magnitude.affine - phase.affine) < 1e-2).all())
