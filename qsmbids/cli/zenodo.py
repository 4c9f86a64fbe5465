"""``qsmbids-zenodo DEST``: the example data of the consensus paper, ready to run and compare."""

import argparse
import json
import logging
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmbids import __version__
from qsmbids.cli.console import end, guarded, log_to_console
from qsmbids.errors import ConfigError, InputError
from qsmbids.io.download import RECORD_URL, RemoteFile, fetch, read_record

__all__ = ["archive_of", "main"]

logger = logging.getLogger("qsmbids")

_PROGRAM = "qsmbids-zenodo"
_SECONDS_BETWEEN_LINES = 10.0
_EPILOG = """\
Without --dicom, DEST gets what the paper's scripts converted, and the published maps; with it,
the DICOM files are converted by dcm2niix. Choose one folder for each. An interrupted call goes on
where it was. --compare downloads nothing.
exit codes: 0 all that is in the archive is there, or no judged map is outside the limits (the last
line says how many were judged); 1 download or disk failed, or maps are outside the limits; 2 wrong
usage; 3 no such record, no such data in it, or parts of it are missing or damaged (the others are
laid out); 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the record, lay out its data as BIDS, or compare maps with the published ones."""
    args = _parser().parse_args(argv)
    log_to_console()
    return guarded(_PROGRAM, lambda: _main(args), "the same command goes on where it was")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Download the example data of the QSM consensus paper"
        " (doi:10.5281/zenodo.7410455; GE, Philips and Siemens, mono- and bipolar), lay them out"
        " as a BIDS dataset, and compare maps made of them with the published ones.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("dest", type=Path, help="BIDS dataset to make; its sourcedata/zenodo keeps the archive")
    add("--dicom", action="store_true", help="take the archive with DICOM files, and convert them")
    add(
        "--compare",
        type=Path,
        metavar="OUT",
        help="compare the maps in this output of qsmbids with the published ones in DEST",
    )
    add("--record-url", default=RECORD_URL, metavar="URL", help="another record (%(default)s)")
    add("--dry-run", action="store_true", help="show what would be fetched; write nothing")
    add("--version", action="version", version=f"qsmbids {__version__}")
    return parser


def _main(args: argparse.Namespace) -> int:
    if args.compare is not None:
        if args.dicom or args.dry_run:
            raise ConfigError("goes with neither --dicom nor --dry-run", "--compare")
        from qsmbids.cli.zenodo_compare import compare

        return compare(args.dest.resolve(), args.compare.resolve(), _PROGRAM)
    dest, url = args.dest.resolve(), args.record_url
    kept = dest / "sourcedata" / "zenodo"
    known = _known(kept / "record.json", url, args.dicom)
    if known.get("complete") and not args.dry_run and (done := _present(known, dest)):
        if len(done) == len(known["runs"]):
            return _report(dest, done, 0, {})
    _say(f"asking {url}")
    files = read_record(url)
    archive_file = archive_of(files, dicom=args.dicom)
    if args.dry_run:
        _print_table(files, archive_file)
        return end(
            _PROGRAM,
            f"dry run: would fetch {archive_file.size / 1e6:.1f} MB to {kept} and lay them out in"
            f" {dest}",
            0,
        )
    _say(f"fetching {archive_file.name}, {archive_file.size / 1e6:.1f} MB, to {kept}")
    path = fetch(archive_file, kept, progress=_progress())
    if known.get("md5") != archive_file.md5:
        known = {}
    return _lay_out(path, archive_file, dest, args, _present(known, dest))


def archive_of(files: Sequence[RemoteFile], *, dicom: bool = False) -> RemoteFile:
    """Return the archive of a record with the data and results, or that with DICOM.

    Raises
    ------
    InputError
        The record has none.
    """
    zips = [f for f in files if f.name.lower().endswith(".zip")]
    archives = [f for f in zips if ("dicom" in f.name.lower()) == dicom]
    named = [f for f in archives if dicom or "data_result" in f.name.lower()] or archives
    if not named:
        raise InputError(
            f"holds no zip archive {'with DICOM' if dicom else 'of data and results'}",
            "the record",
            f"It has {', '.join(f.name for f in files)}.",
        )
    return max(named, key=lambda f: f.size)


