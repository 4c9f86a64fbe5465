"""What is kept of an earlier call: results that are whole."""

import gzip
import logging

import nipype.pipeline.engine as pe
import pytest
from nipype.interfaces.utility import Function

from qsmbids.workflows.cache import discard_damaged


def _half(number):
    if number < 0:
        raise ValueError("too small")
    return number / 2


@pytest.fixture
def graph(tmp_path):
    """Two steps of which the second fails, run once."""
    workflow = pe.Workflow(name="graph", base_dir=str(tmp_path))
    workflow.config["execution"] = {"stop_on_first_crash": False, "crashdump_dir": str(tmp_path)}
    for name, number in (("good", 4), ("bad", -4)):
        step = Function(input_names=["number"], output_names=["half"], function=_half)
        workflow.add_nodes([pe.Node(step, name=name)])
        workflow.get_node(name).inputs.number = number
    logging.getLogger("nipype.workflow").setLevel(logging.CRITICAL)
    with pytest.raises(Exception, match=r"too small|bad"):
        workflow.run()
    return workflow


def test_a_step_that_failed_is_tried_again_and_is_not_called_damaged(graph, tmp_path, caplog):
    assert (tmp_path / "graph/bad/result_bad.pklz").exists()
    with caplog.at_level(logging.INFO, logger="qsmbids"):
        assert discard_damaged(graph, tmp_path) == []
    assert not (tmp_path / "graph/bad").exists()
    assert (tmp_path / "graph/good").exists()
    assert "bad failed before" in caplog.text


def test_a_result_that_is_cut_short_is_damaged(graph, tmp_path):
    result = tmp_path / "graph/good/result_good.pklz"
    result.write_bytes(gzip.compress(b"half of a result"))
    assert discard_damaged(graph, tmp_path) == ["good"]
    assert not result.exists()
