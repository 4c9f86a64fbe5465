"""Echoes come in the order of their times, whatever their numbers are."""

import re

import pytest

from qsmbids.errors import MetadataError
from qsmbids.io.echo_order import in_order_of_echo_times
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.runs import Run


def run_of(*echo_times):
    """Return a run without files; echo numbers from 1."""
    n = len(echo_times)
    files = [f"echo-{e}" for e in range(1, n + 1)]
    sidecars = tuple({} if te is None else {"EchoTime": te} for te in echo_times)
    return Run(
        {"subject": "1"}, "MEGRE", tuple(range(1, n + 1)), tuple(files), tuple(files), sidecars
    )


def test_numbers_that_fall_with_the_echo_time():
    run, given = in_order_of_echo_times(run_of(0.022, 0.016, 0.010, 0.004))
    assert run.echoes == (4, 3, 2, 1)
    assert run.magnitude == run.phase == ("echo-4", "echo-3", "echo-2", "echo-1")
    assert [s["EchoTime"] for s in run.sidecars] == [0.004, 0.010, 0.016, 0.022]
    assert given is None


def test_any_order_and_times_as_text():
    run, _ = in_order_of_echo_times(run_of("0.010", 0.004, 0.016))
    assert run.echoes == (2, 1, 3)


@pytest.mark.parametrize("times", [(0.004, None, 0.016), (0.004, 0.004, 0.016)])
def test_missing_and_equal_times_say_nothing(times):
    assert in_order_of_echo_times(run_of(*times))[0].echoes == (1, 2, 3)


def test_times_of_the_command_line_are_per_echo_number():
    run, given = in_order_of_echo_times(run_of(None, None, None), (0.016, 0.010, 0.004))
    assert (run.echoes, given) == ((3, 2, 1), (0.004, 0.010, 0.016))
    run, given = in_order_of_echo_times(run_of(16, 10, 4), (0.017, 0.011, 0.005))
    assert (run.echoes, given) == ((3, 2, 1), (0.005, 0.011, 0.017))


def test_times_that_contradict_the_order_of_the_sidecars_are_refused():
    with pytest.raises(MetadataError, match=re.escape("come in the order 3, 2, 1")):
        in_order_of_echo_times(run_of(0.016, 0.010, 0.004), (0.004, 0.010, 0.016))


def test_the_order_is_among_the_decisions(make_run):
    from qsmbids.io.layout import collect_runs

    (run,), _ = collect_runs(make_run(echoes=3))
    for sidecar, te in zip(run.sidecars, (0.015, 0.010, 0.005), strict=True):
        sidecar["EchoTime"] = te
    acquisition = read_acquisition(in_order_of_echo_times(run)[0])
    assert acquisition.echo_times == (0.005, 0.010, 0.015)
    assert "echoes sorted by their echo times: echo 3, 2, 1 of the names" in acquisition.decisions
