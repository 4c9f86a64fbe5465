"""``qsmbids-convert SOURCE_DIR BIDS_DIR``: from DICOM, or NIfTI of any names, to raw BIDS."""

import argparse
import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from qsmbids import __version__
from qsmbids.cli.console import end, guarded, log_to_console
from qsmbids.cli.convert_nifti import convert_nifti
from qsmbids.errors import ConfigError, InputError

__all__ = ["build_parser", "main"]

logger = logging.getLogger("qsmbids")

_EPILOG = """\
Gradient echo scans with phase (or real and imaginary part) are converted; everything else is
skipped with the reason. Nothing that exists is overwritten.
NIfTI images of any names: qsmbids-convert NIFTI_DIR BIDS_DIR --from-nifti images.tsv writes
images.tsv, a table of the images below NIFTI_DIR, filled in as far as names and sidecars tell.
Complete it (echo times in s, field strength in T, "skip" for what is not wanted), and run the same
command again to convert.
exit codes: 0 a run was converted; 1 the dataset cannot be written; 2 wrong usage; 3 no run could
be converted; 70 internal error; 130 interrupted.
"""


def _label(prefix: str) -> object:
    def label(text: str) -> str:
        stripped = text.removeprefix(prefix)
        if not (stripped.isascii() and stripped.isalnum()):
            raise argparse.ArgumentTypeError(f"'{text}' is no label: letters and digits only")
        return stripped

    return label


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``qsmbids-convert``."""
    parser = argparse.ArgumentParser(
        prog="qsmbids-convert",
        description="Convert the DICOM files of one scan session, or NIfTI images, to a raw BIDS"
        " dataset.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "source_dir",
        type=Path,
        metavar="dicom_dir",
        help="folder with DICOM files, or a zip or tar archive of them; with --from-nifti, folder"
        " with NIfTI images",
    )
    add("bids_dir", type=Path, help="raw BIDS dataset, made if absent")
    add(
        "--from-nifti",
        type=Path,
        metavar="TABLE",
        help="convert NIfTI images by this table (TSV), which is written if there is none",
    )
    add(
        "--participant-label",
        "--participant_label",
        type=_label("sub-"),  # type: ignore[arg-type]
        metavar="LABEL",
        help="with or without sub-; needed for DICOM",
    )
    add(
        "--session-label",
        "--session_label",
        type=_label("ses-"),  # type: ignore[arg-type]
        metavar="LABEL",
        help="with or without ses-",
    )
    add(
        "--acq-label",
        "--acq_label",
        type=_label("acq-"),  # type: ignore[arg-type]
        metavar="LABEL",
        help="for all runs; default: made of the series descriptions where these differ",
    )
    add(
        "--no-scanner-key",
        action="store_true",
        help="no ScannerKey in the sidecars; it is a digest of station and serial number, with a"
        " salt that is kept in your own state folder, by which two scanners of one model stay two",
    )
    add(
        "--accept-filtered-phase",
        action="store_true",
        help="convert phase that the scanner high-pass filtered, where there is no other; it lacks"
        " most of the field",
    )
    add(
        "--dry-run", action="store_true", help="print what each series would become, write nothing"
    )
    add("-v", "--verbose", action="count", default=0, help="say more; twice for debugging")
    add("--version", action="version", version=f"qsmbids {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.participant_label is None and args.from_nifti is None:
        parser.error("the following arguments are required: --participant-label")
    log_to_console(args.verbose)
    command = _convert if args.from_nifti is None else convert_nifti
    return guarded("qsmbids-convert", lambda: command(args), "no half of a run was left")


def _convert(args: argparse.Namespace) -> int:
    """Convert, print the table, and move the runs into the dataset."""
    source, bids_dir = args.source_dir.resolve(), args.bids_dir.resolve()
    if bids_dir == source or source in bids_dir.parents:
        raise ConfigError(
            "the dataset must not lie among the DICOM files",
            str(args.bids_dir),
            "Use a folder elsewhere.",
        )
    if bids_dir.exists() and not bids_dir.is_dir():
        raise ConfigError("is not a folder", str(args.bids_dir))
    # pydicom and the numerics take their time to import: only now
    from qsmbids.io.dicom import convert_dicom
    from qsmbids.io.raw_dataset import place

    labels = {"participant": args.participant_label, "session": args.session_label}
    with tempfile.TemporaryDirectory(prefix="qsmbids-convert-") as work:
        logger.info("reading %s", args.source_dir)
        converted = convert_dicom(
            source,
            work,
            acquisition=args.acq_label,
            accept_filtered=args.accept_filtered_phase,
            **labels,
        )
        print_table(converted.rows())
        for text in converted.warnings:
            logger.warning("WARNING: %s", text)
        runs = converted.naming.runs
        if args.dry_run:
            code = 0 if runs else InputError.exit_code
            return end(
                "qsmbids-convert",
                f"dry run: {len(runs)} run(s) to convert, nothing was written",
                code,
            )
        if not runs:
            return end(
                "qsmbids-convert",
                "error: no series is a gradient echo scan with phase; nothing was written",
                InputError.exit_code,
            )
        images, kept = place(
            converted, bids_dir, with_scanner_key=not args.no_scanner_key, **labels
        )
    for label, why in kept.items():
        logger.warning("%s was left out: %s", label, why)
    for path in images:
        logger.debug("wrote %s", path)
    return end(
        "qsmbids-convert",
        f"{len(runs) - len(kept)} run(s) converted, {len(kept)} left out; dataset: {bids_dir}",
        0 if images else InputError.exit_code,
    )


def print_table(rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Print what becomes of each series."""
    table = [("series", "images", "description", "becomes"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for number, images, description, fate in table:
        left = f"{number:>{widths[0]}}  {images:>{widths[1]}}  {description:<{widths[2]}}"
        print(f"{left}  {fate}")


if __name__ == "__main__":
    raise SystemExit(main())
