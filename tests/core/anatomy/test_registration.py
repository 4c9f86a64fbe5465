"""The template found in runs made of it, where the answer is known."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsmbids.core.anatomy.affine import Pair, fit_affine
from qsmbids.core.anatomy.carrying import brain_distance, carry_labels, signed_distance
from qsmbids.core.anatomy.deformable import Channel, Stage, deform
from qsmbids.core.anatomy.guided_mask import guided_mask, tissue_odds
from qsmbids.core.anatomy.registration import Registration, register
from qsmbids.core.anatomy.sampling import (
    compose,
    enlarge,
    invert,
    jacobian,
    pull,
    resample_affine,
)
from qsmbids.core.anatomy.surface import Looks
from qsmbids.core.anatomy.template import (
    CLASSES,
    Template,
    brain_share,
    class_maps,
    expected_map,
)
from qsmbids.core.maths.mutual_information import dice
from qsmbids.core.maths.parallel import numba_threads
from qsmbids.io.template import load_template

RUN = np.diag([4.0, 4.0, 4.0, 1.0])
RUN[:3, 3] = (-90, -120, -80)
SHAPE = (46, 52, 46)


@pytest.fixture(scope="module")
def template() -> Template:
    """Every second voxel of the template of the package."""
    full = load_template()
    coarse, fine = full.grid.copy(), full.fine_grid.copy()
    coarse[:3, :3] *= 2
    fine[:3, :3] *= 2
    some = np.s_[::2, ::2, ::2]
    return full._replace(
        t1=np.ascontiguousarray(gaussian_filter(full.t1, 0.8)[some]),
        grey=np.ascontiguousarray(gaussian_filter(full.grey, 0.8)[some]),
        white=np.ascontiguousarray(gaussian_filter(full.white, 0.8)[some]),
        grid=coarse,
        brain=np.ascontiguousarray(full.brain[some]),
        regions=np.ascontiguousarray(full.regions[some]),
        fine_grid=fine,
    )


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A larger head, nodded, turned and shifted: from the template to the run [mm]."""
    nod, turn = 0.15, -0.1
    nodded = np.array([[1, 0, 0], [0, np.cos(nod), -np.sin(nod)], [0, np.sin(nod), np.cos(nod)]])
    turned = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = nodded @ turned @ np.diag([1.05, 0.97, 1.04])
    matrix[:3, 3] = (6, -9, 12)
    return matrix


def in_run(volume: np.ndarray, grid: np.ndarray, truth: np.ndarray) -> np.ndarray:
    matrix = np.linalg.inv(grid) @ np.linalg.inv(truth) @ RUN
    return resample_affine(np.ascontiguousarray(volume, dtype=np.float32), matrix, SHAPE, 0.0)


