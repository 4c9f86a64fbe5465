"""The published map, that of the run and their difference, side by side."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.reports.paper.geometry import EDGES, NORMAL, PLANES, DisplayGrid, slice_image
from qsmbids.reports.run.windows import Window

__all__ = ["DIFFERENCE_WINDOW", "WINDOW", "draw_side_by_side"]

#: Of the paper's figures [ppm].
WINDOW = Window(-0.2, 0.2)
DIFFERENCE_WINDOW = Window(-0.1, 0.1)
_TITLES = ("published", "this run", "difference")
_MARGIN = 3  # voxels around the brain
_WIDTH_INCHES, _TITLE_INCHES, _DPI = 7.2, 0.3, 130


def draw_side_by_side(
    published: npt.NDArray[np.float32],
    own: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
) -> bytes:
    """Draw three planes through the middle of the mask, a column for each map.

    Parameters
    ----------
    published, found : (X, Y, Z) ndarray
        Susceptibility [ppm] on one grid, with one reference; NaN, which is black, outside.
    mask : (X, Y, Z) ndarray of bool
        Where both are known; the difference is shown there alone.
    affine : (4, 4) ndarray
        Of the grid, to scanner RAS+ [mm].

    Returns
    -------
    bytes
        A PNG file; the same maps give the same bytes.
    """
    a, b, c = own.shape
    grid = DisplayGrid((a, b, c), affine)
    inside = grid.display(mask)
    box = tuple(_extent(inside, axis) for axis in range(3))
    middle = [_middle(inside, axis) for axis in range(3)]
    difference = np.where(mask, own - published, np.nan)
    columns = [(grid.display(published), WINDOW), (grid.display(own), WINDOW)]
    columns.append((grid.display(difference), DIFFERENCE_WINDOW))
    size = [(s.stop - s.start) * v for s, v in zip(box, grid.voxel_size, strict=True)]
    shapes = [(size[1], size[0]), (size[2], size[0]), (size[2], size[1])]  # height, width [mm]
    figure, axes = _panels(shapes)
    for column, (volume, window) in enumerate(columns):
        title = f"{_TITLES[column]}, {window.text('ppm')}"
        axes[0, column].set_title(title, fontsize=9, pad=3)
        for row, plane in enumerate(PLANES):
            part = list(box)
            part[NORMAL[plane]] = slice(None)  # so that the index stays what it is
            image = slice_image(window.grey(volume[tuple(part)]), plane, middle[NORMAL[plane]])
            height, width = shapes[row]
            axes[row, column].imshow(
                image, cmap="gray", vmin=0, vmax=255, extent=(0, width, 0, height),
                interpolation="none",
            )  # fmt: skip
            axes[row, column].set_axis_off()
            if column == 0:
                axes[row, 0].text(
                    0.02, 0.5, EDGES[plane][0], color="#e0e0e0", fontsize=7, va="center",
                    transform=axes[row, 0].transAxes,
                )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _panels(shapes: Sequence[tuple[float, float]]) -> tuple[Any, Any]:
    """Return a figure with a row for each plane, of heights and widths [mm], and its axes."""
    from matplotlib.figure import Figure

    widest = max(width for _, width in shapes)
    heights = [_WIDTH_INCHES / len(_TITLES) * height / widest for height, _ in shapes]
    total = sum(heights) + _TITLE_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, total), facecolor="white")
    space = {"left": 0, "right": 1, "bottom": 0, "top": 1 - _TITLE_INCHES / total}
    gaps = {"wspace": 0.02, "hspace": 0.02, "height_ratios": heights}
    return figure, figure.subplots(3, len(_TITLES), gridspec_kw={**space, **gaps})


def _extent(mask: npt.NDArray[np.bool_], axis: int) -> slice:
    """Return the part of an axis that the mask fills, with a margin."""
    used = np.flatnonzero(mask.any(axis=tuple(i for i in range(3) if i != axis)))
    return slice(
        max(0, int(used[0]) - _MARGIN), min(mask.shape[axis], int(used[-1]) + 1 + _MARGIN)
    )


def _middle(mask: npt.NDArray[np.bool_], axis: int) -> int:
    """Return the index that halves the mask."""
    profile = mask.sum(axis=tuple(i for i in range(3) if i != axis), dtype=np.float64)
    return int(np.searchsorted(np.cumsum(profile), profile.sum() / 2))
