"""Within which limits a map agrees with the published one of the same pipeline.

The published maps were made by other programs: FSL's BET of the MEDI toolbox, ROMEO 3.5.6, SEPIA
1.2.2.4, FANSI 3 and the MEDI toolbox of January 2020. The presets repeat what these compute, but
the brain mask is found by another program, and everything after it depends on where the mask ends.
"""

from dataclasses import dataclass

from qsmbids.core.agreement import Agreement

__all__ = ["LIMITS", "NUCLEUS_PPM", "REASON", "Limit", "outside"]


@dataclass(frozen=True)
class Limit:
    """What two maps must reach to agree.

    Attributes
    ----------
    slope : tuple of float
        Least and greatest.
    correlation, xsim : float
        Least.
    nrmse : float
        Greatest.
    """

    slope: tuple[float, float]
    correlation: float
    nrmse: float
    xsim: float


#: By preset, then by map.
LIMITS: dict[str, dict[str, Limit]] = {
    "sepia-fansi": {
        "local field": Limit((0.90, 1.10), 0.95, 0.35, 0.90),
        "chi": Limit((0.85, 1.15), 0.90, 0.50, 0.70),
    },
    "sepia-medi": {
        "local field": Limit((0.90, 1.10), 0.95, 0.35, 0.90),
        "chi": Limit((0.85, 1.15), 0.90, 0.50, 0.70),
    },
}
#: Mean of a deep nucleus [ppm].
NUCLEUS_PPM = 0.02
REASON = "to be measured"


def outside(preset: str, name: str, found: Agreement, xsim: float | None) -> list[str]:
    """Return which limits a comparison misses, in words; none where the preset has no limits."""
    limit = LIMITS.get(preset, {}).get(name)
    if limit is None:
        return []
    low, high = limit.slope
    missed = []
    if not low <= found.slope <= high:
        missed.append(f"{name}: slope {found.slope:.3f}, limits {low:g} to {high:g}")
    if not found.correlation >= limit.correlation:
        missed.append(f"{name}: correlation {found.correlation:.3f}, least {limit.correlation:g}")
    if not found.nrmse <= limit.nrmse:
        missed.append(f"{name}: NRMSE {100 * found.nrmse:.1f} %, most {100 * limit.nrmse:g} %")
    if xsim is not None and not xsim >= limit.xsim:
        missed.append(f"{name}: XSIM {xsim:.3f}, least {limit.xsim:g}")
    return missed
