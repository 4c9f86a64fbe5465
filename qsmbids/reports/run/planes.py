"""Three planes of a map side by side at one scale, with letters, outlines and the bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.reports.paper.geometry import EDGES, NORMAL, PLANES, slice_image
from qsmbids.reports.run.catalogue import MAPS, MASKS
from qsmbids.reports.run.images import Images
from qsmbids.reports.run.windows import Window, signed

__all__ = ["WIDTH_INCHES", "draw_planes"]

WIDTH_INCHES = 7.2  # two columns of a journal

_TITLE_INCHES = 0.25
#: Between planes, and beside them for the bar, as parts of their width together.
_GAP, _BAR = 0.015, 0.12
#: Place of the letter at the left, right, upper and lower edge, and how it is aligned.
_LETTERS = (
    (0.02, 0.5, "left", "center"),
    (0.98, 0.5, "right", "center"),
    (0.5, 0.98, "center", "top"),
    (0.5, 0.02, "center", "bottom"),
)


@dataclass(frozen=True)
class _Layout:
    """Where the planes are on the sheet; ``size`` is that of the box [mm] along each axis."""

    size: tuple[float, float, float]
    n_rows: int

    @property
    def widths(self) -> tuple[float, float, float]:
        """Widths of the planes [mm]."""
        return (self.size[0], self.size[0], self.size[1])

    @property
    def height(self) -> float:
        """Height of a row [mm]: that of its highest plane."""
        return max(self.size[1], self.size[2])

    @property
    def total(self) -> float:
        """Width of the sheet [mm]."""
        return sum(self.widths) * (1 + 2 * _GAP + _BAR)

    @property
    def row_inches(self) -> float:
        """Height of a row."""
        return WIDTH_INCHES * self.height / self.total

    @property
    def sheet_inches(self) -> tuple[float, float]:
        """Width and height of the sheet."""
        return WIDTH_INCHES, self.n_rows * (self.row_inches + _TITLE_INCHES)

    def row(self, number: int) -> tuple[float, float]:
        """Return the lower edge and the height of a row as parts of the sheet."""
        sheet = self.sheet_inches[1]
        bottom = sheet - (number + 1) * (self.row_inches + _TITLE_INCHES)
        return bottom / sheet, self.row_inches / sheet

    def column(self, number: int) -> tuple[float, float]:
        """Return the left edge and the width of a plane (3: of the bar) as parts of the sheet."""
        left = sum(self.widths[:number]) + min(number, 2) * _GAP * sum(self.widths)
        width = self.widths[number] if number < 3 else _BAR * sum(self.widths)
        return left / self.total, width / self.total


def draw_planes(images: Images, keys: Sequence[str], outlines: Sequence[str] = ()) -> Any:
    """Draw one row per map: axial, coronal and sagittal slices through the middle of the brain.

    Parameters
    ----------
    images : Images
    keys : sequence of str
        Maps, from the top.
    outlines : sequence of str
        Masks whose outlines are drawn over them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    size = [
        (part.stop - part.start) * voxel
        for part, voxel in zip(images.brain_box, images.grid.voxel_size, strict=True)
    ]
    layout = _Layout((size[0], size[1], size[2]), len(keys))
    figure = Figure(figsize=layout.sheet_inches, facecolor="white")
    for number, key in enumerate(keys):
        bottom, height = layout.row(number)
        for column, plane in enumerate(PLANES):
            left, width = layout.column(column)
            axes = figure.add_axes((left, bottom, width, height), facecolor="black")
            _draw_slice(axes, images, key, plane, outlines, layout)
        title = MAPS[key].title
        if outlines:
            title = f"Outlines, {title.lower()}"
        above = bottom + height + 0.05 / layout.sheet_inches[1]
        figure.text(0, above, title, ha="left", va="bottom", weight="bold")
        if outlines:
            _legend(figure, outlines, (sum(layout.column(2)), above))
        left = layout.column(3)[0] + 0.01
        _draw_bar(figure, images.windows[key], MAPS[key].unit,
                  (left, bottom + 0.12 * height, 0.018, 0.76 * height))  # fmt: skip
    return figure


def _draw_slice(
    axes: Any, images: Images, key: str, plane: str, outlines: Sequence[str], layout: _Layout
) -> None:
    """Draw one plane in millimetres, in the middle of its row."""
    grey = images.windows[key].grey(_cut(images, images.maps[key], plane))
    support = images.support(key)
    if support is not None:
        grey[~_cut(images, support, plane)] = 0
    width = layout.widths[PLANES.index(plane)]
    tall = layout.size[1] if plane == "axial" else layout.size[2]
    axes.imshow(
        grey, cmap="gray", vmin=0, vmax=255, extent=(0, width, 0, tall), interpolation="none"
    )
    for name in outlines:
        mask = _cut(images, images.masks[name], plane)
        if mask.any() and not mask.all():
            rows, columns = mask.shape
            x = (np.arange(columns) + 0.5) * width / columns
            y = (np.arange(rows)[::-1] + 0.5) * tall / rows
            axes.contour(x, y, mask, levels=[0.5], colors=[MASKS[name][1]], linewidths=0.7)
    axes.set_axis_off()
    axes.add_artist(axes.patch)  # the black behind the slice, which set_axis_off hides
    axes.patch.set_zorder(-1)
    axes.set_xlim(0, width)
    axes.set_ylim((tall - layout.height) / 2, (tall + layout.height) / 2)
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=1.5, foreground="black")]
    for letter, (x, y, across, up) in zip(EDGES[plane], _LETTERS, strict=True):
        axes.text(
            x, y, letter, ha=across, va=up, color="#e0e0e0", fontsize=7, path_effects=rim,
            transform=axes.transAxes,
        )  # fmt: skip


def _cut(images: Images, volume: npt.NDArray, plane: str) -> npt.NDArray:
    """Return the slice of a volume that is shown first, inside the box of the brain."""
    box = list(images.brain_box)
    box[NORMAL[plane]] = slice(None)  # so that the index stays what it is
    return slice_image(volume[tuple(box)], plane, images.start[NORMAL[plane]])


def _legend(figure: Any, outlines: Sequence[str], place: tuple[float, float]) -> None:
    """Name the colours of the outlines at the right of the title."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=MASKS[n][1], lw=1.6, label=MASKS[n][0]) for n in outlines]
    figure.legend(
        handles=handles, loc="lower right", bbox_to_anchor=place, ncols=3, frameon=False,
        fontsize=7, handlelength=1.2, borderpad=0, borderaxespad=0,
    )  # fmt: skip


def _draw_bar(figure: Any, window: Window, unit: str, place: tuple[float, ...]) -> None:
    """Draw the intensity bar with the ends of the window."""
    axes = figure.add_axes(place)
    ends = (window.low, (window.low + window.high) / 2, window.high)
    axes.imshow(
        np.linspace(1, 0, 256)[:, None], cmap="gray", aspect="auto",
        extent=(0, 1, window.low, window.high),
    )  # fmt: skip
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks(ends, [signed(value, window.low < 0) for value in ends])
    axes.tick_params(length=2, pad=2, labelsize=7)
    axes.set_title(unit, fontsize=7, pad=4)
