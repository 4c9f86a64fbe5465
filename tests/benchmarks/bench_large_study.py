"""What a study of thousands of participants costs before, beside and after the maps.

python tests/benchmarks/bench_large_study.py [PARTICIPANTS] [--index] [--maps] [--keep FOLDER]

One participant is real (the demo head at 2 mm), all others are empty files of the same names.
``--index`` also makes the index of all, which takes minutes and gigabytes; ``--maps`` also runs
the real participant, for the sizes of outputs and work directory.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from qsmbids.cli.summary import write_summary
from qsmbids.execution import OUTPUT_LEVELS
from qsmbids.io.phantom import write_phantom_dataset

_SKIP = "--skip-bids-validation"


def _run(*words):
    """Run the command line; return seconds and exit code."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "qsmbids", *map(str, words)], capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout[-500:], done.stderr[-500:])
    return time.monotonic() - began


def _calls(*words):
    """Return the calls to the file system that name the dataset, if strace is there."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile() as log:
        command = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", log.name, sys.executable]
        subprocess.run([*command, "-m", "qsmbids", *map(str, words)], capture_output=True)
        text = Path(log.name).read_text(errors="replace")
    return sum(f'"{words[0]}/' in line for line in text.splitlines())


def _multiply(real: Path, participants: int) -> None:
    """Add empty participants to a dataset, named as the real one."""
    names = [p.name for p in (real / "sub-demo" / "anat").iterdir()]
    for number in range(1, participants):
        label = f"sub-{number:05d}"
        anat = real / label / "anat"
        anat.mkdir(parents=True)
        for name in names:
            os.close(os.open(anat / name.replace("sub-demo", label), os.O_CREAT | os.O_WRONLY))
    rows = ["participant_id", "sub-demo", *(f"sub-{n:05d}" for n in range(1, participants))]
    (real / "participants.tsv").write_text("\n".join([*rows, ""]))
    shutil.rmtree(real / "derivatives", ignore_errors=True)


def _size(folder: Path) -> str:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.1f} MB"


def _start(root: Path, participants: int, with_index: bool) -> None:
    bids = root / f"bids{participants}"
    write_phantom_dataset(bids, shape=(96, 112, 80), voxel_size=(2.0, 2.0, 2.0))
    _multiply(bids, participants)
    one = (bids, root / "out", "participant", "--participant-label", "demo", "--dry-run")
    _run(*one, _SKIP)  # fills the cache of the disk
    print(f"{participants} participants, one asked for:")
    print(f"  dry run                         {_run(*one, _SKIP):8.1f} s")
    print(f"  the same with validation        {_run(*one):8.1f} s")
    print(f"  calls that name the dataset     {_calls(*one, _SKIP)}", flush=True)
    if not with_index:
        return
    index = ("--bids-database-dir", root / f"index{participants}")
    print(f"  dry run that makes an index     {_run(*one, _SKIP, *index):8.1f} s")
    print(f"  dry run with the index          {_run(*one, _SKIP, *index):8.1f} s", flush=True)


def _summaries(root: Path, participants: int, writers: int = 8) -> None:
    """Time the one file that all jobs share, written by several at once."""
    out = root / "shared"
    entry = {"status": "ok", "outputs": [f"sub-demo/anat/sub-demo_{n}.nii.gz" for n in range(30)]}
    folder = out / "logs" / "status"
    folder.mkdir(parents=True)
    for number in range(participants - writers):
        name = f"sub-{number:05d}"
        (folder / f"{name}.json").write_text(json.dumps({"run": name, **entry}))
    began = time.monotonic()
    last = [[{"run": f"sub-last{n}", **entry}] for n in range(writers)]
    threads = [threading.Thread(target=write_summary, args=(out, results)) for results in last]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = json.loads((out / "logs" / "summary.json").read_text())["counts"]
    size = (out / "logs" / "summary.json").stat().st_size / 1e6
    print(
        f"summary of {participants} runs ({size:.1f} MB), {writers} writers at once:"
        f" {time.monotonic() - began:.1f} s, lists {found}"
    )


def _maps(root: Path) -> None:
    """Run the real participant at every output level, in one work directory."""
    bids, work = root / "bids10", root / "work"
    for level in OUTPUT_LEVELS:
        out = root / f"out-{level}"
        took = _run(
            *(bids, out, "participant", "--participant-label", "demo", "-w", work, _SKIP),
            *("--output-level", level),
        )
        print(f"level {level:<9} {_size(out / 'sub-demo')}, {took:.1f} s")
    out = root / "out-standard"
    one = (bids, out, "participant", "--participant-label", "demo", "-w", work, _SKIP)
    print(f"work directory  {_size(work)}")
    print(f"resumed, nothing to do  {_run(*one):.1f} s")
    _run(*one, "--clean-workdir")
    print(f"work directory after --clean-workdir: {'gone' if not work.exists() else _size(work)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("participants", type=int, nargs="?", default=10_000)
    parser.add_argument("--index", action="store_true")
    parser.add_argument("--maps", action="store_true")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        root = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for participants in (10, args.participants):
            _start(root, participants, args.index)
        _summaries(root, args.participants)
        if args.maps:
            _maps(root)


if __name__ == "__main__":
    main()
