"""Which files belong to a run, by their names alone."""

from pathlib import Path

import pytest

from qsmbids.io.matching import best_matches, entities_of, fits, n_shared
from qsmbids.io.runs import Run

RUN = Run({"subject": "01", "session": "a", "run": "02"}, "MEGRE", (1,), (), (), ())


@pytest.mark.parametrize(
    ("name", "entities"),
    [
        ("sub-01_run-02_desc-brain_mask.nii.gz", {"sub": "01", "run": "02", "desc": "brain"}),
        ("seg-x.tsv", {"seg": "x"}),  # a label ends at the dot, with or without a suffix
        ("sub-01_run-02.nii.gz", {"sub": "01", "run": "02"}),
        ("aparc+aseg.nii.gz", {}),
    ],
)
def test_entities_of_a_name(name, entities):
    assert entities_of(name) == entities


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("sub-01_ses-a_run-02_mask.nii", True),
        ("sub-01_mask.nii", True),
        ("sub-01_desc-other_mask.nii", True),  # not an entity of a run
        ("sub-01_run-02.nii.gz", True),
        ("sub-01_ses-b_mask.nii", False),
        ("sub-01_run-2_mask.nii", False),  # zeros count
        ("sub-01_acq-x_mask.nii", False),  # the run has none
    ],
)
def test_a_name_fits_unless_it_contradicts(name, does):
    assert fits(name, RUN) is does


def test_only_the_entities_that_are_asked_for_count():
    assert fits("sub-01_ses-a_acq-mprage_dseg.nii", RUN, ("subject", "session"))
    assert not fits("sub-01_ses-b_acq-mprage_dseg.nii", RUN, ("subject", "session"))


def test_the_matches_with_most_in_common():
    names = [
        "sub-01_desc-b_mask.nii",
        "sub-01_ses-a_desc-b_mask.nii",
        "sub-01_ses-a_desc-a_mask.nii",
        "sub-01_ses-a_run-01_mask.nii",
    ]
    assert [n_shared(n) for n in names] == [1, 2, 2, 3]
    found = best_matches(map(Path, names), RUN)
    assert [p.name for p in found] == [names[2], names[1]]
    assert best_matches([], RUN) == []
