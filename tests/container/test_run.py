"""What the image does: the same maps as outside, with nothing but its input and output folders."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import qsmbids

from .conftest import HARDENED

pytestmark = pytest.mark.container

MEMORY_GB = 3
# writes down whoever asks for an address or talks to another machine; local sockets of the workers
# have no address, and urllib3 tries on import whether it could bind to the loopback
AUDIT = """
import sys
def hook(event, args):
    talks = event in ("socket.connect", "socket.bind", "socket.sendto")
    address = args[-1] if talks and isinstance(args[-1], tuple) else ("::1",)
    if event == "socket.getaddrinfo" or address[0] not in ("::1", "127.0.0.1"):
        with open("/out/network.txt", "a") as file:
            file.write(f"{event} {args}\\n")
sys.addaudithook(hook)
"""


class Run(NamedTuple):
    bids: Path
    out: Path
    said: str


@pytest.fixture(scope="module")
def audit(tmp_path_factory) -> list[str]:
    """Options that make every Python of a container write down its use of the network."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "sitecustomize.py").write_text(AUDIT)
    folder.chmod(0o755)
    return ["-v", f"{folder}:/audit:ro", "-e", "PYTHONPATH=/audit"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small_dataset_source) -> Path:
    """Return a folder that any user may enter, with the place for the output."""
    folder = tmp_path_factory.mktemp("container")
    for parent in (folder, folder.parent, folder.parent.parent, small_dataset_source.parent):
        parent.chmod(0o755)
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    return folder


@pytest.fixture(scope="module")
def inside(engine, image, small_dataset_source, folders, audit) -> Run:
    """Run the image on the small head, with as few rights as there are."""
    out = folders / "out"
    done = engine(
        "run",
        "--rm",
        *HARDENED,
        f"--memory={MEMORY_GB}g",
        f"--memory-swap={MEMORY_GB}g",
        *audit,
        "-e",
        "NUMBA_DEBUG_CACHE=1",
        "-v",
        f"{small_dataset_source}:/data:ro",
        "-v",
        f"{out}:/out",
        image,
        "/data",
        "/out",
        "participant",
    )
    return Run(small_dataset_source, out, done.stdout + done.stderr)


def _files(folder: Path) -> dict[str, bytes]:
    """Return the results, without the records of the single call."""
    files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return {name: data for name, data in files.items() if not name.startswith("logs/")}


def test_outputs_are_those_of_the_same_run_outside(inside, outside, tmp_path):
    out = tmp_path / "out"
    environment = {
        "PATH": f"{outside}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "NUMBA_CPU_NAME": "generic",  # as in the image: else the loops use what this processor has
    }
    command = [outside / "qsmbids", inside.bids, out, "participant", "-w", tmp_path / "work"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    expected, found = _files(out), _files(inside.out)
    assert found.keys() == expected.keys()
    assert any(name.endswith("_Chimap.nii.gz") for name in found)
    # these name the call, its times and the release of Python, which may be another outside
    own = ("dataset_description.json", ".html", "-reconstruction_table.tsv", "_tables.md")
    different = [
        name for name in found if not name.endswith(own) and found[name] != expected[name]
    ]
    assert different == []


def test_the_description_differs_by_container_and_paths_only(inside):
    description = json.loads((inside.out / "dataset_description.json").read_text())
    ours = description["GeneratedBy"][0]
    tag = f"qsmbids:{qsmbids.__version__}"
    assert ours["Container"] == {"Type": "docker", "Tag": tag}
    assert ours["CommandLine"] == "qsmbids /data /out participant"
    assert description["DatasetLinks"]["raw"] == "file:///data"


def test_outputs_belong_to_the_user_and_nobody_else_wrote(inside):
    owners = {(f.stat().st_uid, f.stat().st_gid) for f in inside.out.rglob("*")}
    assert owners == {(4242, 4243)}
    assert not [f for f in inside.bids.rglob("*") if f.stat().st_uid == 4242]


def test_every_loop_was_compiled_beforehand(inside):
    assert "data loaded from" in inside.said
    assert re.findall(r"data saved to.*", inside.said) == []


def test_the_memory_limit_is_seen(inside):
    (settings,) = inside.out.glob("logs/*/qsmbids.toml")
    granted = float(re.search(r"^mem_gb = ([\d.]+)", settings.read_text(), re.MULTILINE)[1])
    assert 0.8 * MEMORY_GB < granted < 1.08 * MEMORY_GB  # a tenth is left; GiB are not GB


def test_the_network_is_not_even_asked_for(inside, engine, image, audit, folders):
    record = inside.out / "network.txt"
    assert not record.exists(), record.read_text()
    # the same watch does notice a question
    other = folders / "other"
    other.mkdir()
    other.chmod(0o777)
    ask = "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: pass"
    options = [*HARDENED, *audit, "-v", f"{other}:/out", "--entrypoint", "python3"]
    engine("run", "--rm", *options, image, "-c", ask)
    assert "getaddrinfo" in (other / "network.txt").read_text()


def test_no_home_and_a_second_run_with_other_rights(inside, engine, image, folders):
    """Without HOME, and resumed by another user: nothing of the image changes."""
    out = folders / "homeless"
    out.mkdir()
    out.chmod(0o777)
    name = f"qsmbids-test-{os.getpid()}"
    options = ["--name", name, "--network=none", "--user=977:0", "--entrypoint", "env"]
    mounts = ["-v", f"{inside.bids}:/data:ro", "-v", f"{out}:/out"]
    command = ["-u", "HOME", "qsmbids", "/data", "/out", "participant", "--sloppy"]
    try:
        engine("run", *options, *mounts, image, *command)
        changed = engine("diff", name).stdout.splitlines()
    finally:
        engine("rm", "-f", name)
    assert list(out.glob("sub-*/anat/*_Chimap.nii.gz"))
    # /tmp for the intermediate files; the engine makes the mount points
    expected = re.compile(r"[AC] /(tmp(/.*)?|data|out|etc|run|proc|sys|dev|etc/.*|run/.*)$")
    assert [line for line in changed if not expected.match(line)] == []
