"""Physical constants stand in one module."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import qsmbids
from qsmbids.units import GAMMA_BAR_HZ_PER_T, TWO_PI, larmor_frequency, radians_per_ppm

PACKAGE = Path(qsmbids.__file__).parent
FILES = [
    pytest.param(path, id=str(path.relative_to(PACKAGE)))
    for folder in ("core", "io", "interfaces")
    for path in sorted((PACKAGE / folder).rglob("*.py"))
]


def _is_pi(node):
    return isinstance(node, ast.Attribute) and node.attr == "pi"


def test_the_constants():
    assert larmor_frequency(3.0) == pytest.approx(127.732e6, rel=1e-5)  # protons at 3 T
    assert pytest.approx(267.522e6, rel=1e-5) == TWO_PI * GAMMA_BAR_HZ_PER_T  # rad / s / T
    # 1 ppm at 3 T turns the phase by 127.7 Hz: once in 7.83 ms
    assert radians_per_ppm(larmor_frequency(3.0), 7.829e-3) == pytest.approx(TWO_PI, rel=1e-3)
    assert TWO_PI == 2 * np.pi


@pytest.mark.parametrize("path", FILES)
def test_no_module_has_constants_of_its_own(path):
    text = path.read_text("utf-8")
    assert not re.search(r"\b42\.[56]|\b2\.675\d|\b267\.5", text), "a gyromagnetic ratio"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            two = isinstance(node.left, ast.Constant) and node.left.value == 2
            assert not (two and _is_pi(node.right)), f"2 pi in line {node.lineno}"
        if isinstance(node, ast.Assign):
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
            assert "TWO_PI" not in names[:1], f"TWO_PI in line {node.lineno}"
