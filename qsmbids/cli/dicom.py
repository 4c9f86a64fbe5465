"""``qsmbids-dicom OUT DEST --source DICOM_DIR``: from maps to objects for a PACS."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from qsmbids import __version__
from qsmbids.cli.console import end, guarded, log_to_console
from qsmbids.cli.convert import _label
from qsmbids.errors import InputError

__all__ = ["FORMS", "build_parser", "main"]

logger = logging.getLogger("qsmbids")

#: What ``--form`` takes.
FORMS = {
    "parametric-map": ("parametric-map",),
    "classic": ("classic",),
    "both": ("parametric-map", "classic"),
}

_EPILOG = """\
Susceptibility in each reference, R2*, SWI and its minimum projection become images of the study
of the source, segmentations DICOM SEG, tables of regions structured reports (TID 1500). New
identifiers follow from the content: the same when made again. For research.
exit codes: 0 written; 1 it cannot be written; 2 wrong usage; 3 the source is not that of the
maps, and nothing was written; 70 internal error; 130 interrupted.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``qsmbids-dicom``."""
    parser = argparse.ArgumentParser(
        prog="qsmbids-dicom",
        description="Write the maps of one examination as DICOM.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("output_dir", metavar="OUT", type=Path, help="output dataset of qsmbids")
    add("dest", metavar="DEST", type=Path, help="folder for the DICOM files, made if absent")
    add(
        "--source",
        type=Path,
        required=True,
        metavar="DICOM_DIR",
        help="the DICOM files that the maps were made from: folder, or zip or tar archive",
    )
    add(
        "--form",
        choices=list(FORMS),
        default="parametric-map",
        help="Parametric Map with floating-point values, classic MR images (stored in ppb) for"
        " viewers that cannot read it, or both (%(default)s)",
    )
    for name, prefix in (("participant", "sub-"), ("session", "ses-")):
        add(
            f"--{name}-label",
            f"--{name}_label",
            type=_label(prefix),  # type: ignore[arg-type]
            metavar="LABEL",
            help=f"with or without {prefix}; needed where OUT holds more than one {name}",
        )
    add("-v", "--verbose", action="count", default=0, help="say more; twice for debugging")
    add("--version", action="version", version=f"qsmbids {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = build_parser().parse_args(argv)
    log_to_console(args.verbose)
    return guarded("qsmbids-dicom", lambda: _export(args), "no half of an export was left")


def _export(args: argparse.Namespace) -> int:
    """Find the source of the maps, and write them."""
    if not args.output_dir.is_dir():
        raise InputError("is not a folder", str(args.output_dir), "Give the output of qsmbids.")
    # the numerics, pydicom and highdicom take their time to import: only now
    from qsmbids.io.dicom_out.export import export

    done = export(
        args.output_dir,
        args.dest,
        args.source,
        forms=FORMS[args.form],
        participants=None if args.participant_label is None else [args.participant_label],
        sessions=None if args.session_label is None else [args.session_label],
    )
    for text in done.decisions:
        logger.info("%s", text)
    for text in done.warnings:
        logger.warning("WARNING: %s", text)
    return end(
        "qsmbids-dicom",
        f"{done.n_series} series, {done.n_files} files in {args.dest}",
        0,
    )


if __name__ == "__main__":
    raise SystemExit(main())