def _lay_out(
    path: Path,
    archive: RemoteFile,
    dest: Path,
    args: argparse.Namespace,
    done: dict[str, dict[str, int]],
) -> int:
    """Lay out what is not there yet; note after every run what is."""
    from qsmbids.io.example_dicom import lay_out_dicom  # numpy, pydicom: not for --help
    from qsmbids.io.example_results import lay_out_results
    from qsmbids.io.example_runs import working_folder

    _say("checksum is right; laying out the runs")
    record: dict[str, Any] = {
        "record": args.record_url,
        "dicom": args.dicom,
        "archive": archive.name,
        "md5": archive.md5,
        "complete": False,
        "runs": done,
    }
    problems: dict[str, str] = {}
    n_written, code = 0, 0
    lay_out = lay_out_dicom if args.dicom else lay_out_results
    with working_folder(path.parent) as work:
        for outcome in lay_out(path, dest, work, tuple(done)):
            for text in outcome.warnings:
                logger.warning("WARNING: %s: %s", outcome.label, text)
            if outcome.problem:
                problems[outcome.label] = outcome.problem
                code = max(code, outcome.exit_code)
                continue
            if not outcome.files:
                continue
            if not outcome.label.startswith("derivatives/"):
                _say(f"{outcome.label}: {outcome.n_written} files written")
            n_written += outcome.n_written
            done[outcome.label] = {f: (dest / f).stat().st_size for f in outcome.files}
            _write_json(path.parent / "record.json", record)
    record["complete"] = not problems
    _write_json(path.parent / "record.json", record)
    return _report(dest, done, n_written, problems, code)


def _known(record: Path, url: str, dicom: bool) -> dict[str, Any]:
    """Return what an earlier call of the same kind noted."""
    try:
        known = json.loads(record.read_text("utf-8"))
        if known["record"] == url and known["dicom"] == dicom and isinstance(known["runs"], dict):
            return dict(known)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def _present(known: Mapping[str, Any], dest: Path) -> dict[str, dict[str, int]]:
    """Return the runs of an earlier call of which every file is there in its size."""

    def there(files: Any) -> bool:
        try:
            return bool(files) and all((dest / f).stat().st_size == files[f] for f in files)
        except (OSError, TypeError):
            return False

    return {label: files for label, files in known.get("runs", {}).items() if there(files)}


def _report(
    dest: Path,
    done: Mapping[str, Iterable[str]],
    n_written: int,
    problems: Mapping[str, str],
    code: int = 0,
) -> int:
    """Say what is there, what is not, and what to do with it."""
    runs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    published = sorted(label for label in done if label.startswith("derivatives/"))
    for label in sorted(set(done) - set(published)):
        for name in (t.rsplit("/", 1)[-1] for t in done[label]):
            if name.endswith(".nii.gz"):
                run = re.sub(r"_(echo|part)-[^_]+|\.nii\.gz$", "", name)
                for entity in ("echo", "part"):
                    runs[run][entity].update(re.findall(f"_{entity}-([^_.]+)", name))
    print(f"{'run':<60}{'echoes':>8}  parts")
    for run, outcomes in sorted(runs.items()):
        print(f"{run:<60}{len(outcomes['echo']):>8}  {', '.join(sorted(outcomes['part']))}")
    if published:
        print(f"published maps: {len(published)} sets in {dest / 'derivatives' / 'SEPIA'}")
    for label, why in problems.items():
        print(f"LEFT OUT  {label}: {why}")
    if runs:
        out = dest / "derivatives" / "qsmbids"
        print(f"\nnext: qsmbids {dest} {out} participant --dry-run")
        if published:
            print(f"then: {_PROGRAM} {dest} --compare {out}")
    state = f"{n_written} files written" if n_written else "all files were there already"
    text = f"{len(runs)} runs in {dest}, {state}"
    if problems:
        text += (
            f"; {len(problems)} left out: {'; '.join(f'{k}: {v}' for k, v in problems.items())}"
        )
    return end(_PROGRAM, text, code)


def _print_table(files: Iterable[RemoteFile], wanted: RemoteFile) -> None:
    print(f"{'MB':>10}  {'md5':<34}file")
    for file in files:
        note = "" if file == wanted else "  (not needed)"
        print(f"{file.size / 1e6:>10.1f}  {file.md5:<34}{file.name}{note}")


def _progress() -> Callable[[int, int], None]:
    """Return a function that says every few seconds how much is here."""
    last = time.monotonic()

    def progress(done: int, size: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            _say(f"{100 * done / size:3.0f} %  {done / 1e6:.0f} of {size / 1e6:.0f} MB")

    return progress


def _write_json(path: Path, content: dict[str, Any]) -> None:
    from qsmbids.io.write import write_json  # numpy and nibabel: not for --help

    write_json(path, content)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
