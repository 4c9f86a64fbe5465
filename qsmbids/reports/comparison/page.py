"""The comparison with published maps as a page, a table and JSON."""

import base64
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qsmbids import __version__
from qsmbids.io.write import write_json, write_text
from qsmbids.reports.comparison.compare import CHI, FIELD, Compared, Pair
from qsmbids.reports.comparison.figure import WINDOW, draw_side_by_side
from qsmbids.reports.comparison.limits import LIMITS, NUCLEUS_PPM, REASON
from qsmbids.reports.run.section import Section, bullets, paragraph, table
from qsmbids.reports.run.template import asset, fill_template
from qsmbids.reports.run.verdict import Verdict

__all__ = ["overall", "write_comparison"]

_COLUMNS = ("run", "pipeline", "preset", "verdict", "map", "unit", "n_voxels", "slope", "offset",
            "correlation", "nrmse", "xsim", "dice")  # fmt: skip
_CSS = ("report.css",)


def overall(pairs: Sequence[Pair]) -> Verdict:
    """Return the verdict on all pairs in one line."""
    judged = [p for p in pairs if p.judged]
    bad = [p for p in judged if p.missed]
    points = tuple(f"{p.label}, {p.pipeline}: {'; '.join(p.missed)}" for p in bad)
    if bad:
        text = f"{len(bad)} of {len(judged)} judged maps are outside the limits."
        return Verdict("failed", text, points)
    if judged:
        many = "the judged map agrees" if len(judged) == 1 else f"all {len(judged)} judged agree"
        return Verdict("fine", f"Within the stated limits {many} with the published.")
    presets = " or ".join(sorted(LIMITS))
    text = f"No run was judged, for none repeats a published pipeline (preset {presets})."
    return Verdict("look", text)


