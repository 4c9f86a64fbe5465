"""The template that comes with the package."""

from importlib.resources import files

import numpy as np

from qsmbids.core.anatomy.template import CLASSES, EXPECTED, NUCLEI, brain_share, class_maps
from qsmbids.io.template import load_template


def test_regions_lie_in_the_brain_on_their_side() -> None:
    template = load_template()
    assert {r.index for r in template.table} == set(np.unique(template.regions)) - {0}
    assert set(NUCLEI) < {r.name for r in template.table}
    assert template.brain[template.regions > 0].mean() > 0.999
    for region in template.table:
        voxels = np.argwhere(template.regions == region.index)
        x = (voxels @ template.fine_grid[:3, :3].T + template.fine_grid[:3, 3])[:, 0]
        assert (x < 0).all() if region.side == "left" else (x > 0).all(), region


def test_grids_share_their_first_voxel_and_classes_add_up() -> None:
    template = load_template()
    np.testing.assert_allclose(template.grid[:3, 3], template.fine_grid[:3, 3])
    np.testing.assert_allclose(template.grid[:3, :3], 2 * template.fine_grid[:3, :3])
    maps = class_maps(template)
    assert len(maps) == len(CLASSES) == len(EXPECTED["chi"]) == len(EXPECTED["r2star"])
    np.testing.assert_allclose(maps.sum(axis=0), 1, atol=1e-3)
    volume = brain_share(maps).sum() * 8 / 1000
    assert abs(volume - template.brain.sum() / 1000) < 5  # ml


def test_data_are_small_and_their_licences_lie_beside() -> None:
    folder = files("qsmbids") / "data" / "template"
    names = {p.name for p in folder.iterdir()}
    assert {"README.md", "LICENSE-ICBM152", "LICENSE-CIT168"} <= names
    assert sum(len(p.read_bytes()) for p in folder.iterdir()) < 5_000_000