@pytest.fixture(scope="module")
def head(template: Template, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude with another contrast than the template's, and the brain."""
    brain = in_run(template.brain, template.fine_grid, truth) > 0.5
    tissue = in_run(template.t1, template.grid, truth)
    magnitude = np.where(tissue > 20, 300 - tissue, 0)  # fluid is bright
    noise = np.random.default_rng(0).normal(0, 4, SHAPE)
    return (magnitude + noise).astype(np.float32), brain


def corners(matrix: np.ndarray) -> np.ndarray:
    """Return where points at the surface of the template's brain go."""
    points = np.array([[60, -20, 10], [-60, -20, 10], [0, 65, 5], [0, -100, 5], [0, -20, 75]])
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def fit(magnitude, mask, affine, template):
    brain = brain_share(class_maps(template))
    return fit_affine([Pair(magnitude, template.t1)], mask, affine, brain, template.grid)


def test_recovers_a_known_affine_under_another_contrast(head, template, truth) -> None:
    magnitude, brain = head
    # a mask that runs down the neck, as BET's does
    rough = brain.copy()
    rough[15:32, 15:30, :10] = True
    found = fit(magnitude, rough, RUN, template).matrix
    assert np.abs(corners(found) - corners(truth)).max() < 3.0  # of 4 mm voxels


def test_order_and_direction_of_the_axes_do_not_matter(head, template, truth) -> None:
    magnitude, brain = head
    order = [2, 0, 1]
    turned = np.flip(np.transpose(magnitude, order), 1).copy()
    mask = np.flip(np.transpose(brain, order), 1).copy()
    affine = RUN.copy()
    affine[:, :3] = RUN[:, order]
    affine[:3, 3] += affine[:3, 1] * (turned.shape[1] - 1)
    affine[:3, 1] *= -1
    found = fit(turned, mask, affine, template).matrix
    assert np.abs(corners(found) - corners(truth)).max() < 3.0


def test_threads_change_no_bit_of_the_affine(head, template, monkeypatch) -> None:
    magnitude, mask = head
    monkeypatch.setattr("qsmbids.core.anatomy.affine._FEW", 0)  # the template here is a coarse one
    found = []
    for n_threads in (1, 2):
        with numba_threads(n_threads):
            found.append(fit(magnitude, mask, RUN, template).matrix)
    np.testing.assert_array_equal(*found)


def smooth_shift(shape: tuple[int, ...], size: float, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shift = np.stack([gaussian_filter(rng.standard_normal(shape), 5) for _ in range(3)])
    return (shift * (size / shift.std())).astype(np.float32)


def test_recovers_a_known_warp(template) -> None:
    maps = class_maps(template)
    shift = smooth_shift(maps.shape[1:], 1.0)
    image = pull(np.ascontiguousarray(template.t1 / 200), shift)
    channel = Channel(image, np.ones_like(image), shaded=True)
    found = deform([channel], maps, stages=(Stage(2, 40, 2.0, 0.7), Stage(1, 20, 2.5, 0.7)))
    inside = pull(brain_share(maps), shift) > 0.5
    before = np.sqrt((shift**2).sum(axis=0))[inside].mean()
    after = np.sqrt(((found.shift - shift) ** 2).sum(axis=0))[inside].mean()
    assert after < 0.45 * before
    assert jacobian(found.shift)[inside].min() > 0.2


def test_inverse_undoes_a_shift() -> None:
    shift = smooth_shift((30, 32, 28), 0.8)
    left = compose(shift, invert(shift))[:, 5:-5, 5:-5, 5:-5]
    assert np.abs(left).max() < 0.02


def test_jacobian_of_a_stretch() -> None:
    x = np.indices((8, 9, 10)).astype(np.float32)
    np.testing.assert_allclose(
        jacobian(x * np.array([0.1, 0.2, -0.5])[:, None, None, None]), 0.66, rtol=1e-5
    )


@pytest.fixture(scope="module")
def found(head, template) -> Registration:
    magnitude, brain = head
    return register(template, RUN, brain, magnitude=magnitude)


def test_a_head_is_used_and_its_regions_are_carried(found, template, truth) -> None:
    assert found.usable, found.reason
    labels = carry_labels(found, template, SHAPE)
    for name, least in (("putamen", 0.75), ("thalamus", 0.75), ("ventricle-csf", 0.6)):
        index = [r.index for r in template.table if r.name == name]
        expected = in_run(np.isin(template.regions, index), template.fine_grid, truth) > 0.5
        assert dice(np.isin(labels, index), expected) > least, name
    left = [r.index for r in template.table if r.side == "left"]
    assert np.argwhere(np.isin(labels, left))[:, 0].mean() < np.argwhere(labels > 0)[:, 0].mean()


def test_mask_loses_the_neck_and_wins_the_pole(found, head, template) -> None:
    magnitude, brain = head
    extracted = brain.copy()
    extracted[15:32, 15:40, :9] = True  # neck
    extracted[:, 42:] = False  # a pole is missing
    distance = brain_distance(found, template, SHAPE)
    mask = guided_mask(extracted, distance, (4, 4, 4), magnitude)
    assert dice(mask, brain) > 0.94 > dice(extracted, brain)


def test_the_brain_ends_where_the_template_does(found, template) -> None:
    """Its field of view ends 3 mm below the brain; a cord would go on as near to it for ever."""
    longer = (SHAPE[0], SHAPE[1], SHAPE[2] + 8)
    shifted = RUN.copy()
    shifted[2, 3] -= 32
    lower = replace(found, run_affine=shifted)
    distance = brain_distance(lower, template, longer)
    assert distance[:, :, 0].min() > 8


def test_what_decays_like_muscle_is_no_brain(head) -> None:
    """Muscle below the cerebellum is as bright as brain; the template is 4 mm too low there."""
    magnitude, brain = head
    low = np.flatnonzero(brain.any(axis=(0, 1)))[0]
    template = brain.copy()
    template[12:35, 10:38, low - 1] = True
    fine = np.kron(template, np.ones((2, 2, 2), dtype=bool))
    distance = gaussian_filter(signed_distance(fine, np.full(3, 2.0)), 1.0)[::2, ::2, ::2]
    muscle = np.zeros(SHAPE, bool)
    muscle[10:36, 8:40, :low] = True
    bright = np.where(muscle, np.median(magnitude[brain]), magnitude).astype(np.float32)
    r2star = np.where(brain, 20, np.where(muscle, 38, 8)).astype(np.float32)
    seeing = guided_mask(brain | muscle, distance, (4, 4, 4), bright, r2star)
    too_low = np.count_nonzero(muscle & (distance < 0))
    assert too_low > 300
    assert (seeing & muscle).sum() < 0.1 * too_low
    assert dice(seeing, brain) > 0.95


def test_muscle_as_bright_as_brain_does_not_draw_the_template(head, template) -> None:
    """One echo, and nothing of an edge between the cerebellum and what lies below it."""
    magnitude, brain = head
    low = np.flatnonzero(brain.any(axis=(0, 1)))[0]
    muscle = np.zeros(SHAPE, dtype=bool)
    muscle[6:40, 4:44, : low + 5] = True
    muscle &= ~brain
    bright = np.where(muscle, np.median(magnitude[brain]), magnitude).astype(np.float32)
    found = register(template, RUN, brain | muscle, magnitude=bright)
    distance = brain_distance(found, template, SHAPE)
    taken = np.count_nonzero(muscle & (distance < -2))
    assert taken < 0.01 * np.count_nonzero(brain)


def test_where_all_looks_alike_the_odds_are_even(head) -> None:
    _, brain = head
    distance = np.where(brain, -3.0, 3.0).astype(np.float32)
    looks = Looks.of([np.full(SHAPE, 7.0, dtype=np.float32)], np.ones(SHAPE, bool))
    assert np.abs(tissue_odds(looks, distance, (4, 4, 4))).max() < 0.05


def test_noise_is_refused(template) -> None:
    noise = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    mask = np.linalg.norm(np.indices(SHAPE) - 23.0 * np.ones((3, 1, 1, 1)), axis=0) < 17
    refused = register(template, RUN, mask, magnitude=noise)
    assert not refused.usable
    assert "information" in refused.reason


def test_a_shaded_bottle_is_refused_for_it_fits_anywhere(template) -> None:
    place = np.indices(SHAPE) * 4.0
    centre = np.array([92.0, 104.0, 92.0]).reshape(3, 1, 1, 1)
    far = np.linalg.norm((place - centre) / np.array([70, 85, 66]).reshape(3, 1, 1, 1), axis=0)
    bottle = np.where(far < 1, 1000.0 * np.exp(-0.8 * far), 0)
    bottle += np.random.default_rng(1).normal(0, 10, SHAPE)
    refused = register(template, RUN, far < 1, magnitude=np.abs(bottle).astype(np.float32))
    assert not refused.usable
    assert refused.lead < 3


def test_a_head_without_grey_against_white_is_used(template, truth) -> None:
    """A late echo: only fluid is unlike the rest."""
    maps = class_maps(template)
    fluid = maps[CLASSES.index("sulci")] + maps[CLASSES.index("ventricle")]
    brain = in_run(template.brain, template.fine_grid, truth) > 0.5
    late = in_run(brain_share(maps) - 0.25 * fluid, template.grid, truth)
    late = late + np.random.default_rng(0).normal(0, 0.03, SHAPE)
    found = register(template, RUN, brain, magnitude=late.astype(np.float32))
    assert found.usable, found.reason
    assert dice(brain_distance(found, template, SHAPE) < 0, brain) > 0.85


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"coverage": 0.05}, "field of view"),
        ({"size": 1.5}, "times as long"),
        ({"information": 0.0}, "too little information"),
        ({"lead": 1.0}, "moved aside"),
        ({"least_jacobian": -0.1}, "squeezed"),
    ],
)
def test_every_ground_of_refusal_is_said(found, change, word) -> None:
    assert word in replace(found, **change).reason


