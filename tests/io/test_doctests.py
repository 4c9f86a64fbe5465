"""The examples in the docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import qsmbids.io
import qsmbids.reports.group


def _modules():
    for package in (qsmbids.io, qsmbids.reports.group):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield found.name


@pytest.mark.parametrize("name", _modules())
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
