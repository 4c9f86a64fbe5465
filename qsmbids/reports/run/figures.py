"""Figures for the page and for papers: three planes on a linear grey scale with its bar."""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.io.derivatives import derivative_path
from qsmbids.io.write import write_bytes
from qsmbids.reports.run.catalogue import MAPS, MASKS, explained
from qsmbids.reports.run.drawn import Drawn
from qsmbids.reports.run.images import Images
from qsmbids.reports.run.planes import WIDTH_INCHES, draw_planes
from qsmbids.reports.run.record import RunRecord

__all__ = ["Figure", "make_figures"]

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.linewidth": 0.6,
    "svg.hashsalt": "qsmbids",  # the same figure gives the same bytes
    "svg.fonttype": "path",
}
_DPI = 300


@dataclass(frozen=True)
class Figure:
    """A figure as vector graphics and where its files are."""

    name: str
    caption: str
    svg: bytes
    svg_file: Path
    png_file: Path


def make_figures(
    record: RunRecord, images: Images, drawn: Drawn, *, whole: bool = True
) -> list[Figure]:
    """Draw the figures of a run and write them to ``figures/`` as SVG and PNG.

    What was ``drawn`` before from the same images is taken. Without the ``whole`` of the maps
    there are no histograms.

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
                caption = " ".join(f"{windows[k]}. {explained(k, record.metadata)}" for k in keys)
                draw = functools.partial(draw_planes, images, keys)
                content = drawn.once((name, images.shown(*keys)), _formats(draw))
                figures.append(_saved(record, name, caption, content, entities, suffix))
        background = next(iter(shown("magnitude", "chi")), None)
        if background is not None and images.masks:
            caption = "Outlines of the masks, each within the one before: " + ", ".join(
                MASKS[key][0] for key in _nested(images)
            )
            content = drawn.once(
                ("masks", images.shown(background)),
                _formats(lambda: draw_planes(images, [background], _nested(images))),
            )
            entities = {"label": "brain", "desc": "masks"}
            figures.insert(
                2 if figures else 0,
                _saved(record, "masks", caption + ".", content, entities, "mask"),
            )
        histograms = shown("chi", "local_field", "r2star")
        if whole and histograms:
            caption = "Histograms inside the mask of each map; dashed: median."
            content = drawn.once(
                ("histograms", images.shown(*histograms)),
                _formats(lambda: _histograms(images, histograms)),
            )
            entities = {"desc": "histogram"}
            figures.append(_saved(record, "histograms", caption, content, entities, "Chimap"))
    return figures


def _nested(images: Images) -> list[str]:
    """Return the masks that are drawn: Mask 2 covers the air too, and is in Mask 3."""
    return [key for key in ("mask1", "mask3", "mask4noholes") if key in images.masks]


def _histograms(images: Images, keys: Sequence[str]) -> Any:
    """Draw the distribution of some maps inside their masks."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(WIDTH_INCHES, 1.9), facecolor="white", layout="constrained")
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


def _formats(draw: Callable[[], Any]) -> Callable[[], dict[str, bytes]]:
    """Return what makes a drawing as SVG and PNG."""

    def make() -> dict[str, bytes]:
        drawing, content = draw(), {}
        for form in ("svg", "png"):
            buffer = io.BytesIO()
            extra = {"metadata": {"Date": None, "Creator": "qsmbids"}} if form == "svg" else {}
            drawing.savefig(buffer, format=form, dpi=_DPI, **extra)
            content[form] = buffer.getvalue()
        return content

    return make


def _saved(
    record: RunRecord,
    name: str,
    caption: str,
    content: dict[str, bytes],
    entities: dict[str, str],
    suffix: str,
) -> Figure:
    """Write a figure in its formats."""
    files = {}
    for form in content:
        files[form] = derivative_path(
            record.out_dir, record.entities, datatype="figures", suffix=suffix,
            extension=f".{form}", **entities,
        )  # fmt: skip
        write_bytes(files[form], content[form])
    return Figure(name, caption, content["svg"], files["svg"], files["png"])
