"""Brain extraction on ellipsoid heads with a known brain, and against bet2 on a real head."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from qsmbids.core.masks.bet import bet
from qsmbids.core.masks.bet_mesh import fill_mesh, icosphere, mean_edge, self_intersection

UP = (0.0, 0.0, 1.0)


class Head(NamedTuple):
    magnitude: npt.NDArray[np.float32]
    voxel: tuple[float, float, float]
    brain: npt.NDArray[np.bool_]
    touched: npt.NDArray[np.bool_]  # with the voxels that the surface of the brain passes


def make_head(
    voxel: tuple[float, float, float] = (3.0, 3.0, 3.0),
    *,
    fov: tuple[float, float, float] = (192.0, 228.0, 180.0),
    centre: tuple[float, float, float] | None = None,
    size: float = 1.0,
    neck: bool = False,
) -> Head:
    """Brain of 65 x 80 x 60 mm semi-axes in fluid (4 mm), skull (6 mm) and scalp (6 mm)."""
    middle = tuple(f / 2 for f in fov) if centre is None else centre
    shape = tuple(round(f / v) for f, v in zip(fov, voxel, strict=True))
    x, y, z = (
        ((np.arange(n) + 0.5) * v - c).reshape([-1 if a == i else 1 for a in range(3)])
        for i, (n, v, c) in enumerate(zip(shape, voxel, middle, strict=True))
    )

    def within(margin: float) -> npt.NDArray[np.bool_]:
        a, b, c = (size * (axis + margin) for axis in (65.0, 80.0, 60.0))
        return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1

    image = np.zeros(shape)
    if neck:
        # wide and bright below the head, and joined to it
        image[np.broadcast_to((x / 55) ** 2 + (y / 60) ** 2 < 1, shape) & (z < 0)] = 90
        image[np.broadcast_to((x / 95) ** 2 + (y / 80) ** 2 < 1, shape) & (z < -140)] = 90
    for margin, value in ((16.0, 80.0), (10.0, 3.0), (4.0, 30.0), (0.0, 100.0)):
        image[within(margin)] = value
    noise = np.random.default_rng(1).normal(0, 1.5, (2, *shape))
    magnitude = np.hypot(image + noise[0], noise[1]).astype(np.float32)
    return Head(magnitude, voxel, within(0.0), within(0.5 * max(voxel)))


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


@pytest.fixture(scope="module")
def head() -> Head:
    # off-centre, so that a mirrored head is a different array
    return make_head(centre=(90.0, 118.0, 94.0))


@pytest.fixture(scope="module")
def mask(head: Head) -> npt.NDArray[np.bool_]:
    return bet(head.magnitude, head.voxel, superior=UP)


@pytest.mark.slow
def test_finds_the_brain_without_the_skull() -> None:
    head = make_head((1.5, 1.5, 1.5))
    mask = bet(head.magnitude, head.voxel, superior=UP)
    assert mask.dtype == bool
    # the voxels that the surface passes count as brain, as in bet2
    assert dice(mask, head.touched) > 0.975
    assert dice(mask, head.brain) > 0.96
    assert mask[head.brain].all()
    scalp = (head.magnitude > 60) & ~head.brain
    assert not (mask & scalp).any()


@pytest.mark.slow
def test_larger_fraction_gives_smaller_brain(head: Head, mask: npt.NDArray[np.bool_]) -> None:
    large, small = (
        bet(head.magnitude, head.voxel, superior=UP, fractional_intensity=f) for f in (0.2, 0.8)
    )
    assert large.sum() > mask.sum() > small.sum()


@pytest.mark.slow
def test_positive_gradient_enlarges_the_bottom_and_shrinks_the_top(
    head: Head, mask: npt.NDArray[np.bool_]
) -> None:
    tilted = bet(head.magnitude, head.voxel, superior=UP, gradient=0.3)
    middle = 31
    assert tilted[:, :, :middle].sum() > mask[:, :, :middle].sum()
    assert tilted[:, :, middle:].sum() < mask[:, :, middle:].sum()


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(1,), (0, 1, 2)])
def test_mirrored_head_gives_the_mirrored_mask(
    head: Head, mask: npt.NDArray[np.bool_], axes: tuple[int, ...]
) -> None:
    up = (0.0, 0.0, -1.0 if 2 in axes else 1.0)
    mirrored = bet(np.flip(head.magnitude, axes), head.voxel, superior=up)
    assert dice(np.flip(mirrored, axes), mask) > 0.99


@pytest.mark.slow
def test_any_axis_may_point_up() -> None:
    head = make_head((2.5, 3.0, 4.0), centre=(90.0, 118.0, 94.0))
    straight = bet(head.magnitude, head.voxel, superior=UP)
    for order in ((2, 0, 1), (0, 2, 1)):
        voxel = [head.voxel[a] for a in order]
        up = [UP[a] for a in order]
        turned = bet(head.magnitude.transpose(order), voxel, superior=up)
        assert dice(turned, straight.transpose(order)) > 0.99


@pytest.mark.slow
def test_scale_of_the_scanner_does_not_matter(head: Head, mask: npt.NDArray[np.bool_]) -> None:
    assert dice(bet(head.magnitude * 1e-5, head.voxel, superior=UP), mask) > 0.9999


@pytest.mark.slow
def test_integers_and_input_untouched(head: Head, mask: npt.NDArray[np.bool_]) -> None:
    counts = np.round(head.magnitude * 20).astype(np.uint16)
    before = counts.copy()
    assert dice(bet(counts, head.voxel, superior=UP), mask) > 0.995
    np.testing.assert_array_equal(counts, before)


@pytest.mark.slow
def test_same_mask_for_any_number_of_threads(head: Head, mask: npt.NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(bet(head.magnitude, head.voxel, superior=UP, n_threads=2), mask)


@pytest.mark.slow
def test_black_background(head: Head, mask: npt.NDArray[np.bool_]) -> None:
    cut = np.where(head.magnitude < 8, 0, head.magnitude)
    assert dice(bet(cut, head.voxel, superior=UP), mask) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("voxel", [(1.5, 1.5, 4.0), (4.0, 2.0, 3.0)])
def test_anisotropic_voxels(voxel: tuple[float, float, float]) -> None:
    head = make_head(voxel)
    assert dice(bet(head.magnitude, voxel, superior=UP), head.touched) > 0.96


@pytest.mark.slow
def test_small_head_off_centre() -> None:
    head = make_head(size=0.8, centre=(80.0, 100.0, 85.0))
    assert dice(bet(head.magnitude, head.voxel, superior=UP), head.touched) > 0.96


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 0.8])
def test_neck_and_shoulders_stay_out(size: float) -> None:
    head = make_head(
        fov=(192.0, 228.0, 300.0),
        centre=(96.0, 114.0, 215.0),
        size=size,
        neck=True,
    )
    assert dice(bet(head.magnitude, head.voxel, superior=UP), head.touched) > 0.96


@pytest.mark.slow
def test_strong_receive_field_is_divided_out(head: Head, mask: npt.NDArray[np.bool_]) -> None:
    ramp = np.linspace(-1, 1, head.magnitude.shape[1])[None, :, None]
    shaded = head.magnitude * np.exp(np.log(3) * ramp / 1.4)  # factor 3 across the brain
    corrected = dice(bet(shaded, head.voxel, superior=UP), mask)
    assert corrected > 0.98
    assert corrected > dice(bet(shaded, head.voxel, superior=UP, bias_correct=False), mask)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [slice(22, 40), slice(27, 36)])
def test_slab_through_the_brain(head: Head, keep: slice) -> None:
    slab = bet(head.magnitude[:, :, keep], head.voxel, superior=UP)
    assert dice(slab, head.touched[:, :, keep]) > 0.95
    # the brain goes on at both ends, and so does the mask
    assert slab[:, :, 0].sum() > 0.9 * head.brain[:, :, keep.start].sum()


@pytest.mark.slow
def test_array_may_end_at_the_brain(head: Head) -> None:
    hits = np.argwhere(head.brain)
    box = tuple(slice(a, b + 1) for a, b in zip(hits.min(0), hits.max(0), strict=True))
    assert dice(bet(head.magnitude[box], head.voxel, superior=UP), head.touched[box]) > 0.96


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magnitude": np.zeros((20, 20, 20))}, "contrast"),
        ({"magnitude": np.full((20, 20, 20), 7.0)}, "contrast"),
        ({"magnitude": np.zeros((20, 20))}, "3-D"),
        ({"magnitude": np.full((20, 20, 20), np.nan)}, "NaN"),
        ({"voxel_size": (1.0, 0.0, 1.0)}, "voxel"),
        ({"fractional_intensity": 1.0}, "fractional_intensity"),
        ({"gradient": 2.0}, "gradient"),
        ({"gradient": 0.1}, "superior"),
        ({"superior": (0, 0, 0)}, "superior"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {"magnitude": np.indices((20, 20, 20))[0] * 1.0, "voxel_size": (9.0, 9.0, 9.0)}
    with pytest.raises(ValueError, match=message):
        bet(**(arguments | change))


def test_icosphere_is_closed_round_and_symmetric() -> None:
    sphere = icosphere(4)
    assert sphere.vertices.shape == (2562, 3)
    assert sphere.faces.shape == (5120, 3)
    np.testing.assert_allclose(np.linalg.norm(sphere.vertices, axis=1), 1, atol=1e-12)
    assert np.count_nonzero(sphere.neighbours[:, 5] < 0) == 12
    a, b, c = (sphere.vertices[sphere.faces[:, i]] for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi, rel=0.005)  # positive: all faces look outwards
    for axis in range(3):
        mirrored = sphere.vertices * np.where(np.arange(3) == axis, -1, 1)
        distance = ((mirrored[:60, None] - sphere.vertices) ** 2).sum(-1).min(1)
        np.testing.assert_allclose(distance, 0, atol=1e-20)


def test_filled_sphere_has_its_volume_also_beyond_the_border() -> None:
    sphere = icosphere(4)
    full = fill_mesh(sphere.vertices * 20 + 25, sphere.faces, (51, 51, 51))
    # the wall adds about half a voxel
    assert 4 / 3 * np.pi * 20**3 < full.sum() < 4 / 3 * np.pi * 20.8**3
    half = fill_mesh(sphere.vertices * 20 + [0, 25, 25], sphere.faces, (51, 51, 51))
    np.testing.assert_array_equal(half[:25], full[25:50])


def test_only_a_folded_surface_intersects_itself() -> None:
    sphere = icosphere(4)
    edge = mean_edge(sphere.vertices, sphere.neighbours)
    stretched = sphere.vertices * [30.0, 40.0, 50.0]
    folded = np.abs(sphere.vertices * 40) * [1.0, 1.0, 0.02]
    scores = [
        self_intersection(sphere, moved, mean_edge(moved, sphere.neighbours), edge)
        for moved in (stretched, folded)
    ]
    assert scores[0] < 400
    assert scores[1] > 4000


def test_agrees_with_bet2_on_a_real_head(shared_dir: Path, tmp_path: Path) -> None:
    converter = shutil.which("dcm2niix")
    dicoms = shared_dir / "data" / "philips_head_2echo" / "dicom_classic"
    reference = shared_dir / "reference" / "bet2_philips_mask.nii.gz"
    if converter is None or not dicoms.is_dir() or not reference.is_file():
        pytest.skip("needs dcm2niix, the scan and its reference mask")
    command = [converter, "-b", "n", "-f", "head_%e", "-o", str(tmp_path), str(dicoms)]
    subprocess.run(command, check=True, capture_output=True)
    image = nib.load(tmp_path / "head_1.nii")
    truth = nib.load(reference)
    np.testing.assert_allclose(image.affine, truth.affine, atol=1e-3)
    mask = bet(image.get_fdata(), image.header.get_zooms(), superior=UP)
    assert dice(mask, truth.get_fdata() > 0) > 0.97
