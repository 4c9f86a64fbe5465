"""The two folders of every call."""

import argparse
from pathlib import Path

from qsmbids.errors import ConfigError, InputError

__all__ = ["checked_folders"]


def checked_folders(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return absolute input and output folders that make sense together."""
    bids_dir, out_dir = args.bids_dir.resolve(), args.output_dir.resolve()
    if not bids_dir.is_dir():
        raise InputError(
            "is not a folder", str(args.bids_dir), "Check the path, or the mount of the container."
        )
    if out_dir == bids_dir or out_dir in bids_dir.parents:
        raise ConfigError(
            "the output folder must not hold the input",
            str(args.output_dir),
            "Use for example BIDS_DIR/derivatives/qsmbids.",
        )
    if bids_dir in out_dir.parents and "derivatives" not in out_dir.relative_to(bids_dir).parts:
        raise ConfigError(
            "would put results among the raw data",
            str(args.output_dir),
            f"Use {bids_dir / 'derivatives' / 'qsmbids'} or a folder elsewhere.",
        )
    if args.work_dir is not None:
        work = args.work_dir.resolve()
        if work == bids_dir or bids_dir in work.parents:
            raise ConfigError("must not lie in the input dataset", "--work-dir")
    return bids_dir, out_dir
