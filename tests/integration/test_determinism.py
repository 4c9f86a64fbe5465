"""Threads and processes change nothing; tests/slurm asserts the same of a cluster."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

#: What Python imports from here leaves out the figures, which take longer than the runs.
WITHOUT_FIGURES = Path(__file__).parents[1] / "faults"
#: Of the largest number of a map, which itself is a float of 1.2e-7.
TOLERANCE = 2e-5


def _maps(bids, folder, nprocs, threads):
    words = [bids, folder / "out", "participant", "--nprocs", nprocs, "--omp-nthreads", threads]
    options = ["-w", folder / "work", "--skip-bids-validation", "--sloppy"]
    # numba makes no more threads than there are processors, unless it is told
    environment = {**os.environ, "NUMBA_NUM_THREADS": "8"}
    paths = [str(WITHOUT_FIGURES), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    subprocess.run(
        [sys.executable, "-m", "qsmbids", *map(str, (*words, *options))],
        check=True,
        capture_output=True,
        env=environment,
    )
    found = sorted((folder / "out").glob("sub-*/*/*.nii.gz"))
    return {p.name: np.asarray(nib.load(p).dataobj) for p in found}


@pytest.mark.slow
def test_one_two_and_eight_threads_and_processes_give_the_same_maps(
    small_dataset_source, tmp_path
):
    expected = _maps(small_dataset_source, tmp_path / "linear1", 1, 1)
    assert len(expected) > 10
    for nprocs, threads in ((1, 2), (1, 8), (2, 1), (2, 8)):  # two processes are MultiProc
        found = _maps(small_dataset_source, tmp_path / f"n{nprocs}t{threads}", nprocs, threads)
        assert found.keys() == expected.keys()
        for name, volume in expected.items():
            atol = TOLERANCE * max(1.0, float(np.abs(volume).max()))
            np.testing.assert_allclose(found[name], volume, atol=atol, err_msg=name)
