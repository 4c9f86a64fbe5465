"""Numbers as sidecars state them: as text, in other units, and twice, for both parts of a scan."""

import math
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["as_number", "contradiction", "is_stated"]

#: What must be the same for both parts of an echo: the largest relative difference, and by what
#: factors the number is larger in the units that are used by mistake.
_SHARED: dict[str, tuple[float, tuple[float, ...]]] = {
    "EchoTime": (1e-3, (1e3,)),
    "RepetitionTime": (1e-2, (1e3,)),
    "RepetitionTimeExcitation": (1e-2, (1e3,)),
    "FlipAngle": (1e-2, ()),
    "MagneticFieldStrength": (0.05, (1e3, 1e4)),
    "ImagingFrequency": (1e-2, (1e6,)),
}


def as_number(value: Any) -> float | None:
    """Return a finite number, also of one that is text, or None for anything else.

    Examples
    --------
    >>> as_number("0.008"), as_number("3T"), as_number([3])
    (0.008, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # JSON knows integers of any length
        return None
    return number if math.isfinite(number) else None


def is_stated(value: Any) -> bool:
    """Tell whether a sidecar says something under a key, rather than that it is not known."""
    return value is not None and value != [] and str(value).strip().lower() not in ("", "n/a")


def contradiction(
    ours: Mapping[str, Any], other: Mapping[str, Any], overridden: Collection[str] = ()
) -> tuple[str, Any, Any] | None:
    """Return the first key in which the sidecars of two parts of an echo contradict each other.

    Parameters
    ----------
    ours, other : mapping
        Sidecars of the phase and of the magnitude.
    overridden : collection of str
        Keys that do not count, because the user has given the value.

    Returns
    -------
    (key, ours, other) or None

    Examples
    --------
    >>> contradiction({"EchoTime": "8"}, {"EchoTime": 0.008})
    >>> contradiction({"EchoTime": "0.008"}, {"EchoTime": 0.004})
    ('EchoTime', '0.008', 0.004)
    """
    for key, (tolerance, factors) in _SHARED.items():
        one, two = ours.get(key), other.get(key)
        if key in overridden or not (is_stated(one) and is_stated(two)):
            continue
        if isinstance(one, list) and isinstance(two, list):
            pairs = zip(one, two, strict=False)
            same = len(one) == len(two) and all(_same(*p, tolerance, factors) for p in pairs)
        else:
            same = isinstance(one, list | dict) or _same(one, two, tolerance, factors)
        if not same:
            return key, one, two
    return None


def _same(one: Any, two: Any, tolerance: float, factors: Collection[float]) -> bool:
    """Tell whether two values are one number, in whatever units; what is none is judged later."""
    a, b = as_number(one), as_number(two)
    if a is None or b is None:
        return one == two or not any(
            isinstance(value, float) and math.isinf(value) for value in (one, two)
        )
    low, high = sorted((abs(a), abs(b)))
    return a * b >= 0 and any(
        abs(high - low * factor) <= tolerance * low * factor for factor in (1.0, *factors)
    )
