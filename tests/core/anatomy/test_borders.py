"""Borders of nuclei in maps whose edges are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmbids.core.anatomy.borders import Look, refine_borders
from qsmbids.core.anatomy.neighbours import Neighbours
from qsmbids.core.maths.arrays import Float32Array, LabelArray, Mask
from qsmbids.core.maths.mutual_information import dice
from qsmbids.io.template import load_template

TEMPLATE = load_template()


def label(name: str, side: str = "left") -> int:
    return next(r.index for r in TEMPLATE.table if (r.name, r.side) == (name, side))


def cube(*spans: tuple[int, int], size: int = 28) -> Mask:
    found = np.zeros((size, size, size), dtype=bool)
    found[tuple(slice(*span) for span in spans)] = True
    return found


def white(shape: tuple[int, ...]) -> Float32Array:
    """White matter alone, where the template has no nucleus."""
    return np.stack([np.ones(shape), np.zeros(shape), np.zeros(shape)]).astype(np.float32)


def refined(labels: LabelArray, *looks: Look, around: Float32Array | None = None, voxel=1.0):
    known = np.ones(labels.shape, dtype=bool)
    tissue = white(labels.shape) if around is None else around
    return refine_borders(labels, list(looks), tissue, known, TEMPLATE, np.full(3, voxel))


def susceptibility(*parts: tuple[Mask, float], noise: float = 0.008) -> Look:
    """White matter at -0.03 ppm with parts of other values, and correlated noise."""
    chi = np.full(parts[0][0].shape, -0.03)
    for where, value in parts:
        chi[where] = value
    rough = gaussian_filter(np.random.default_rng(5).normal(size=chi.shape), 0.7)
    return Look((chi + noise * rough / rough.std()).astype(np.float32), 0.006)


def test_a_border_follows_the_map_outwards_and_inwards() -> None:
    labels = np.where(cube((8, 20), (8, 20), (8, 20)), label("putamen"), 0).astype(np.uint8)
    truth = cube((10, 20), (8, 20), (8, 22))
    moved, change = refined(labels, susceptibility((truth, 0.05)))
    assert dice(labels > 0, truth) < 0.9 < 0.96 < dice(moved == label("putamen"), truth)
    won, lost = change[label("putamen")]
    assert won > 200 < lost


@pytest.mark.parametrize("name", ["caudate", "red-nucleus"])
def test_a_nucleus_of_a_third_of_the_label_is_found_in_it(name: str) -> None:
    labels = np.where(cube((8, 20), (8, 20), (8, 20)), label(name), 0).astype(np.uint8)
    truth = cube((11, 19), (10, 18), (10, 18))
    moved, _ = refined(labels, susceptibility((truth, 0.08)))
    assert dice(labels > 0, truth) < 0.5 < 0.95 < dice(moved == label(name), truth)


def test_a_nucleus_without_iron_is_found_by_the_magnitude() -> None:
    """The thalamus: the map shows it too little, its longer T1 is plain."""
    labels = np.where(cube((8, 20), (8, 20), (8, 20)), label("thalamus"), 0).astype(np.uint8)
    truth = cube((7, 22), (8, 20), (8, 20))
    dull = susceptibility((truth, -0.027))
    magnitude = gaussian_filter(np.random.default_rng(1).normal(size=truth.shape), 0.5)
    magnitude = np.where(truth, 0.9, 1.05) + 0.01 * magnitude
    same, _ = refined(labels, dull)
    np.testing.assert_array_equal(same, labels)
    moved, _ = refined(labels, dull, Look(magnitude.astype(np.float32), 0.02))
    assert dice(labels > 0, truth) < 0.92 < 0.97 < dice(moved > 0, truth)


def test_a_nucleus_that_looks_like_what_lies_around_stays() -> None:
    labels = np.where(cube((8, 20), (8, 20), (8, 20)), label("caudate"), 0).astype(np.uint8)
    moved, change = refined(labels, susceptibility((labels > 0, -0.029)))
    np.testing.assert_array_equal(moved, labels)
    assert change == {}


def test_a_neighbour_keeps_what_is_its_own() -> None:
    """Putamen and pallidum side by side: the edge between them is that of the map."""
    putamen, pallidum = label("putamen"), label("pallidum-external")
    labels = np.zeros((28, 28, 28), dtype=np.uint8)
    labels[cube((6, 14), (8, 20), (8, 20))] = putamen
    labels[cube((14, 20), (8, 20), (8, 20))] = pallidum
    inner, outer = cube((12, 20), (8, 20), (8, 20)), cube((6, 12), (8, 20), (8, 20))
    moved, _ = refined(labels, susceptibility((outer, 0.05), (inner, 0.15)))
    assert dice(moved == pallidum, inner) > 0.97 > 0.9 > dice(labels == pallidum, inner)
    assert dice(moved == putamen, outer) > 0.97 > 0.9 > dice(labels == putamen, outer)


def test_only_the_template_parts_two_nuclei_with_much_iron() -> None:
    """What is half nigra, half white, is not taken for a subthalamic nucleus."""
    nigra, subthalamic = label("substantia-nigra"), label("subthalamic-nucleus")
    labels = np.zeros((28, 28, 28), dtype=np.uint8)
    labels[cube((6, 14), (8, 20), (8, 20))] = nigra
    labels[cube((14, 20), (8, 20), (8, 20))] = subthalamic
    parts = ((labels == nigra, 0.14), (labels == subthalamic, 0.09))
    half = cube((6, 14), (7, 8), (8, 20)) | cube((6, 14), (20, 21), (8, 20))
    moved, _ = refined(labels, susceptibility(*parts, (half, 0.055), noise=0.02))
    assert not (moved[half] == subthalamic).any()
    assert dice(moved == nigra, (labels == nigra) | (moved == nigra) & half) > 0.97
    assert dice(moved == subthalamic, labels == subthalamic) > 0.97


def test_in_thick_slices_nuclei_with_much_iron_stay_and_others_follow_the_map() -> None:
    labels = np.zeros((28, 28, 28), np.uint8)
    nigra, putamen = cube((3, 10), (8, 20), (8, 20)), cube((17, 25), (8, 20), (8, 20))
    labels[nigra], labels[putamen] = label("substantia-nigra"), label("putamen")
    wider = putamen | cube((17, 25), (8, 22), (8, 20))
    look = susceptibility((cube((3, 10), (8, 20), (10, 20)), 0.12), (wider, 0.05))
    thin, _ = refined(labels, look)
    thick, change = refined(labels, look, voxel=3.0)
    assert np.count_nonzero(thin == label("substantia-nigra")) < 0.9 * nigra.sum()
    np.testing.assert_array_equal(thick == label("substantia-nigra"), nigra)
    assert label("substantia-nigra") not in change
    assert np.count_nonzero(thick == label("putamen")) > 1.1 * putamen.sum()


def test_a_nucleus_that_is_not_there_does_not_spoil_its_neighbour() -> None:
    nigra, subthalamic = label("substantia-nigra"), label("subthalamic-nucleus")
    labels = np.zeros((28, 28, 28), dtype=np.uint8)
    labels[cube((4, 16), (8, 20), (8, 20))] = nigra
    labels[cube((16, 19), (12, 16), (12, 16))] = subthalamic
    truth = cube((6, 13), (9, 18), (9, 18))
    moved, _ = refined(labels, susceptibility((truth, 0.12)))
    assert dice(labels == nigra, truth) < 0.5 < 0.95 < dice(moved == nigra, truth)


def test_sides_keep_their_labels_and_what_is_outside_the_map_stays() -> None:
    left, right = label("dentate-nucleus"), label("dentate-nucleus", "right")
    labels = np.zeros((40, 28, 28), dtype=np.uint8)
    labels[6:14, 8:20, 8:20], labels[26:34, 8:20, 8:20] = left, right
    known = np.ones(labels.shape, dtype=bool)
    known[30:] = False
    chi = np.where(labels > 0, 0.12, -0.03)
    chi[8:14][labels[8:14] == 0] = -0.03
    chi[6] = -0.03
    look = Look(chi.astype(np.float32), 0.006)
    moved, change = refine_borders(
        labels, [look], white(labels.shape), known, TEMPLATE, (1.0, 1.0, 1.0)
    )
    assert not moved[6].any()
    assert (moved[7:14, 9:19, 9:19] == left).all()
    assert (moved[27:30, 9:19, 9:19] == right).all()
    np.testing.assert_array_equal(moved[30:], labels[30:])
    assert set(change) >= {left}
    assert not (moved[:20] == right).any()


def test_a_vessel_beside_a_nucleus_is_not_of_it() -> None:
    labels = np.where(cube((8, 20), (8, 20), (8, 20)), label("caudate"), 0).astype(np.uint8)
    vessel = cube((22, 24), (10, 14), (10, 14))
    moved, _ = refined(labels, susceptibility((labels > 0, 0.05), (vessel, 0.06)))
    assert not moved[vessel].any()
    assert dice(moved > 0, labels > 0) > 0.97


def test_without_nuclei_nothing_happens() -> None:
    labels = np.where(cube((8, 20), (8, 20), (8, 20)), label("white-matter"), 0).astype(np.uint8)
    moved, change = refined(labels, susceptibility((labels > 0, 0.1)))
    np.testing.assert_array_equal(moved, labels)
    assert change == {}


def test_neighbours_count_by_how_near_they_are() -> None:
    """A voxel follows those beside it, less across thick slices."""
    near = Neighbours.of(np.ones((3, 1, 3), dtype=bool), (1.0, 1.0, 3.0))
    share = np.zeros((9, 2), dtype=np.float32)
    share[:, 0] = 1
    share[[1, 7]] = (0, 1)  # beside the middle along the first axis
    settled = near.settle(np.zeros((9, 2), dtype=np.float32), share, 1.0)
    along = np.exp(0.0) / (np.exp(0.0) + np.exp(2.0 - 2 / 9))
    assert settled[4, 0] == pytest.approx(along, rel=1e-5)
    np.testing.assert_allclose(settled.sum(axis=1), 1, rtol=1e-6)
