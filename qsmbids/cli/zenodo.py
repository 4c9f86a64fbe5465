"""``qsmbids-zenodo DEST``: the example data of the consensus paper, ready to run."""

import argparse
import json
import logging
import re
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from qsmbids import __version__
from qsmbids.cli.console import end, guarded, log_to_console
from qsmbids.errors import InputError
from qsmbids.io.archive import safe_members
from qsmbids.io.download import (
    RECORD_URL,
    RemoteFile,
    fetch,
    read_record,
    unpack,
)

__all__ = ["data_archive", "main", "plan_layout"]

logger = logging.getLogger("qsmbids")

_KEPT = (".nii", ".nii.gz", ".json", ".tsv", ".bval", ".bvec")
_TOP_FILES = ("dataset_description.json", "participants.tsv", "participants.json", "README")
_TREE = re.compile(r"(.*/)?(sub-[a-zA-Z0-9+]+/(?:ses-[a-zA-Z0-9+]+/)?[a-z]+/sub-[^/]+)")
_NAME = re.compile(
    r"(sub-[a-zA-Z0-9+]+)(?:_(ses-[a-zA-Z0-9+]+))?(?:_[a-z]+-[a-zA-Z0-9+]+)*"
    r"_(?:MEGRE|GRE|T2starw)(?:\.nii|\.nii\.gz|\.json)"
)
_SECONDS_BETWEEN_LINES = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the record, lay out its raw data as BIDS, and say what to run next."""
    args = _parser().parse_args(argv)
    log_to_console()
    return guarded("qsmbids-zenodo", lambda: _main(args), "the same command goes on where it was")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qsmbids-zenodo",
        description="Download the example data of the QSM consensus paper"
        " (doi:10.5281/zenodo.7410455; GE, Philips and Siemens, mono- and bipolar) and lay them"
        " out as a BIDS dataset. An interrupted download goes on where it was.",
        epilog="exit codes: 0 all is there; 1 download or disk failed; 2 wrong usage;"
        " 3 no such record, or no BIDS data in it; 130 interrupted.",
    )
    parser.add_argument(
        "dest", type=Path, help="BIDS dataset to make; its sourcedata/zenodo keeps the archive"
    )
    parser.add_argument(
        "--record-url", default=RECORD_URL, metavar="URL", help="another record (%(default)s)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be fetched; write nothing"
    )
    parser.add_argument("--version", action="version", version=f"qsmbids {__version__}")
    return parser


def _main(args: argparse.Namespace) -> int:
    dest, url = args.dest.resolve(), args.record_url
    kept = dest / "sourcedata" / "zenodo"
    if (done := _finished(dest, kept / "record.json", url)) and not args.dry_run:
        return _report(dest, done, 0)
    _say(f"asking {url}")
    files = read_record(url)
    archive_file = data_archive(files)
    if args.dry_run:
        _print_table(files, archive_file)
        return end(
            "qsmbids-zenodo",
            f"dry run: would fetch {archive_file.size / 1e6:.1f} MB to {kept} and lay them out in"
            f" {dest}",
            0,
        )
    _say(f"fetching {archive_file.name}, {archive_file.size / 1e6:.1f} MB, to {kept}")
    path = fetch(archive_file, kept, progress=_progress())
    _say("checksum is right; unpacking the raw data")
    try:
        with zipfile.ZipFile(path) as archive:
            plan = plan_layout(archive)
            written = unpack(archive, plan, dest)
    except zipfile.BadZipFile as error:
        raise InputError(f"is not a zip archive ({error})", str(path)) from error
    _complete_description(dest, url)
    sizes = {target: (dest / target).stat().st_size for target in plan}
    record = {"record": url, "archive": archive_file.name, "md5": archive_file.md5, "files": sizes}
    _write_json(kept / "record.json", record)
    return _report(dest, list(plan), len(written))


def data_archive(files: Sequence[RemoteFile]) -> RemoteFile:
    """Return the archive with the data in BIDS naming, not the one with DICOM.

    Raises
    ------
    InputError
        The record has none.
    """
    found = [f for f in files if f.name.lower().endswith(".zip") and "dicom" not in f.name.lower()]
    named = [f for f in found if "data_result" in f.name.lower()] or found
    if not named:
        raise InputError(
            "holds no zip archive of data in BIDS naming",
            "the record",
            f"It has {', '.join(f.name for f in files)}.",
        )
    return max(named, key=lambda f: f.size)


def plan_layout(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return which member of the archive becomes which file of the dataset.

    Raw data are known by their BIDS tree (``sub-*/[ses-*/]anat/sub-*``) or, in folders of another
    kind, by the BIDS names of gradient echo images. What lies in ``derivatives`` stays in the
    archive. The suffix ``GRE``, older than that of BIDS, becomes ``MEGRE``.

    Raises
    ------
    InputError
        The archive is unsafe, or holds no such images.
    """
    members = [
        m
        for m in safe_members(archive)
        if not {"derivatives", "__MACOSX"} & set(m.filename.split("/")[:-1])
        and not m.filename.rsplit("/", 1)[-1].startswith(".")
    ]
    described = {
        m.filename.removesuffix("dataset_description.json")
        for m in members
        if m.filename.rsplit("/", 1)[-1] == "dataset_description.json"
    }
    plan: dict[str, tuple[tuple[int, int], zipfile.ZipInfo]] = {}
    for member in members:
        name = member.filename.rsplit("/", 1)[-1]
        if (tree := _TREE.fullmatch(member.filename)) and name.endswith(_KEPT):
            root, target = tree[1] or "", tree[2]
        elif named := _NAME.fullmatch(name):
            root = member.filename.removesuffix(name)
            target = "/".join([*(e for e in named.groups() if e), "anat", name])
        else:
            continue
        target = re.sub(r"_GRE(\.nii|\.json)", r"_MEGRE\1", target)
        rank = (0 if root in described else 1, member.filename.count("/"))
        if target not in plan or rank < plan[target][0]:  # there twice: from the dataset itself
            plan[target] = (rank, member)
    if not any(re.search(r"_(MEGRE|T2starw)\.nii(\.gz)?$", target) for target in plan):
        raise InputError(
            "holds no gradient echo images with BIDS names (sub-*_MEGRE.nii.gz)",
            str(archive.filename),
            "If it holds DICOM, unpack it and use qsmbids-convert.",
        )
    layout = {target: member for target, (_, member) in sorted(plan.items())}
    for root in sorted(described, key=lambda r: r.count("/")):
        for member in members:
            name = member.filename.removeprefix(root)
            if member.filename.startswith(root) and name in _TOP_FILES:
                layout.setdefault(name, member)
    return layout


