"""A mark on the patient's right, front and top is seen where a radiologist expects it."""

import nibabel as nib
import numpy as np
import pytest

from qsmbids.reports.paper.geometry import EDGES, NORMAL, PLANES, DisplayGrid, slice_image

SHAPE = (12, 14, 10)


def _affine(codes, tilt_degrees=0.0):
    """An affine whose voxel axes run towards ``codes``, with its centre at the origin."""
    axes = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    affine = np.eye(4)
    for column, code in enumerate(codes):
        affine[:3, column] = 0
        affine[axes[code], column] = 1.5 if code in "RAS" else -1.5
    angle = np.deg2rad(tilt_degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SAL", "IRP"])
@pytest.mark.parametrize("tilt", [0.0, 25.0])
def test_a_mark_is_on_its_side_whatever_the_affine(codes, tilt):
    affine = _affine(codes, tilt)
    world = (
        np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) @ (affine[:3, :3].T)
        + affine[:3, 3]
    )
    # the octant that is right, front and top of the patient
    mark = (world > 1.0).all(axis=-1).astype(float)
    shown = DisplayGrid(SHAPE, affine).display(mark)
    for plane in PLANES:
        index = int(0.75 * shown.shape[NORMAL[plane]])
        image = slice_image(shown, plane, index)
        rows, columns = (np.array(image.shape) - 1) / 2
        found = np.argwhere(image > 0).mean(axis=0)
        side = EDGES[plane][0] if found[1] < columns else EDGES[plane][1]
        upper = EDGES[plane][2] if found[0] < rows else EDGES[plane][3]
        assert side == ("A" if plane == "sagittal" else "R")
        assert upper == ("A" if plane == "axial" else "S")


def test_radiological_convention_of_the_edges():
    assert {plane: EDGES[plane][:2] for plane in PLANES} == {
        "axial": "RL",
        "coronal": "RL",
        "sagittal": "AP",
    }


@pytest.mark.parametrize("codes", ["RAS", "PIR", "LSA"])
def test_voxels_keep_their_place(codes):
    affine = _affine(codes, 10.0)
    stored = np.arange(np.prod(SHAPE), dtype=float).reshape(SHAPE)
    grid = DisplayGrid(SHAPE, affine)
    shown = grid.display(stored)
    voxel = np.array([2, 3, 4, 1])
    i, j, k = np.rint(grid.to_stored @ voxel).astype(int)[:3]
    assert shown[2, 3, 4] == stored[i, j, k]
    np.testing.assert_allclose(grid.display_affine @ voxel, affine @ [i, j, k, 1])
    assert nib.aff2axcodes(grid.display_affine) == ("R", "A", "S")
    np.testing.assert_allclose(grid.voxel_size, 1.5)


def test_fine_data_are_thinned_along_their_finest_axes():
    affine = np.diag([0.5, 0.5, 1.2, 1.0])
    grid = DisplayGrid((400, 400, 160), affine)
    assert grid.steps == (2, 2, 1)
    np.testing.assert_allclose(grid.voxel_size, (1.0, 1.0, 1.2))


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        DisplayGrid(SHAPE, np.eye(4)).display(np.zeros((3, 3, 3)))
