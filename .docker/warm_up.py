"""Compile every loop of qsmbids into ``NUMBA_CACHE_DIR``, by running it on small heads."""

import importlib
import os
import pkgutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numba.core.registry import CPUDispatcher

import qsmbids.core
from qsmbids.cli.run import main
from qsmbids.core.anatomy.carrying import brain_distance
from qsmbids.core.anatomy.regions import fit_regions, place_regions
from qsmbids.core.anatomy.registration import register
from qsmbids.core.anatomy.template import brain_share, class_maps, expected_map
from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion
from qsmbids.core.inversion.cone_spectrum import ErrorModel
from qsmbids.core.inversion.fansi import fansi
from qsmbids.core.maths.resample import resample_labels
from qsmbids.io.phantom import write_phantom_dataset
from qsmbids.io.template import load_template

#: Encoding of the raw data and options that between them reach every loop.
RUNS = (
    ({"encoding": "siemens"}, ["--output-level", "full"]),
    ({"encoding": "ge"}, ["--echo-combination", "nonlinear", "--oblique", "rotate", "--sloppy"]),
    ({"encoding": "float", "readout": "bipolar"}, ["--preset", "sepia-fansi", "--sloppy"]),
    ({"encoding": "siemens"}, ["--preset", "consensus-medi", "--background", "lbv"]),
    ({"encoding": "siemens"}, ["--inversion", "huber"]),
)


def _run(raw, options):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bids = write_phantom_dataset(
            folder / "bids", shape=(48, 56, 40), voxel_size=(2, 2, 2), tilt_degrees=20, **raw
        )
        options = ["-w", str(folder / "work"), "--skip-bids-validation", *options]
        code = main([str(bids), str(folder / "out"), "participant", *options])
        if code:
            sys.exit(code)


def _loops():
    """Yield the module and name of every function that numba keeps."""
    for module in pkgutil.walk_packages(qsmbids.core.__path__, "qsmbids.core."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            ours = isinstance(thing, CPUDispatcher) and thing.__module__ == module.name
            if ours and thing.targetoptions.get("inline") != "always":
                yield module.name.rpartition(".")[2], name


if __name__ == "__main__":
    for raw_data, arguments in RUNS:
        _run(raw_data, arguments)
    # only linear TV has a linear data term throughout, and no run above solves for x and h in turn
    # or in stages
    cube = np.ones((8, 8, 8))
    scan = {"centre_frequency": 123e6, "echo_time": 0.02, "maximum_iterations": 3}
    ways = ({"nonlinear": False, "weak_harmonic": False}, {"iterations": "alternating"})
    for options in (*ways, {"iterations": "staged"}):
        fansi(cube, cube > 0, cube, (1, 1, 1), (0, 0, 1), **scan, **options)
    # the error of the heads above has nothing of the tissue, so that nothing is held by its square
    error = ErrorModel(0.001, 0.03, 0.002, 0.01, 0.01, 0.0, 0.0)
    field = np.random.default_rng(0).standard_normal(cube.shape)
    scan = {"centre_frequency": 123e6, "echo_time": 0.02, "error": error}
    adaptive_inversion(field, cube > 0, cube, (1, 1, 1), (0, 0, 1), **scan)
    # only a segmentation on another grid is resampled
    resample_labels(np.ones((4, 4, 4), np.int32), np.eye(4), (4, 4, 4))
    # the heads above are too small for the template, which is a head itself
    template = load_template()
    maps = class_maps(template)
    brain = brain_share(maps) > 0.5
    chi, r2star = (expected_map(maps, name) for name in ("chi", "r2star"))
    fit = register(template, template.grid, brain, magnitude=template.t1, r2star=r2star)
    brain_distance(fit, template, brain.shape)
    looks = {"magnitude": template.t1}
    fit = fit_regions(template, template.grid, brain, brain, chi, **looks, start=fit)
    place_regions(template, template.grid, brain, chi, fit, **looks)
    kept = {f.name.split("-")[0] for f in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")}
    missing = [f"{module}.{name}" for module, name in _loops() if f"{module}.{name}" not in kept]
    print(f"{len(kept)} loops are compiled")
    if missing:
        sys.exit(f"no run reaches {', '.join(missing)}")
