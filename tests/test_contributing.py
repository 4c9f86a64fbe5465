"""The page for contributors names files that are there, and all layers."""

import re
from pathlib import Path

import pytest

from qsmbids.methods.background_field import BACKGROUND
from qsmbids.methods.dipole_inversion import INVERSION

ROOT = Path(__file__).parents[1]
PAGE = ROOT / ".github" / "CONTRIBUTING.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not a checkout")


def test_every_file_that_it_names_is_there():
    named = re.findall(
        r"`((?:qsmbids|tests|\.docker|\.ci)/[\w./]*|CHANGELOG\.md)`", PAGE.read_text()
    )
    assert len(named) >= 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_layer_has_a_row():
    folders = {p.parent.name for p in (ROOT / "qsmbids").glob("*/__init__.py")}
    assert {f"`qsmbids/{folder}`" for folder in folders} <= set(
        re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(), re.M)
    )


@pytest.mark.parametrize(
    ("registry", "step"), [(BACKGROUND, "background"), (INVERSION, "inversion")]
)
def test_a_method_is_declared_in_one_file_of_its_name(registry, step):
    """What the page promises: the registry is what lies in the folder."""
    modules = {p.stem for p in (ROOT / "qsmbids" / "methods" / step).glob("*.py")}
    assert modules == {*registry, "data", "__init__"}


def test_the_name_of_a_method_stands_in_no_layer_that_should_not_know_it():
    """Above the declarations, a name is written only where a preset or an example needs one."""
    names = "|".join(["pdf", "lbv", "resharp", "ismv", "rts", "tkd", "l2", "tikhonov", "huber"])
    for layer in ("workflows", "interfaces", "config"):
        for path in (ROOT / "qsmbids" / layer).rglob("*.py"):
            code = re.sub(r'""".*?"""', "", path.read_text("utf-8"), flags=re.S)
            assert not re.findall(rf'"({names})"', code), path
