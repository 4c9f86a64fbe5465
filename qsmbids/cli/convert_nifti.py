"""``qsmbids-convert NIFTI_DIR BIDS_DIR --from-nifti TABLE``: NIfTI of any names to raw BIDS.

The first call writes the table, a person completes it, the same call again converts.
"""

import argparse
import logging
from collections import Counter
from pathlib import Path

from qsmbids.cli.console import end
from qsmbids.errors import ConfigError, InputError

__all__ = ["convert_nifti"]

logger = logging.getLogger("qsmbids")

_PROGRAM = "qsmbids-convert"


def convert_nifti(args: argparse.Namespace) -> int:
    """Write the table if there is none, else convert what it says.

    Parameters
    ----------
    args : Namespace
        Of ``qsmbids-convert`` with ``--from-nifti``.

    Returns
    -------
    int
        Exit code.
    """
    source, bids_dir, table = args.source_dir.resolve(), args.bids_dir.resolve(), args.from_nifti
    if not source.is_dir():
        raise InputError("is no folder", str(args.source_dir), "Name the folder with the images.")
    if bids_dir == source or source in bids_dir.parents:
        raise ConfigError(
            "the dataset must not lie among the images", str(args.bids_dir), "Use another folder."
        )
    if table.is_dir():
        raise ConfigError("is a folder; name a file", str(table), "For example images.tsv.")
    if not table.exists():
        return _write(args, source, table)
    return _convert(args, source, bids_dir, table)


def _write(args: argparse.Namespace, source: Path, table: Path) -> int:
    """Write the table of what there is, and say what it lacks."""
    from qsmbids.io.from_nifti.found import find_images
    from qsmbids.io.from_nifti.table import COLUMNS, SKIP, checked, write_table

    rows, others = find_images(
        source,
        participant=args.participant_label or "",
        session=args.session_label or "",
        acquisition=args.acq_label or "",
    )
    if args.dry_run:
        print("\t".join(COLUMNS))
        for row in rows:
            print("\t".join(getattr(row, name) for name in COLUMNS))
    else:
        write_table(table, rows)
    _name_others(others)
    used = sum(row.part != SKIP for row in rows)
    _, lines = checked(list(enumerate(rows, 2)))
    for line in lines:
        logger.warning("TO FILL IN: %s", line)
    done = "dry run: the table would have" if args.dry_run else f"{table} was written with"
    what = f"{done} {len(rows)} image(s), {used} to convert, {len(rows) - used} to skip"
    if not used:
        return end(
            _PROGRAM,
            f"error: {what}: none has magnitude and phase by its name; correct the column part,"
            " and run the same command again",
            InputError.exit_code,
        )
    todo = f"fill in {len(lines)} cell(s)" if lines else "look at it"
    return end(_PROGRAM, f"{what}; {todo}, then run the same command again", 0)


def _convert(args: argparse.Namespace, source: Path, bids_dir: Path, table: Path) -> int:
    """Convert what a table says if it is complete, else say what is missing."""
    from qsmbids.io.from_nifti.placed import place_scans, scans_of
    from qsmbids.io.from_nifti.table import SKIP, checked, read_table
    from qsmbids.io.raw_dataset import ALREADY_THERE

    rows = read_table(table)
    entries, lines = checked(rows)
    scans, problems = scans_of(source, entries) if not lines else ([], [])
    for line in (*lines, *problems):
        logger.error("ERROR: %s", line)
    if lines or problems:
        return end(
            _PROGRAM,
            f"error: {table}: {len(lines or problems)} {'cell(s)' if lines else 'problem(s)'} to"
            " complete or correct, listed above; nothing was written",
            InputError.exit_code,
        )
    if not scans:
        return end(
            _PROGRAM,
            f"error: {table}: no image is to be converted; nothing was written",
            InputError.exit_code,
        )
    for scan in scans:
        files = dict.fromkeys(entry.file for entry in scan.entries)
        print(f"{scan.label}: {len(scan.times)} echo(es) from {len(files)} file(s)")
        for name in scan.names.values():
            print(f"  {name}.nii.gz")
    skipped = sum(row.part.strip().lower() == SKIP for _, row in rows)
    if args.dry_run:
        text = f"dry run: {len(scans)} run(s) to convert, {skipped} image(s) skipped"
        return end(_PROGRAM, f"{text}, nothing was written", 0)
    kept = place_scans(source, bids_dir, scans)
    for label, why in kept.items():
        logger.warning("%s was left out: %s", label, why)
    new = len(scans) - len(kept)
    there = all(why == ALREADY_THERE for why in kept.values())
    return end(
        _PROGRAM,
        f"{new} run(s) converted, {len(kept)} left out, {skipped} image(s) skipped; dataset:"
        f" {bids_dir}",
        0 if new or there else InputError.exit_code,
    )


def _name_others(others: Counter[str]) -> None:
    """Say what is not in the table."""
    if others:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        logger.info("not in the table, for no gradient echo is called so: %s", listed)
