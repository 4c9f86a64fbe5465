"""Where the workers take their code from, whatever the current folder holds."""

import os
import subprocess
import sys
from pathlib import Path

import qsmbids

_CODE = """
import sys
sys.path.pop(0)  # as of a command, not of python -c
from qsmbids.workflows.workers import worker_context

def tell():
    import os
    import qsmbids
    print(qsmbids.__file__, os.environ["NIPYPE_NO_ET"])

if __name__ == "__main__":
    process = worker_context().Process(target=tell)
    process.start()
    process.join()
"""


def test_the_current_folder_is_not_looked_into(tmp_path):
    (tmp_path / "qsmbids").mkdir()
    (tmp_path / "qsmbids/__init__.py").write_text("raise SystemExit('another qsmbids')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(_CODE)
    own = Path(qsmbids.__file__)
    environment = {k: v for k, v in os.environ.items() if not k.endswith("NO_ET")}
    environment["PYTHONPATH"] = str(own.parents[1])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(own), "1"]
    assert "another qsmbids" not in done.stderr


def test_compiling_ahead_takes_what_is_idle():
    code = (
        "import os\nfrom qsmbids.workflows.workers import _wait_for_idle\n_wait_for_idle()\n"
        "print(os.sched_getscheduler(0) == os.SCHED_IDLE or os.nice(0) >= 19)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


#: Two processes that start numba's threads and are killed: a worker, and what compiles beside.
_KILLED = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
import numba

def strike(*_):
    numba.get_num_threads()
    os.kill(os.getpid(), signal.SIGKILL)

def compile_and_strike():
    from qsmbids.workflows import compiling, workers
    compiling.compile_ahead = strike
    workers._compile(None, ())

if __name__ == "__main__":
    from qsmbids.workflows.plugins import _start_worker
    from qsmbids.workflows.workers import worker_context
    context = worker_context()
    pool = ProcessPoolExecutor(1, context, _start_worker, (os.getcwd(),))
    try:
        pool.submit(strike).result()
    except BrokenProcessPool:
        print("worker killed")
    process = context.Process(target=compile_and_strike)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_a_killed_process_leaves_no_semaphore_that_python_tells_of(tmp_path):
    (tmp_path / "killed.py").write_text(_KILLED)
    done = subprocess.run(
        [sys.executable, "killed.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["worker killed", "-9", ""]
    assert done.stderr == ""


_INTERRUPTED = """
import os, signal, time
from concurrent.futures import ProcessPoolExecutor

def answer():
    os.kill(os.getpid(), signal.SIGINT)
    program = os.popen("kill -s INT $$; echo lives").read()
    return "works", program

if __name__ == "__main__":
    from qsmbids.workflows.plugins import _start_worker
    from qsmbids.workflows.workers import worker_context
    told = []
    signal.signal(signal.SIGINT, lambda *_: told.append(1))
    context = worker_context()
    time.sleep(0.3)
    os.killpg(0, signal.SIGINT)  # while the server imports
    pool = ProcessPoolExecutor(1, context, _start_worker, (os.getcwd(),))
    print(*pool.submit(answer).result(), len(told))
    os.killpg(0, signal.SIGINT)
    print(*pool.submit(answer).result(), len(told))
"""


def test_a_terminal_interrupts_the_caller_alone_and_what_steps_start(tmp_path):
    (tmp_path / "interrupted.py").write_text(_INTERRUPTED)
    done = subprocess.run(
        [sys.executable, "interrupted.py"],
        cwd=tmp_path, capture_output=True, text=True, start_new_session=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["works  1", "works  2"]
    assert done.stderr == ""
