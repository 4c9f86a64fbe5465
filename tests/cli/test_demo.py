"""The first command of a newcomer, when it does not end as it should."""

import pytest

from qsmbids.io import phantom


@pytest.fixture
def demo(command):
    return command("demo")


def test_a_folder_that_cannot_be_made_is_one_line(demo, tmp_path):
    (tmp_path / "demo").write_text("in the way")
    code, last, said = demo(tmp_path / "demo")
    assert code == 1
    assert last.startswith("qsmbids-demo: error: ")
    assert str(tmp_path / "demo") in last
    assert last.endswith("(exit code 1)")
    assert "Traceback" not in said


def test_an_interruption_is_one_line(demo, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "write_phantom_dataset", interrupted)
    code, last, _ = demo(tmp_path / "demo")
    assert code == 130
    assert last == "qsmbids-demo: interrupted; the same command starts again (exit code 130)"
