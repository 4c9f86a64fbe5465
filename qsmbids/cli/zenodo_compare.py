"""``qsmbids-zenodo DEST --compare OUT``: maps of the example data beside the published ones."""

import logging
from pathlib import Path

from qsmbids.cli.console import end
from qsmbids.errors import InputError

__all__ = ["compare"]

logger = logging.getLogger("qsmbids")


def compare(dest: Path, out_dir: Path, program: str) -> int:
    """Compare all runs that are in both folders, write tables and page, and give a verdict.

    Parameters
    ----------
    dest : Path
        Dataset with the published maps.
    out_dir : Path
        Output of qsmbids.
    program : str
        For the last line.
    """
    from qsmbids.io.published import find_published
    from qsmbids.reports.comparison.compare import compare_pair
    from qsmbids.reports.comparison.page import overall, write_comparison
    from qsmbids.reports.run.record import find_results, read_run

    published = find_published(dest)
    results = {str(r["run"]): r for r in find_results(out_dir)}
    if not results:
        raise InputError(
            "holds no run of qsmbids",
            str(out_dir),
            f"Make one: qsmbids {dest} {out_dir} participant --preset sepia-fansi",
        )
    shared = {run.label for run, _ in published} & set(results)
    if not shared:
        labels = ", ".join(sorted(results)[:3])
        raise InputError(
            f"holds no run of which there is a published map (it has {labels})", str(out_dir)
        )
    pairs = []
    for (run, pipeline), maps in published.items():
        if run.label not in shared:
            continue
        logger.info("comparing %s with %s", run.label, pipeline)
        record = read_run(out_dir, results[run.label])
        pairs.append(compare_pair(record, run, pipeline, maps))
    for label in sorted({run.label for run, _ in published} - shared):
        logger.info("%s: not among the runs in %s", label, out_dir)
    page = write_comparison(out_dir / "logs" / "comparison", pairs)
    print(f"{'run':<42}{'published':<16}{'map':<12}{'slope':>7}{'corr':>7}{'NRMSE':>8}{'XSIM':>7}")
    for pair in pairs:
        for name, one in pair.maps.items():
            a = one.agreement
            similarity = "n/a" if one.xsim is None else f"{one.xsim:.3f}"
            print(
                f"{pair.label:<42}{pair.pipeline:<16}{name:<12}{a.slope:>7.3f}"
                f"{a.correlation:>7.3f}{100 * a.nrmse:>7.1f}%{similarity:>7}"
            )
        for line in (*pair.missed, *pair.notes, *filter(None, [pair.why])):
            print(f"    {line}")
        print(f"    {pair.verdict}")
    verdict = overall(pairs)
    print(f"\npage: {page}")
    missed = [f"{p.label}, {p.pipeline}: {p.missed[0]}" for p in pairs if p.missed]
    text = verdict.text.rstrip(".") + (f": {'; '.join(missed)}" if missed else "")
    return end(program, f"{text[0].lower()}{text[1:]}", 1 if missed else 0)
