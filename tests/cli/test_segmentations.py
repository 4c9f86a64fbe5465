"""Which images of the user may serve several runs."""

import argparse
from pathlib import Path

import pytest

from qsmbids.cli.segmentations import check_one_run_each
from qsmbids.errors import ConfigError
from qsmbids.io.runs import Run


def _runs(*labels):
    return [Run({"subject": s, "run": r}, "MEGRE", (1,), (), (), ()) for s, r in labels]


ONE, TWO, HEADS = (("1", "1"),), (("1", "1"), ("1", "2")), (("1", "1"), ("2", "1"))


@pytest.mark.parametrize(
    ("runs", "file", "t1w", "transform", "fine"),
    [
        (ONE, True, None, None, True),
        (TWO, True, None, None, False),  # on the grid of one of them
        (TWO, True, "auto", None, True),
        (TWO, True, None, "rigid.txt", True),
        (HEADS, True, "auto", None, False),
        (HEADS, False, "auto", None, True),
        (HEADS, False, "t1w.nii", None, False),
        (HEADS, False, None, "rigid.txt", False),
        (HEADS, False, None, "identity", True),
        (HEADS, False, None, None, True),
    ],
)
def test_one_image_is_not_that_of_several_heads(tmp_path, runs, file, t1w, transform, fine):
    path = tmp_path / "dseg.nii.gz"
    if file:
        path.touch()
    else:
        path.mkdir()
    for given in ({"segmentation": [Path(path)], "lesions": None},
                  {"segmentation": None, "lesions": Path(path)}):  # fmt: skip
        args = argparse.Namespace(**given, t1w=t1w, t1w_transform=transform)
        _check(args, _runs(*runs), fine)


def _check(args, runs, fine):
    if fine:
        check_one_run_each(args, runs)
    else:
        with pytest.raises(ConfigError, match="Select one run"):
            check_one_run_each(args, runs)
