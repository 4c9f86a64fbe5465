"""The summary that the jobs of an array share."""

import json
from concurrent.futures import ThreadPoolExecutor

from qsmbids.cli import summary
from qsmbids.cli.summary import write_summary


def _result(number, status="ok"):
    return {"run": f"sub-{number:02d}", "status": status, "outputs": []}


def test_all_runs_are_listed_whoever_ends_together(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_summary(tmp_path, [_result(n)]), range(40)))
    found = json.loads((tmp_path / "logs" / "summary.json").read_text())
    assert found["counts"] == {"ok": 40}
    assert [run["run"] for run in found["runs"]] == [f"sub-{n:02d}" for n in range(40)]


def test_a_job_that_ends_while_another_writes_is_not_lost(tmp_path, monkeypatch):
    """The slow job read the status files before the quick one ended, and writes after it."""
    write, quick = summary.write_json, iter([_result(2)])

    def slow(path, content):
        if path.name == "summary.json" and (other := next(quick, None)):
            write_summary(tmp_path, [other])
        return write(path, content)

    monkeypatch.setattr(summary, "write_json", slow)
    path = write_summary(tmp_path, [_result(1, "failed")])
    assert json.loads(path.read_text())["counts"] == {"failed": 1, "ok": 1}


def test_many_jobs_that_end_during_each_write_are_all_listed(tmp_path, monkeypatch):
    write, others = summary.write_json, iter([_result(n) for n in range(2, 12)])

    def slow(path, content):
        if path.name == "summary.json" and (other := next(others, None)):
            summary.write_status(tmp_path, [other])  # its job is about to write the summary
            if other["run"] == "sub-11":
                write_summary(tmp_path, [other])
        return write(path, content)

    monkeypatch.setattr(summary, "write_json", slow)
    path = write_summary(tmp_path, [_result(1)])
    assert json.loads(path.read_text())["counts"] == {"ok": 11}
