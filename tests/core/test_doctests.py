"""The examples in the docstrings of the core are true."""

import doctest
import importlib
import pkgutil

import pytest

import qsmbids.core

MODULES = [
    module.name.removeprefix("qsmbids.core.")
    for module in pkgutil.walk_packages(qsmbids.core.__path__, "qsmbids.core.")
    if not module.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"qsmbids.core.{name}")
    assert doctest.testmod(module).failed == 0
