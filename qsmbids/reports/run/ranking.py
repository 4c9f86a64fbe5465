"""Which of the points of a run comes first, and what to do about each."""

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["worst_first"]


class _Kind(NamedTuple):
    """Points that a pattern finds: how bad they are (0 is worst) and what helps."""

    pattern: str
    rank: int
    cure: str


#: The first pattern that is found in a point decides.
_KINDS = tuple(
    _Kind(*kind)
    for kind in (
        (
            r"sign (may|is|of the phase)|inverted|MeanAtHighR2Star",
            0,
            "Look whether veins are bright; if not, run again with the other --phase-sign.",
        ),
        (
            r"Mask 1|BrainVolume|the mask (covers|lies)|given mask",
            1,
            "Look at the outline of Mask 1, and give a mask with --mask if it is wrong.",
        ),
        (
            r"unwrap|WrapJumps|fringe|coils|filtered|interpolat|phase holds|PhaseCoverage"
            r"|echo[ -]?times?|readout|echoes contradict",
            1,
            "Look at the phase images, and export or convert them again.",
        ),
        (
            r"streak|shadow|background|RimDifference|Removed|ChannelFraction|RimLow|RimHigh",
            2,
            "Look at the map and at the rim of Mask 3.",
        ),
        (
            r"reference|CSF",
            3,
            "Use the map under another reference beside it.",
        ),
        (
            r"region|template|T1w|segmentation|lesion|label",
            3,
            "Give the regions with --segmentation.",
        ),
        (r"noise|snr|voxels of|slab|single echo|ghost", 4, "Acquire anew after section 2."),
        (r"^\d+\.[a-z]\b|^S\d", 5, ""),
    )
)
_USUAL = _Kind("", 3, "Look at the map before it is used.")
#: Words with which a point says itself what to do.
_SAYS_SO = re.compile(
    r"\b(look|check|give|try|use|export|erode|regularise|acquire|install|reduce|close|prefer|"
    r"reconstruct|find|run again|leave|keep|state|report|subtract|choose|compare|larger|smaller|"
    r"see|correct|set|make|do not)\b",
    re.IGNORECASE,
)


def worst_first(points: Sequence[str]) -> list[str]:
    """Return the points in the order of how much they matter, each with what to do.

    Points that matter alike stay in their order.

    Examples
    --------
    >>> worst_first(["the slab is thin: see the map", "the sign is unlike: check it"])
    ['the sign is unlike: check it', 'the slab is thin: see the map']
    """
    kinds = [next((k for k in _KINDS if re.search(k.pattern, p, re.I)), _USUAL) for p in points]
    order = sorted(range(len(points)), key=lambda n: (kinds[n].rank, n))
    return [_with_cure(points[n], kinds[n].cure) for n in order]


def _with_cure(point: str, cure: str) -> str:
    if not cure or _SAYS_SO.search(point):
        return point
    return f"{point.rstrip('. ')}. {cure}"
