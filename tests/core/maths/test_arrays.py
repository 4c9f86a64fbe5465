"""One name for one kind of array."""

import re
from pathlib import Path

import numpy as np
import pytest

import qsmbids
from qsmbids.core.maths import arrays
from qsmbids.core.maths.boxes import bounding_box

PACKAGE = Path(qsmbids.__file__).parent
HOME = Path(arrays.__file__)
FILES = [
    pytest.param(path, id=str(path.relative_to(PACKAGE)))
    for folder in ("core", "interfaces")
    for path in sorted((PACKAGE / folder).rglob("*.py"))
    if path != HOME
]


@pytest.mark.parametrize("path", FILES)
def test_kinds_of_arrays_are_named_in_one_module(path):
    own = re.findall(
        r"^(\w+)(?:: TypeAlias)? = (?:npt\.)?NDArray\[", path.read_text("utf-8"), re.M
    )
    assert not own


def test_an_empty_mask_is_an_error_of_its_own():
    with pytest.raises(arrays.EmptyMaskError):
        bounding_box(np.zeros((2, 2, 2), bool))
    assert issubclass(arrays.EmptyMaskError, ValueError)
