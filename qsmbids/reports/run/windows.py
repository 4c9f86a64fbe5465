"""Windows in which maps are shown, and their numbers in 8 bits for the page."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmbids.reports.run.catalogue import MapKind

__all__ = ["Coding", "Window", "display_window", "signed"]

#: Shown range of susceptibility [ppm] (paper section 9.1.4).
CHI_PPM = 0.2
#: Shown range of the local field, as a part of the centre frequency.
LOCAL_FIELD_PPM = 0.05
#: Shown R2* [1/s] per tesla: white above deep nuclei and veins.
R2STAR_PER_TESLA = 20.0

#: Steps of a coding; the number 0 is "no value", so that what a mask cuts off is told from zero.
_FINE, _COARSE = 254, 127


def signed(value: float, plus: bool = False) -> str:
    """Return a number of three digits with a proper minus, and a plus if asked for.

    Examples
    --------
    >>> signed(0.2, plus=True), signed(4600.0), signed(0.0, plus=True)
    ('+0.2', '4600', '0')
    """
    text = f"{abs(value):.0f}" if 1000 <= abs(value) < 1e6 else f"{abs(value):.3g}"
    sign = "\N{MINUS SIGN}" if value < 0 else "+" if plus and value > 0 else ""
    return sign + text


@dataclass(frozen=True)
class Window:
    """Black and white of a linear grey scale."""

    low: float
    high: float

    def grey(self, image: npt.NDArray) -> npt.NDArray[np.uint8]:
        """Return grey values, black at ``low`` and white at ``high``."""
        shown = (np.asarray(image, dtype=np.float32) - self.low) / (self.high - self.low)
        return np.rint(255 * np.clip(np.nan_to_num(shown), 0, 1)).astype(np.uint8)

    def text(self, unit: str) -> str:
        """Return the window as a caption writes it."""
        ends = (signed(end, self.low < 0) for end in (self.low, self.high))
        return f"{' to '.join(ends)} {unit}".strip()


@dataclass(frozen=True)
class Coding:
    """Numbers from 1 for values from ``low`` to ``high``, in so many ``steps``.

    With ``scale``, steps are fine near zero and coarse far from it (inverse hyperbolic sine), so
    that the window can be moved both ways without bands.
    """

    low: float
    high: float
    scale: float = 0.0
    steps: int = _FINE

    @classmethod
    def of(cls, window: Window, kind: MapKind) -> "Coding":
        """Return a coding that leaves room around the window."""
        if kind.scale in ("unit", "phase"):  # noise needs few steps and much space
            return cls(window.low, window.high, steps=_COARSE)
        if window.low < 0:
            half = max(-window.low, window.high)
            return cls(-5 * half, 5 * half, half / 2)
        return cls(0.0, 1.6 * window.high, steps=_COARSE)

    def encode(self, values: npt.NDArray) -> npt.NDArray[np.uint8]:
        """Return the number of every value; what is not finite is 0."""
        values = np.asarray(values, dtype=np.float32)
        t = (self._curve(values) - self._curve(self.low)) / (
            self._curve(self.high) - self._curve(self.low)
        )
        code = np.rint(1 + self.steps * np.clip(np.nan_to_num(t), 0, 1))
        return np.where(np.isfinite(values), code, 0).astype(np.uint8)

    def table(self) -> list[float]:
        """Return the value of each number 0 to 255."""
        t = (np.arange(256) - 1).clip(0, self.steps) / self.steps
        low, high = self._curve(self.low), self._curve(self.high)
        values = low + t * (high - low)
        if self.scale:
            values = self.scale * np.sinh(values)
        return [float(f"{v:.5g}") for v in values]

    def _curve(self, values: npt.ArrayLike) -> npt.NDArray:
        array = np.asarray(values, dtype=np.float32)
        return np.arcsinh(array / np.float32(self.scale)) if self.scale else array


def display_window(
    kind: MapKind, inside: npt.NDArray, b0_tesla: float, centre_frequency_mhz: float
) -> Window:
    """Return the window of a map.

    Parameters
    ----------
    kind : MapKind
    inside : ndarray
        Values inside the brain, for windows that follow the data.
    b0_tesla, centre_frequency_mhz : float
        Of the scanner, for windows that do not.
    """
    if kind.scale == "chi":
        return Window(-CHI_PPM, CHI_PPM)
    if kind.scale == "field":
        half = _rounded(LOCAL_FIELD_PPM * centre_frequency_mhz)
        return Window(-half, half)
    if kind.scale == "unit":
        return Window(0.0, 1.0)
    if kind.scale == "phase":
        return Window(-math.pi, math.pi)
    if kind.scale == "relaxation":
        return Window(0.0, R2STAR_PER_TESLA * b0_tesla)
    finite = inside[np.isfinite(inside)]
    room = 1.25 if kind.scale == "positive" else 1.0  # no tissue in plain white
    top = _rounded(room * float(np.percentile(np.abs(finite), 99))) if finite.size else 1.0
    return Window(0.0 if kind.scale == "positive" else -top, top)


def _rounded(value: float) -> float:
    """Return a number of two digits that is not smaller than ``value``."""
    if not value > 0:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.2g}")
