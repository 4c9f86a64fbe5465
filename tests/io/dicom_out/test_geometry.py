"""Voxels stay where they are, whatever the order of axes, slices and files."""

import numpy as np
import pytest

from qsmbids.errors import InputError
from qsmbids.io.dicom_out.geometry import grid_affine, in_order_of, slice_order


def tilted(*degrees):
    return pytest.param(degrees, id="-".join(map(str, degrees)))


@pytest.mark.parametrize("turn", [tilted(0), tilted(30), tilted(45, 45), tilted(20, -35, 50)])
def test_all_orders_of_axes_are_undone(dicom_scan, turn):
    scan = dicom_scan.Scan(axes=dicom_scan.rotation(*turn) @ dicom_scan.LPS)
    for order in dicom_scan.axis_orders():
        stored, affine = dicom_scan.stored_in(scan.chi(), scan.affine, order)
        found = in_order_of(stored, affine, scan.shape, scan.affine, "x")
        np.testing.assert_array_equal(found, scan.chi())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (np.diag([1, 1, 1, 1]) + np.eye(4, k=3) * 0.9, "lies elsewhere"),
        (np.diag([1.2, 1, 1, 1]), "voxels are"),
    ],
)
def test_other_voxels_are_refused(dicom_scan, change, said):
    scan = dicom_scan.Scan()
    with pytest.raises(InputError, match=said):
        in_order_of(scan.chi(), change @ scan.affine, scan.shape, scan.affine, "x")


def test_a_turned_grid_is_refused(dicom_scan):
    scan = dicom_scan.Scan()
    turned = scan.affine.copy()
    turned[:3, :3] = dicom_scan.rotation(0, 0, 20) @ turned[:3, :3]
    with pytest.raises(InputError, match="has to lie where its source does"):
        in_order_of(scan.chi(), turned, scan.shape, scan.affine, "x")


def test_slices_keep_the_direction_in_which_they_are_numbered():
    axial = (1, 0, 0, 0, 1, 0)
    up = [(0, 0, z) for z in (0, 2, 4)]
    assert slice_order(up, axial).tolist() == [0, 1, 2]
    assert slice_order(up[::-1], axial).tolist() == [0, 1, 2]
    assert slice_order([up[1], up[0], up[2]], axial).tolist() == [1, 0, 2]


def test_columns_run_along_the_first_direction_of_dicom():
    """PS3.3 C.7.6.2.1.1: spacing between rows is the first of the two, and x is to the left."""
    affine = grid_affine([(1, 2, 3), (1, 2, 5)], (1, 0, 0, 0, 1, 0), (0.5, 0.25), 9)
    np.testing.assert_allclose(affine @ [4, 2, 1, 1], [-2, -3, 5, 1])


def test_a_gap_between_slices_is_no_grid():
    with pytest.raises(ValueError, match="not evenly spaced"):
        grid_affine([(0, 0, 0), (0, 0, 2), (0, 0, 6)], (1, 0, 0, 0, 1, 0), (1, 1), 2)
