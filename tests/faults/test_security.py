"""No shell, no network, no telemetry, private temporary files: read from the code and tried."""

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import qsmbids
from qsmbids.cli.work_dir import clean_work_dir, prepare_work_dir
from qsmbids.errors import ConfigError

PACKAGE = Path(qsmbids.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
#: The only module that talks to a server, for the only command that does.
NETWORK = {"io/download.py"}
SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pty.spawn",
}
EXECUTING = {"eval", "exec", "compile", "__import__"}
NET_MODULES = {
    "socket",
    "ssl",
    "http",
    "urllib",
    "ftplib",
    "smtplib",
    "requests",
    "httpx",
    "aiohttp",
}


def _calls(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_shell_and_no_code_from_strings(path):
    for name, call in _calls(path):
        assert name not in SHELLS, f"line {call.lineno}"
        assert name not in EXECUTING, f"line {call.lineno}"
        assert name.rpartition(".")[2] not in ("mktemp", "tempnam"), f"line {call.lineno}"
        assert name not in ("yaml.load", "pickle.load", "pickle.loads"), f"line {call.lineno}"
        shell = [k for k in call.keywords if k.arg == "shell"]
        assert not shell or not shell[0].value.value, f"line {call.lineno}"
        if name in ("subprocess.run", "subprocess.Popen", "subprocess.check_output"):
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr | ast.BinOp)


def test_the_check_for_shells_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nos.system('ls')\n")
    with pytest.raises(AssertionError):
        test_no_shell_and_no_code_from_strings(bad)


def test_one_module_knows_the_network():
    found = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used = [n for n in names if n.partition(".")[0] in NET_MODULES]
            if used and used != ["urllib.parse"]:
                found.add((path.relative_to(PACKAGE).as_posix(), *used))
    # the name of this machine, for the lock of a run
    found.discard(("workflows/cache.py", "socket"))
    assert {name for name, *_ in found} <= NETWORK | {"cli/zenodo.py"}, found


_NO_NETWORK = """
import sys
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        address = args[1] if event in ("socket.connect", "socket.sendto") else args[0]
        if isinstance(address, (str, bytes)) and event == "socket.connect":
            return  # between our own processes, on this machine
        sys.stderr.write(f"NETWORK {event} {args[1:]}\\n")
sys.addaudithook(hook)
"""


@pytest.mark.slow
@pytest.mark.parametrize("nprocs", ["1", "2"])
def test_a_run_never_asks_for_the_network(job, tmp_path, nprocs):
    """Every process of a run, workers included, tells of every connection that it opens."""
    here = tmp_path / "hook"
    here.mkdir()
    environ = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{PACKAGE.parent}"}
    (here / "sitecustomize.py").write_text(_NO_NETWORK)
    asks = [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"]
    said = subprocess.run(asks, env=environ, capture_output=True, text=True, check=False)
    assert "NETWORK socket.connect" in said.stderr  # the hook works
    said = subprocess.run(
        job.command("--nprocs", nprocs), env=environ, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "NETWORK" not in said.stderr


def test_telemetry_of_nipype_is_off():
    code = "import qsmbids.interfaces.base, os, sys; sys.exit(os.environ['NO_ET'] != '1')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
    text = "".join(p.read_text("utf-8") for p in MODULES)
    assert not re.search(r"sentry|analytics|migas", text, re.IGNORECASE)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_work_directory_is_private(tmp_path):
    before = os.umask(0)
    try:
        prepare_work_dir(tmp_path / "qsmbids-0" / "abc", ours_alone=True)
        prepare_work_dir(tmp_path / "given", ours_alone=False)
    finally:
        os.umask(before)
    for path in ("qsmbids-0", "qsmbids-0/abc", "given"):
        assert _mode(tmp_path / path) == 0o700


def test_a_default_work_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not a folder of our own"):
        prepare_work_dir(link / "abc", ours_alone=True)
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr("os.getuid", lambda: 123456)
    with pytest.raises(ConfigError, match=r"not a folder of our own.*--work-dir"):
        prepare_work_dir(tmp_path / "mine" / "abc", ours_alone=True)


def test_a_default_work_directory_that_was_open_is_closed(tmp_path):
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    prepare_work_dir(tmp_path / "open" / "abc", ours_alone=True)
    assert _mode(tmp_path / "open") == 0o700


def test_cleaning_takes_our_own_steps_only(tmp_path):
    for name in ("sub_01_wf", "sub_02_wf"):
        (tmp_path / "qsmbids_1_wf" / name / "mask1").mkdir(parents=True)
        (tmp_path / f"{name}.lock").touch()
    for name in ("sub_01_convert_wf", "sub_011_convert_wf"):
        (tmp_path / "qsmbids_convert_1_wf" / name).mkdir(parents=True)
    (tmp_path / "precious").write_text("x")
    clean_work_dir(tmp_path, ["sub-01"])
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")}
    assert left == {
        "precious", "sub_02_wf.lock", "qsmbids_1_wf", "qsmbids_1_wf/sub_02_wf",
        "qsmbids_1_wf/sub_02_wf/mask1", "qsmbids_convert_1_wf",
        "qsmbids_convert_1_wf/sub_011_convert_wf",
    }  # fmt: skip
