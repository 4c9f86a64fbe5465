"""``from qsmbids import core`` has every step, and costs nothing until one is used."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmbids import core

README = Path(__file__).parents[2] / "README.md"
ROOMS = {
    "phase", "field", "masks", "background", "inversion", "reference", "quality", "phantom",
}  # fmt: skip
#: What Figure 5 of the consensus paper goes through, and a name that does it.
STEPS = {
    "phase in radians": "to_radians",
    "readout polarity": "correct_bipolar",
    "phase offset": "mcpc3ds",
    "unwrapping": "unwrap_echoes",
    "phase quality": "quality_map",
    "echo combination, averaged": "weighted_echo_average",
    "echo combination, fitted": "nonlinear_fit",
    "noise of the field": "field_noise",
    "residual of the combination": "relative_residual",
    "data weights": "sepia_weights",
    "Mask 1": "bet",
    "Mask 2": "reliable_phase_mask",
    "Mask 3": "background_mask",
    "Mask 4": "mask_with_holes",
    "background field, V-SHARP": "vsharp",
    "background field, PDF": "pdf",
    "background field, LBV": "lbv",
    "direction of the field": "b0_direction_from_affine",
    "dipole inversion, FANSI": "fansi",
    "dipole inversion, MEDI": "medi",
    "reference": "apply_reference",
    "fluid": "find_csf",
    "quality": "measure_quality",
    "R2*": "r2star_map",
}


@pytest.mark.parametrize("name", core.__all__)
def test_every_name_is_what_its_home_calls_so(name):
    thing = getattr(core, name)
    home = importlib.import_module(thing.__module__)
    assert getattr(home, name) is thing
    assert name in home.__all__
    assert thing.__doc__
    assert name in dir(core)


def test_the_names_cover_the_steps():
    assert set(STEPS.values()) <= set(core.__all__)
    assert {home.split(".")[0] for home in core._HOMES.values()} == ROOMS
    assert {room.name for room in pkgutil.iter_modules(core.__path__)} >= ROOMS
    assert len(core.__all__) < 45  # a face, not the whole body


@pytest.mark.parametrize("name", [n for n in core.__all__ if n.islower()])
def test_one_word_for_one_thing(name):
    """The words are those of the settings; Hz is the house unit and needs no suffix."""
    old = {
        "tol",
        "max_iter",
        "n_iter",
        "sigma_mm",
        "lam",
        "beta",
        "muh",
        "alpha0",
        "alpha1",
        "mu1",
    }
    parameters = inspect.signature(getattr(core, name)).parameters
    assert not old & set(parameters)
    assert not [p for p in parameters if p.endswith("_hz")]
    if "tolerance" in parameters:  # relative
        assert 0 < parameters["tolerance"].default < 1


def test_type_checkers_see_the_same_names():
    """They read imports that are never run."""
    tree = ast.parse(Path(core.__file__).read_text("utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in checked.body for alias in node.names}
    lazy = {name: f"qsmbids.core.{home}" for name, home in core._HOMES.items()}
    assert seen == lazy


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"qsmbids\.core.*no attribute 'fnasi'"):
        core.fnasi  # noqa: B018


def test_importing_loads_no_library():
    code = (
        "import sys; from qsmbids import core; core.__all__; dir(core);"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'scipy', 'numba'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_example_of_the_module():
    result = doctest.testmod(core)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.skipif(not README.exists(), reason="an installed package has no README")
def test_the_example_of_the_readme(tmp_path, monkeypatch):
    text = README.read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.splitlines()) <= 15
    phantom = core.make_phantom((36, 42, 32), (5, 5, 5))
    total, _ = core.simulate_field(phantom)
    affine = np.diag([*phantom.voxel_size, 1])
    nib.save(nib.Nifti1Image(total, affine), tmp_path / "total_field.nii.gz")
    mask = phantom.mask.astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "brain_mask.nii.gz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qsmbids.core.inversion.fansi.MARGIN", 8)  # quicker
    exec(example, {})
    chi = np.asarray(nib.load("chi.nii.gz").dataobj)
    inside = chi != 0
    assert inside.sum() > 0.3 * phantom.mask.sum()
    assert np.corrcoef(chi[inside], phantom.chi[inside])[0, 1] > 0.6
    assert abs(chi[inside].mean()) < 1e-3  # referenced, in ppm
    assert 0.5 < np.std(chi[inside]) / np.std(phantom.chi[inside]) < 1.2