def _complete_description(dest: Path, url: str) -> None:
    """Write what makes a folder a BIDS dataset where the archive has none."""
    path = dest / "dataset_description.json"
    if not path.exists():
        _write_json(
            path,
            {
                "Name": "Example data of the QSM consensus paper",
                "BIDSVersion": "1.8.0",
                "DatasetType": "raw",
                "ReferencesAndLinks": [url],
            },
        )


def _finished(dest: Path, record: Path, url: str) -> list[str]:
    """Return the files of an earlier call that came to its end, if they are all there."""
    try:
        known = json.loads(record.read_text("utf-8"))
        sizes = known["files"]
        if known["record"] == url and all((dest / f).stat().st_size == sizes[f] for f in sizes):
            return list(sizes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return []


def _report(dest: Path, targets: Iterable[str], n_written: int) -> int:
    """Say what is there, and what to do with it."""
    runs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in (t.rsplit("/", 1)[-1] for t in targets):
        if re.search(r"\.nii(\.gz)?$", name):
            run = re.sub(r"_(echo|part)-[^_]+|\.nii(\.gz)?$", "", name)
            for entity in ("echo", "part"):
                runs[run][entity].update(re.findall(f"_{entity}-([^_.]+)", name))
    print(f"{'run':<60}{'echoes':>8}  parts")
    for run, found in sorted(runs.items()):
        print(f"{run:<60}{len(found['echo']):>8}  {', '.join(sorted(found['part']))}")
    print(f"\nnext: qsmbids {dest} {dest / 'derivatives' / 'qsmbids'} participant --dry-run")
    state = f"{n_written} files written" if n_written else "all files were there already"
    return end("qsmbids-zenodo", f"{len(runs)} runs in {dest}, {state}", 0)


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
