"""A small plot of the deep nuclei: both sides, with the uncertainty of their means."""

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from qsmbids.io.segmentation_labels import without_side
from qsmbids.reports.comparison.nuclei import is_nucleus

__all__ = ["nuclei_plot"]

#: Geometry in pixels: names, plot, a row, and what is above and below.
_NAMES, _WIDTH, _ROW, _TOP, _BOTTOM = 150, 420, 20, 8, 34
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_COLOURS = {"L": "#1f5f8b", "R": "#b3541e", "": "#5b6875"}


def nuclei_plot(rows: Sequence[Mapping[str, str]]) -> Markup:
    """Return a plot of the means of all nuclei of a table [ppm] with two standard errors.

    Parameters
    ----------
    rows : sequence of mapping
        Of a table of regions. What has no mean, and what is no nucleus, is left out.
    """
    points: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        mean, error = _number(row.get("mean")), _number(row.get("standard_error"))
        if is_nucleus(row["name"]) and math.isfinite(mean):
            side = row.get("hemisphere", "").replace("n/a", "")
            value = (side, mean, 2 * error if math.isfinite(error) else 0.0)
            points.setdefault(without_side(row["name"]), []).append(value)
    if not points:
        return Markup("")
    ends = [end for ps in points.values() for _, m, e in ps for end in (m - e, m + e)]
    low, high = min(0.0, *ends), max(0.05, *ends)
    step = next((t for t in _TICKS if (high - low) / t <= 8), 1.0)
    low, high = step * math.floor(low / step), step * math.ceil(high / step)

    def x(value: float) -> float:
        return _NAMES + _WIDTH * (value - low) / (high - low)

    height = _TOP + _ROW * len(points) + _BOTTOM
    base = height - _BOTTOM
    parts = [
        Markup(
            '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" stroke="#dde3e8"/>'
            '<text x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
        ).format(x(tick), _TOP, base, base + 14, f"{tick:+.2f}" if tick else "0")
        for tick in (low + n * step for n in range(round((high - low) / step) + 1))
    ]
    for number, (name, values) in enumerate(points.items()):
        middle = _TOP + _ROW * (number + 0.5)
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _NAMES - 10, middle + 4, name.replace("-", " ")
            )
        )
        parts += [_point(side, x, m, e, middle) for side, m, e in values]
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">ppm</text>').format(
            _NAMES + _WIDTH / 2, height - 4
        )
    )
    note = "Means of the nuclei and two standard errors; blue: left, orange: right."
    return Markup(
        '<figure><svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" font-size="12"'
        ' fill="#1c2733" aria-label="{2}">{3}</svg><figcaption>{2}</figcaption></figure>'
    ).format(_NAMES + _WIDTH + 24, height, note, Markup("").join(parts))


def _point(
    side: str, x: Callable[[float], float], mean: float, error: float, middle: float
) -> Markup:
    """Return the dot of one side, a little above or below the middle of its row."""
    y = middle + {"L": -3.5, "R": 3.5}.get(side, 0.0)
    return Markup(
        '<line x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'
        '<circle cx="{:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    ).format(
        x(mean - error), x(mean + error), x(mean), y=y, colour=_COLOURS.get(side, _COLOURS[""])
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