def write_comparison(folder: Path, pairs: Sequence[Pair]) -> Path:
    """Write ``comparison.html``, ``.tsv`` and ``.json``; the same maps give the same bytes.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    write_text(folder / "comparison.tsv", _tsv(pairs))
    write_json(folder / "comparison.json", _json(pairs))
    page = fill_template(
        "comparison.html.j2",
        style="".join(asset(name) for name in _CSS),
        script="",
        verdict=overall(pairs),
        points=bullets,
        sections=[_summary(pairs), *(_section(p) for p in pairs if p.maps), _limits()],
    )
    return write_text(folder / "comparison.html", page)


def _tsv(pairs: Sequence[Pair]) -> str:
    lines = ["\t".join(_COLUMNS)]
    for pair in pairs:
        start = (pair.label, pair.pipeline, pair.preset or "n/a", pair.verdict)
        for name, one in pair.maps.items():
            a = one.agreement
            numbers = (a.slope, a.offset, a.correlation, a.nrmse, one.xsim, one.dice)
            cells = ["n/a" if n is None else f"{n:.5f}" for n in numbers]
            lines.append("\t".join([*start, name, one.unit, str(a.n_voxels), *cells]))
        for nucleus in pair.nuclei:
            rest = (f"{nucleus.found - nucleus.published:.5f}", *["n/a"] * 4)
            name = f"{nucleus.segmentation} {nucleus.name}"
            lines.append("\t".join([*start, name, "ppm", str(nucleus.n_voxels), "n/a", *rest]))
        if not pair.maps:
            lines.append("\t".join([*start, *["n/a"] * 9]))
    return "\n".join(lines) + "\n"


def _json(pairs: Sequence[Pair]) -> dict[str, Any]:
    judged = [p for p in pairs if p.judged]
    return {
        "GeneratedBy": {"Name": "qsmbids", "Version": __version__},
        "Judged": len(judged),
        "Outside": sum(bool(p.missed) for p in judged),
        "Limits": {
            preset: {name: asdict(limit) for name, limit in maps.items()}
            for preset, maps in LIMITS.items()
        },
        "NucleusLimitPpm": NUCLEUS_PPM,
        "Pairs": [
            {
                "Run": p.label,
                "Pipeline": p.pipeline,
                "Preset": p.preset,
                "Verdict": p.verdict,
                "NotJudgedBecause": p.why,
                "OutsideLimits": p.missed,
                "Maps": {name: _numbers(one) for name, one in p.maps.items()},
                "Nuclei": [n._asdict() for n in p.nuclei],
                "Notes": p.notes,
            }
            for p in pairs
        ],
    }


def _numbers(one: Compared) -> dict[str, Any]:
    return {
        "Units": one.unit,
        **one.agreement._asdict(),
        "xsim": one.xsim,
        "dice": one.dice,
    }


def _summary(pairs: Sequence[Pair]) -> Section:
    rows = []
    for pair in pairs:
        for name in (CHI, FIELD):
            one = pair.maps.get(name)
            cells = ["n/a"] * 5
            if one is not None:
                a = one.agreement
                cells = [f"{a.slope:.3f}", f"{a.correlation:.3f}", f"{100 * a.nrmse:.1f} %"]
                cells += ["n/a" if one.xsim is None else f"{one.xsim:.3f}", f"{one.dice:.3f}"]
            rows.append((pair.label, pair.pipeline, name, *cells, pair.verdict))
    head = ("Run", "Published", "Map", "Slope", "Correlation", "NRMSE", "XSIM", "Dice", "Verdict")
    html = table(head, rows, numeric=(3, 4, 5, 6, 7)) + paragraph(
        "Inside the mask that both share, on the grid of the run. Slope of the run's map on the"
        " published one; susceptibility relative to the mean of the shared mask; NRMSE relative to"
        " the published map; XSIM of the local field in ppm; Dice of the two masks.",
        "note",
    )
    why = [f"{p.label}, {p.pipeline}: {p.why}" for p in pairs if p.why]
    if why:
        html += Markup("<h3>Not judged</h3>\n") + bullets(why)
    return Section("summary", "Summary", html)


def _section(pair: Pair) -> Section:
    html = paragraph(f"Preset of the run: {pair.preset or 'unknown'}. Verdict: {pair.verdict}.")
    if pair.missed:
        html += bullets(pair.missed, "warnings")
    if pair.volumes is not None:
        picture = base64.b64encode(draw_side_by_side(*pair.volumes)).decode("ascii")
        html += Markup('<figure><img alt="{}" src="data:image/png;base64,{}"></figure>').format(
            f"Susceptibility of {pair.label}: published, this run and their difference;"
            f" window {WINDOW.text('ppm')}",
            picture,
        )
    if pair.nuclei:
        rows = [
            (f"{n.segmentation} {n.name}", n.n_voxels, f"{n.published:+.3f}", f"{n.found:+.3f}",
             f"{n.found - n.published:+.3f}")
            for n in pair.nuclei
        ]  # fmt: skip
        head = ("Nucleus", "Voxels", "Published", "This run", "Difference")
        html += table(head, rows, numeric=(1, 2, 3, 4), caption="Mean susceptibility [ppm]")
    if pair.notes:
        html += bullets(pair.notes)
    anchor = re.sub(r"[^A-Za-z0-9-]", "-", f"{pair.label}-{pair.pipeline}")
    short = pair.pipeline.removeprefix("Pipeline_")
    return Section(anchor, f"{pair.label.partition('_')[2]} {short}", html)


def _limits() -> Section:
    rows = [
        (preset, name, f"{x.slope[0]:g} to {x.slope[1]:g}", f"{x.correlation:g}",
         f"{100 * x.nrmse:g} %", f"{x.xsim:g}")
        for preset, maps in LIMITS.items()
        for name, x in maps.items()
    ]  # fmt: skip
    head = ("Preset", "Map", "Slope", "Least correlation", "Most NRMSE", "Least XSIM")
    html = table(head, rows) + paragraph(
        f"The mean of a deep nucleus may be {NUCLEUS_PPM:g} ppm off. {REASON}", "note"
    )
    return Section("limits", "Limits", html)
