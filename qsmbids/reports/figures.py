"""Figures for the page and for papers: three planes on a linear grey scale with its bar."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.io.derivatives import derivative_path
from qsmbids.io.write import write_bytes
from qsmbids.reports.catalogue import MAPS, MASKS
from qsmbids.reports.geometry import EDGES, NORMAL, PLANES, slice_image
from qsmbids.reports.images import Images
from qsmbids.reports.record import RunRecord

__all__ = ["Figure", "make_figures"]

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.linewidth": 0.6,
    "svg.hashsalt": "qsmbids",  # the same figure gives the same bytes
    "svg.fonttype": "path",
}
_WIDTH_INCHES = 7.2  # two columns of a journal
_DPI = 300


@dataclass(frozen=True)
class Figure:
    """A figure as vector graphics and where its files are."""

    name: str
    caption: str
    svg: bytes
    svg_file: Path
    png_file: Path


def make_figures(record: RunRecord, images: Images) -> list[Figure]:
    """Draw the figures of a run and write them to ``figures/`` as SVG and PNG.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    import matplotlib as mpl

    windows = {
        key: f"{MAPS[key].title} ({images.windows[key].text(MAPS[key].unit)})"
        for key in images.maps
    }

    def shown(*keys: str) -> list[str]:
        return [key for key in keys if key in images.maps]

    groups = [
        ("maps", shown("chi", "local_field"), {"desc": "maps"}, "Chimap"),
        ("phase", shown("wrapped", "unwrapped"), {"part": "phase", "desc": "unwrapping"}, "MEGRE"),
        ("total field", shown("total_field"), {"desc": "total"}, "fieldmap"),
        ("magnitude", shown("magnitude"), {}, "magnitude"),
        ("quality", shown("quality"), {"desc": "phasequality"}, "probseg"),
        ("R2*", shown("r2star"), {}, "R2starmap"),
    ]
    figures = []
    with mpl.rc_context(_STYLE):
        for name, keys, entities, suffix in groups:
            if keys:
                caption = " ".join(f"{windows[k]}. {MAPS[k].explanation}" for k in keys)
                drawn = _planes(images, keys)
                figures.append(_saved(record, name, caption, drawn, entities, suffix))
        background = next(iter(shown("magnitude", "chi")), None)
        if background is not None and images.masks:
            caption = "Outlines of the masks, each within the one before: " + ", ".join(
                MASKS[key][0] for key in _nested(images)
            )
            drawn = _planes(images, [background], _nested(images))
            entities = {"label": "brain", "desc": "masks"}
            figures.insert(
                2 if figures else 0,
                _saved(record, "masks", caption + ".", drawn, entities, "mask"),
            )
        if histograms := shown("chi", "local_field", "r2star"):
            caption = "Histograms inside the mask of each map; dashed: median."
            drawn = _histograms(images, histograms)
            entities = {"desc": "histogram"}
            figures.append(_saved(record, "histograms", caption, drawn, entities, "Chimap"))
    return figures


def _nested(images: Images) -> list[str]:
    """Return the masks that are drawn: Mask 2 covers the air too, and is in Mask 3."""
    return [key for key in ("mask1", "mask3", "mask4noholes") if key in images.masks]


def _planes(images: Images, keys: Sequence[str], outlines: Sequence[str] = ()) -> Any:
    """Draw one row per map: axial, coronal and sagittal slices at one scale, and the bar."""
    from matplotlib.figure import Figure as Canvas

    box = images.brain_box
    size = images.grid.voxel_size
    extent = [(b.stop - b.start) * s for b, s in zip(box, size, strict=True)]
    widths = [extent[0], extent[0], extent[1]]
    height = max(extent[1], extent[2])
    gap, bar = 0.015 * sum(widths), 0.11 * sum(widths)
    total = sum(widths) + 2 * gap + bar
    row = height / total * _WIDTH_INCHES
    title = 0.25
    figure = Canvas(figsize=(_WIDTH_INCHES, len(keys) * (row + title)), facecolor="white")
    full = len(keys) * (row + title)
    for number, key in enumerate(keys):
        kind, window = MAPS[key], images.windows[key]
        bottom = full - (number + 1) * (row + title)
        left = 0.0
        values = images.maps[key]
        support = images.support(key)
        for plane, width in zip(PLANES, widths, strict=True):
            place = (left / total, bottom / full, width / total, row / full)
            axes = figure.add_axes(place, facecolor="black")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            index = images.start[NORMAL[plane]]
            grey = window.grey(slice_image(values[_through(box, plane)], plane, index))
            if support is not None:
                grey[~slice_image(support[_through(box, plane)], plane, index)] = 0
            tall = extent[2] if plane != "axial" else extent[1]
            area = (0, width, 0, tall)
            axes.imshow(
                grey, cmap="gray", vmin=0, vmax=255, extent=area, interpolation="none",
            )  # fmt: skip
            for name in outlines:
                mask = slice_image(images.masks[name][_through(box, plane)], plane, index)
                if mask.any() and not mask.all():
                    x = (np.arange(mask.shape[1]) + 0.5) * width / mask.shape[1]
                    y = (np.arange(mask.shape[0])[::-1] + 0.5) * tall / mask.shape[0]
                    axes.contour(x, y, mask, levels=[0.5], colors=[MASKS[name][1]], linewidths=0.7)
            axes.set_xlim(0, width)
            middle = tall / 2
            axes.set_ylim(middle - height / 2, middle + height / 2)
            for letter, x, y in zip(EDGES[plane], (0.02, 0.98, 0.5, 0.5),
                                    (0.5, 0.5, 0.98, 0.02), strict=True):  # fmt: skip
                axes.text(
                    x, y, letter, color="#d0d0d0", fontsize=7, transform=axes.transAxes,
                    ha={0.02: "left", 0.98: "right"}.get(x, "center"),
                    va={0.98: "top", 0.02: "bottom"}.get(y, "center"),
                )  # fmt: skip
            left += width + gap
        figure.text(
            0, (bottom + row + 0.05) / full, kind.title, ha="left", va="bottom", weight="bold"
        )
        if outlines:
            _legend(figure, outlines, (bottom + row + 0.05) / full)
        _bar(figure, window, kind.unit, (left / total, (bottom + 0.12 * row) / full,
             0.018, 0.76 * row / full))  # fmt: skip
    return figure