def test_a_measure_just_below_its_limit_reads_as_such(found) -> None:
    """A bottle was told "0.009, at least 0.009"."""
    reason = replace(found, information=0.0086).reason
    told, least = (float(n) for n in re.findall(r"0\.\d+", reason))
    assert told < least


def test_nothing_to_register_is_an_error(template) -> None:
    with pytest.raises(ValueError, match="needed"):
        register(template, RUN, np.ones(SHAPE, dtype=bool))
    with pytest.raises(ValueError, match="empty"):
        register(template, RUN, np.zeros(SHAPE, dtype=bool), magnitude=np.ones(SHAPE))


def test_half_a_brain_finds_its_half(template, truth) -> None:
    maps = class_maps(template)
    chi = expected_map(maps, "chi") * brain_share(maps)
    brain = in_run(template.brain, template.fine_grid, truth) > 0.5
    brain[25:] = False  # nothing is known beyond a sagittal plane
    pair = Pair(np.where(brain, in_run(chi, template.grid, truth), 0), chi)
    found = fit_affine([pair], brain, RUN, brain_share(maps), template.grid, partial=True).matrix
    here = corners(truth)[:, 0] < 10
    assert np.abs(corners(found) - corners(truth))[here].max() < 6.0


@pytest.mark.parametrize(("n", "shape"), [(2, (9, 14, 11)), (4, (17, 26, 20)), (3, (15, 21, 18))])
def test_a_volume_is_enlarged_as_it_is_resampled(n, shape):
    volume = np.random.default_rng(1).normal(size=(5, 7, 6)).astype(np.float32)
    expected = resample_affine(volume, np.diag([1 / n, 1 / n, 1 / n, 1.0]), shape, np.nan)
    np.testing.assert_allclose(enlarge(volume, n, shape), expected, atol=2e-6)
