"""Within which limits a map agrees with the published one of the same pipeline.

The published maps were made by other programs: FSL's BET of the MEDI toolbox, ROMEO 3.5.6, SEPIA
1.2.2.4, FANSI 3 and the MEDI toolbox of January 2020. The presets repeat what these compute, but
the brain mask is found by another program, and everything after it depends on where the mask ends.
The limits are what that alone may do, and a little; :data:`REASON` has the numbers.
"""

from dataclasses import dataclass

from qsmbids.core.quality.agreement import Agreement

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


_FIELD = Limit(slope=(0.80, 1.20), correlation=0.93, nrmse=0.40, xsim=0.88)
#: By preset, then by map.
LIMITS: dict[str, dict[str, Limit]] = {
    "sepia-fansi": {
        "local field": _FIELD,
        "chi": Limit(slope=(0.80, 1.20), correlation=0.90, nrmse=0.50, xsim=0.60),
    },
    "sepia-medi": {
        "local field": _FIELD,
        "chi": Limit(slope=(0.70, 1.20), correlation=0.85, nrmse=0.60, xsim=0.50),
    },
}
#: How far off the mean of a deep nucleus may be [ppm].
NUCLEUS_PPM = 0.02
#: Numbers of tests/benchmarks/measure_comparison_limits.py.
REASON = (
    "The limits are somewhat wider than what the brain mask alone does, for that of the published"
    " maps was found by another program. The simulated head (1 mm, 3 T, SNR 50) went through the"
    " same steps with the mask of BET, the true one, and that less one and two voxels and more by"
    " one. Two such local fields had slopes of 0.84 to 1.09, correlations from 0.950, NRMSE up to"
    " 36 % and XSIM from 0.917. Susceptibility by FANSI had slopes of 0.84 to 1.06, correlations"
    " from 0.930, NRMSE up to 41 %, XSIM from 0.663 and nuclei up to 0.012 ppm apart; by MEDI,"
    " with final masks of a Dice of 0.90 and more, slopes of 0.77 to 1.00, correlations from"
    " 0.867, NRMSE up to 56 %, XSIM from 0.555 and nuclei up to 0.014 ppm apart. Another"
    " inversion of the same field (TKD, L2, MEDI beside FANSI) is outside: correlations up to"
    " 0.73, XSIM up to 0.32. A head is no phantom: the limits may have to move once maps of the"
    " record itself were compared."
)


def outside(preset: str, name: str, similarity: Agreement, xsim: float | None) -> list[str]:
    """Return which limits a comparison misses, in words; none where the preset has no limits."""
    limit = LIMITS.get(preset, {}).get(name)
    if limit is None:
        return []
    low, high = limit.slope
    missed = []
    if not low <= similarity.slope <= high:
        missed.append(f"{name}: slope {similarity.slope:.3f}, limits {low:g} to {high:g}")
    if not similarity.correlation >= limit.correlation:
        missed.append(
            f"{name}: correlation {similarity.correlation:.3f}, least {limit.correlation:g}"
        )
    if not similarity.nrmse <= limit.nrmse:
        missed.append(
            f"{name}: NRMSE {100 * similarity.nrmse:.1f} %, most {100 * limit.nrmse:g} %"
        )
    if xsim is not None and not xsim >= limit.xsim:
        missed.append(f"{name}: XSIM {xsim:.3f}, least {limit.xsim:g}")
    return missed