def _legend(figure: Any, outlines: Sequence[str], height: float) -> None:
    """Name the colours of the outlines at the right of the title."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=MASKS[n][1], lw=1.6, label=MASKS[n][0]) for n in outlines]
    figure.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(0.9, height - 0.02), ncols=3,
        frameon=False, fontsize=7, handlelength=1.2, borderpad=0, borderaxespad=0,
    )  # fmt: skip


def _bar(figure: Any, window: Any, unit: str, place: tuple[float, ...]) -> None:
    """Draw the intensity bar with the ends of the window."""
    axes = figure.add_axes(place)
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap="gray", aspect="auto",
                extent=(0, 1, window.low, window.high))  # fmt: skip
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([window.low, (window.low + window.high) / 2, window.high])
    sign = "+" if window.low < 0 else ""
    axes.set_yticklabels([f"{v:{sign}.4g}" if v else "0" for v in axes.get_yticks()])
    axes.tick_params(length=2, pad=2, labelsize=7)
    axes.set_title(unit, fontsize=7, pad=4)


def _histograms(images: Images, keys: Sequence[str]) -> Any:
    """Draw the distribution of some maps inside their masks."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(_WIDTH_INCHES, 1.9), facecolor="white", layout="constrained")
    for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        kind, window = MAPS[key], images.windows[key]
        support = images.support(key)
        inside = images.maps[key][support] if support is not None else images.maps[key].ravel()
        inside = inside[np.isfinite(inside)]
        spread = window.high - window.low
        low = window.low - 0.25 * spread if window.low < 0 else 0.0
        edges = np.linspace(low, window.high + 0.25 * spread, 121)
        counts = np.histogram(inside, edges)[0]
        share = 100.0 * counts / max(1, inside.size)
        axes.stairs(share, edges, fill=True, color="#8fa3b5")
        axes.stairs(share, edges, color="#33475b", linewidth=0.8)
        if inside.size:
            axes.axvline(float(np.median(inside)), color="#b03a2e", lw=0.8, ls="--")
        axes.set_xlabel(f"{kind.title} [{kind.unit}]")
        axes.set_ylabel("voxels [%]")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, None)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _saved(
    record: RunRecord, name: str, caption: str, drawn: Any, entities: dict[str, str], suffix: str
) -> Figure:
    """Write a drawing as SVG and PNG."""
    files, content = {}, {}
    for form in ("svg", "png"):
        buffer = io.BytesIO()
        extra = {"metadata": {"Date": None, "Creator": "qsmbids"}} if form == "svg" else {}
        drawn.savefig(buffer, format=form, dpi=_DPI, **extra)
        content[form] = buffer.getvalue()
        files[form] = derivative_path(
            record.out_dir, record.entities, datatype="figures", suffix=suffix,
            extension=f".{form}", **entities,
        )  # fmt: skip
        write_bytes(files[form], content[form])
    return Figure(name, caption, content["svg"], files["svg"], files["png"])


def _through(box: tuple[slice, slice, slice], plane: str) -> tuple[slice, slice, slice]:
    """Return the box with every slice along the normal of a plane, so that indices stay."""
    full = list(box)
    full[NORMAL[plane]] = slice(None)
    return (full[0], full[1], full[2])
