"""The page of a run: gather, draw, and write one HTML file that needs nothing else."""

import base64
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qsmbids.io.write import write_text
from qsmbids.reports.paper.paper_sections import advice, paper_sections
from qsmbids.reports.paper.publication import Publication
from qsmbids.reports.paper.run_publication import publication_of, write_tables
from qsmbids.reports.run.catalogue import MASKS
from qsmbids.reports.run.drawn import Drawn
from qsmbids.reports.run.figures import Figure, make_figures
from qsmbids.reports.run.images import Images, read_images
from qsmbids.reports.run.masks_section import masks_section
from qsmbids.reports.run.quality_section import quality_findings, quality_section, read_measures
from qsmbids.reports.run.record import RunRecord, read_run
from qsmbids.reports.run.roi_section import roi_section
from qsmbids.reports.run.section import Section, bullets
from qsmbids.reports.run.sections import (
    acquisition_section,
    decisions_section,
    error_section,
    files_section,
    settings_section,
    software_section,
)
from qsmbids.reports.run.template import asset, fill_template
from qsmbids.reports.run.time_section import time_section
from qsmbids.reports.run.verdict import verdict
from qsmbids.reports.run.viewer import packed_maps, viewer_payload

__all__ = ["draw_ahead", "report_path", "write_report"]

logger = logging.getLogger("qsmbids")

#: Maps that the last steps of a run leave as they are; those of a figure together.
_AHEAD = (
    ("magnitude",), ("wrapped", "unwrapped"), ("total_field",), ("quality",), ("r2star",),
    ("local_field",),
)  # fmt: skip


def report_path(out_dir: Path, label: str) -> Path:
    """Return the page of a run: ``sub-01.html``, ``sub-01_ses-a_run-1.html``."""
    return out_dir / f"{label}.html"


def write_report(
    out_dir: Path,
    result: Mapping[str, Any],
    *,
    extra_images: Mapping[str, Path] | None = None,
    n_threads: int = 2,
    drawn: Drawn | None = None,
) -> Path:
    """Make the page of one run from what it left behind, however much that is.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    result : mapping
        Status of the run, as in ``logs/status``.
    extra_images : mapping, optional
        Images from the work directory for maps that were not written, by their key in
        :data:`qsmbids.reports.run.catalogue.MAPS`.
    n_threads : int
        Volumes read and compressed at a time.
    drawn : Drawn, optional
        Of :func:`draw_ahead`.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        The page or a figure cannot be written.
    ValueError
        The label is not that of a run.
    """
    record = read_run(out_dir, result, extra_images)
    images = read_images(record, n_threads)
    drawn = Drawn() if drawn is None else drawn
    with ThreadPoolExecutor(1) as beside:  # volumes are packed while figures are drawn
        viewer = (
            None if images is None else beside.submit(viewer_payload, images, n_threads, drawn)
        )
        figures = make_figures(record, images, drawn) if images is not None else []
        publication, problem = _publication(record)
        tables = write_tables(record, publication) if publication is not None else []
        parts = _sections(record, images, figures, publication, tables)
        sections = [s for s in parts if s is not None]
        findings = [*_findings(record, images, publication), *problem]
        payload = ({}, {}) if viewer is None else viewer.result()
    has_masks = bool(images is not None and images.masks)
    page = _render(record, sections, findings, *payload, has_masks=has_masks)
    return write_text(report_path(out_dir, record.label), page)


def draw_ahead(
    out_dir: Path,
    label: str,
    extra_images: Mapping[str, Path],
    between: Callable[[], None] = lambda: None,
) -> Drawn:
    """Draw what there is of a run that goes on, for :func:`write_report` to take.

    ``between`` is called when the memory of one group of maps is free.
    """
    drawn = Drawn()
    record = read_run(out_dir, {"run": label}, extra_images)
    images = None
    for keys in _AHEAD:  # few at a time, for the memory is another step's meanwhile
        shown = {k: p for k, p in record.images.items() if k in keys or k in MASKS}
        images = read_images(replace(record, images=shown), 1, masks_from=images)
        if images is not None and images.maps:
            packed_maps(images, 1, drawn)
            if "local_field" not in keys:  # which has a figure with chi
                make_figures(record, images, drawn, whole=False)
        if images is not None:
            images.maps.clear()
        between()
    return drawn


def _publication(record: RunRecord) -> tuple[Publication | None, list[str]]:
    """Return the checks against the paper, or why they could not be made."""
    try:
        return publication_of(record), []
    except Exception as error:  # whatever a sidecar holds, the maps are to be shown
        logger.debug("publication", exc_info=True)
        reason = f"{type(error).__name__}: {error}"
        return None, [f"The checks against the paper could not be made ({reason})."]


def _findings(
    record: RunRecord, images: Images | None, publication: Publication | None
) -> list[str]:
    """Return what the checks of the page found, for the verdict."""
    findings = [] if images is None else list(images.problems)
    findings += quality_findings(read_measures(record))
    return findings if publication is None else [*findings, *advice(publication)]


def _sections(
    record: RunRecord,
    images: Images | None,
    figures: Sequence[Figure],
    publication: Publication | None,
    tables: Sequence[Path],
) -> Iterator[Section | None]:
    """Yield the parts of the page below the maps, in their order."""
    if images is not None and images.masks:
        yield masks_section(images)
    yield roi_section(record)
    if figures:
        yield _figures_section(record, figures)
    yield quality_section(read_measures(record))
    yield decisions_section(record)
    yield acquisition_section(record, images)
    if publication is not None:
        yield from paper_sections(publication, tables)
    yield settings_section(record, publication.settings if publication is not None else None)
    drawn = [f.svg_file for f in figures] + [f.png_file for f in figures]
    yield files_section(record, drawn, tables)
    yield time_section(record)
    yield software_section(record)


def _figures_section(record: RunRecord, figures: Sequence[Figure]) -> Section:
    """Return the figures as vector graphics inside the page."""
    html = Markup('<div class="figures">\n')
    for figure in figures:
        data = base64.b64encode(figure.svg).decode("ascii")
        name = figure.png_file.relative_to(record.out_dir).as_posix().removesuffix(".png")
        html += Markup(
            '<figure id="figure-{0}"><img alt="{1}" src="data:image/svg+xml;base64,{2}">'
            "<figcaption>{1} <code>{3}</code></figcaption></figure>\n"
        ).format(_anchor(figure.name), figure.caption, data, f"{name}.png, .svg")
    return Section("figures", "Figures", html + Markup("</div>"))


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _render(
    record: RunRecord,
    sections: Sequence[Section],
    findings: Sequence[str],
    description: Mapping[str, Any],
    volumes: Mapping[str, str],
    *,
    has_masks: bool,
) -> str:
    return fill_template(
        "report.html.j2",
        style=asset("report.css") + _mask_colours(),
        script=asset("viewer.js"),
        label=record.label,
        record=record,
        verdict=verdict(record, findings),
        points=bullets,
        error=error_section(record),
        sections=sections,
        viewer=description,
        volumes=volumes,
        has_masks=has_masks,
        made=time.strftime("%Y-%m-%d %H:%M"),
    )


def _mask_colours() -> str:
    return "".join(
        f'.swatch[data-mask="{key}"] {{ background: {colour}; }}\n'
        for key, (_, colour) in MASKS.items()
    )
