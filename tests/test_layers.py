"""The layers of the package: imports point downwards only, and the core knows only numbers."""

import ast
import re
from pathlib import Path

import pytest

import qsmbids

PACKAGE = Path(qsmbids.__file__).parent

#: What each layer may import of the package.
ALLOWED = {
    "core": {"core", "units"},
    "methods": {"methods", "core", "units"},
    "config": {"config", "methods", "errors"},
    "io": {"io", "core", "units", "errors", ""},
    "interfaces": {"interfaces", "methods", "io", "core", "units", "errors", ""},
    "workflows": {
        "workflows",
        "interfaces",
        "methods",
        "io",
        "core",
        "units",
        "errors",
        "config",
        "execution",
        "",
    },
    "reports": {"reports", "methods", "io", "core", "units", "errors", "config", "execution", ""},
    "cli": {
        "cli",
        "workflows",
        "reports",
        "methods",
        "io",
        "core",
        "units",
        "errors",
        "config",
        "execution",
        "",
    },
}
#: What the core may import from elsewhere.
# llvmlite comes with numba, whose machine code it writes
CORE_LIBRARIES = {"numpy", "scipy", "numba", "llvmlite"}
STANDARD = {
    "__future__",
    "collections",
    "concurrent",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "importlib",
    "itertools",
    "math",
    "threading",
    "typing",
}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+:\w+", str(node.value)):
            # what a step names and the graph imports, as "package.module:Class"
            yield node.value.partition(":")[0]


def _modules():
    return [
        pytest.param(layer, path, id=f"{layer}/{path.name}")
        for layer in ALLOWED
        for path in sorted((PACKAGE / layer).rglob("*.py"))
    ]


@pytest.mark.parametrize(("layer", "path"), _modules())
def test_imports_point_downwards(layer, path):
    for name in _imports(path):
        top, _, rest = name.partition(".")
        if top == "qsmbids":
            assert rest.partition(".")[0] in ALLOWED[layer], f"{path.name} imports {name}"
        elif layer == "core":
            assert top in CORE_LIBRARIES | STANDARD, f"core/{path.name} imports {name}"


def test_every_layer_is_checked():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders == set(ALLOWED)
