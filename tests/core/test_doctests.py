"""The examples in the docstrings of the core are true."""

import doctest
import importlib
import pkgutil

import pytest

import qsmbids.core

MODULES = [m.name for m in pkgutil.iter_modules(qsmbids.core.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"qsmbids.core.{name}")
    assert doctest.testmod(module).failed == 0
