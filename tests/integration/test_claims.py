"""Every claim of the page, of Tables 3 to 5 and of the methods against the graph that ran.

Small heads go through the pipeline in the usual and in odd ways. What the folders of the work
directory show to have run decides which claims may be made, and which have to be.
"""

import functools
import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmbids.config import Settings, dump_toml, load_settings, nested
from qsmbids.reports.paper.publication import Publication
from qsmbids.reports.paper.run_publication import found_of, publication_of, settings_of
from qsmbids.reports.paper.settings_in_force import in_force, looked_up
from qsmbids.reports.run.record import find_results, read_run

SHAPE, VOXEL = (32, 36, 28), 2.5
QUICK = {
    "total_field": {"phase_offset_refinements": 1},
    "background_field.vsharp": {"maximum_radius": 5, "refinements": 1},
    "background_field.pdf": {"maximum_iterations": 3},
    "dipole_inversion.fansi": {"maximum_iterations": 3},
    "dipole_inversion.medi": {"maximum_steps": 1},
    "regions": {"atlas": "none"},  # as long as all the rest; the head is none of a template
}


@dataclass
class Way:
    """One way through the pipeline: a dataset, options, settings, and what is given."""

    options: tuple = ()
    settings: dict = field(default_factory=dict)
    data: str = "five"
    given: str = ""
    mask: bool = True
    preset: str = "consensus-fansi"


def _inversion(name, **more):
    return Way(("--inversion", name), given="local-field", settings=more)


def _background(name):
    return Way(("--background", name, "--inversion", "tkd"), given="total-field")


SLOW = pytest.mark.slow
WAYS = {
    "ordinary": Way(mask=False),
    "no reliable phase": Way(("--inversion", "tkd"), {"masks": {"reliable_phase": "none"}}),
    "total field": Way(("--inversion", "l2"), given="total-field"),
    "local field, no reference": Way(("--reference", "none"), given="local-field"),
    "unwrapped phase": Way(("--inversion", "tkd"), given="unwrapped"),
    "one echo": Way(("--inversion", "tkd"), data="one"),
    "two echoes": Way(("--inversion", "tkd"), {"masks": {"reliable_phase": "relative-residual"}},
                      data="two"),
    "medi": _inversion("medi"),
    "tkd": _inversion("tkd", dipole_inversion={"holes": "weight"}),
    "pdf": _background("pdf"),
    "lbv": _background("lbv"),
    "resharp": _background("resharp"),
    "ismv": _background("ismv"),
    "vsharp of sepia": Way(("--background", "vsharp", "--inversion", "tkd"),
                           {"background_field": {"erode_after": 1},
                            "background_field.vsharp": {"variant": "sepia"}},
                           given="total-field"),
    "thick slices": Way(("--background", "resharp", "--inversion", "tkd"), data="thick"),
    "nonlinear fit": Way(("--echo-combination", "nonlinear", "--inversion", "tkd", "--swi")),
    "offset left": Way(("--inversion", "l2"), {"total_field": {
        "phase_offset_correction": "none", "bipolar_correction": "off",
        "relative_residual_threshold": 5.0}}),
    "rotated": Way(("--oblique", "rotate", "--inversion", "tkd"), data="tilted"),
    "two-pass": Way(("--holes", "two-pass"), given="local-field"),
    "adaptive": Way(("--uncertainty",), given="local-field", preset="adaptive"),
    "generalised": _inversion(
        "fansi", **{"dipole_inversion.fansi": {"constraint": "tgv", "solver": "linear"}}),
    "fluid": Way(("--reference", "csf", "--inversion", "medi"),
                 {"dipole_inversion.medi": {"zero_reference": True}}),
    "sepia-fansi": Way(preset="sepia-fansi", given="total-field"),
    "sepia-medi": Way(preset="sepia-medi", given="total-field"),
    "least": Way(("--output-level", "minimal", "--inversion", "tkd")),
}  # fmt: skip
#: What is left to the longer run of the tests.
SLOW_WAYS = {
    "rotated",
    "two-pass",
    "thick slices",
    "resharp",
    "two echoes",
    "adaptive",
    "pdf",
    "sepia-medi",
    "offset left",
    "generalised",
    "fluid",
    "sepia-fansi",
    "unwrapped phase",
    "vsharp of sepia",
    "ismv",
    "lbv",
    "nonlinear fit",
    "medi",
    "no reliable phase",
}
DATA = {
    "five": {},
    "one": {"echo_times": (0.02,)},
    "two": {"echo_times": (0.006, 0.02)},
    "thick": {"voxel_size": (2.0, 2.0, 3.0), "shape": (32, 36, 24)},
    "tilted": {"tilt_degrees": 20.0},
}


@dataclass
class Finished:
    """A run as it ended."""

    way: Way
    nodes: set
    published: Publication
    record: dict
    settings: Settings
    n_echoes: int
    page: str

    @property
    def text(self):
        return self.published.methods

    def cell(self, name):
        rows = {row[0]: row[1] for table in self.published.tables for row in table.rows}
        return rows.get(name, "")

    def finding(self, number, topic=""):
        return next(
            (
                f
                for f in self.published.pipeline
                if f.recommendation == number and topic in f.topic
            ),
            None,
        )


@pytest.fixture(scope="module")
def prepare(made_once, write_small_dataset):
    """Return a dataset of a kind with its truth, and the fields of the truth as files."""

    def make(kind):
        options = {"shape": SHAPE, "voxel_size": (VOXEL,) * 3, **DATA[kind]}
        return made_once(f"claims-{kind}", lambda bids: write_small_dataset(bids, **options))

    return make


def _given(bids, kind, folder):
    """Return an image to start from: one of the truth, or unwrapped phase made of it."""
    truth = bids / "derivatives/truth/sub-demo"
    if kind != "unwrapped":
        name = kind.removesuffix("-field")
        return next(truth.rglob(f"*_desc-{name}_fieldmap.nii.gz"))
    source = nib.load(next(truth.rglob("*_desc-total_fieldmap.nii.gz")))
    total = np.asarray(source.dataobj)
    for path in sorted(bids.glob("sub-demo/anat/*_part-phase_MEGRE.json")):
        said = json.loads(path.read_text())
        phase = 2 * np.pi * total * said["EchoTime"]
        name = path.name.replace(".json", "").replace("part-phase", "part-phase_desc-unwrapped")
        target = folder / "sub-demo/anat" / f"{name}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(phase.astype(np.float32), source.affine), target)
        target.with_name(f"{name}.json").write_text(json.dumps({**said, "Units": "rad"}))
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"})
    )
    return folder


def _toml(settings):
    merged = {k: dict(v) for k, v in QUICK.items()}
    for section, table in settings.items():
        merged.setdefault(section, {}).update(table)
    return dump_toml(merged)


@pytest.fixture(scope="module")
def finished(prepare, made_once):
    """Return a way when it has been gone, once."""
    from qsmbids.cli.run import main

    def go(root, name):
        way, bids = WAYS[name], prepare(WAYS[name].data)
        root.mkdir()
        toml = root / "my.toml"
        toml.write_text(_toml(way.settings))
        options = ["--preset", way.preset, "--config-file", toml, *way.options]
        if way.mask:
            options += ["--mask", next(bids.rglob("*_desc-truth_mask.nii.gz"))]
        if way.given:
            options += [f"--{way.given}", _given(bids, way.given, root / "given")]
        arguments = [bids, root / "out", "participant", "--work-dir", root / "work",
                     "--nprocs", 1, "--skip-bids-validation", *options]  # fmt: skip
        assert main([str(a) for a in arguments]) == 0

    @functools.cache
    def read(name):
        root = made_once(f"way-{name}".replace(" ", "-"), lambda folder: go(folder, name))
        nodes = {p.parent.name for p in (root / "work").rglob("result_*.pklz")}
        record = read_run(root / "out", find_results(root / "out")[0])
        found = found_of(record)
        return Finished(
            WAYS[name], nodes, publication_of(record), found, settings_of(record),
            len(found["EchoTime"]),
            html.unescape((root / "out" / "sub-demo.html").read_text("utf-8")),
        )  # fmt: skip

    return read


def _ways():
    """Each way is gone in one process, with all the tests that look at it."""
    for name in WAYS:
        slow = [SLOW] if name in SLOW_WAYS else []
        yield pytest.param(name, marks=[*slow, pytest.mark.xdist_group(f"way {name}")])


@pytest.fixture(params=_ways())
def run(request, finished):
    return finished(request.param)


ROMEO = {"unwrap_phase"}
#: A sentence of the methods, and the condition of the graph under which it must stand there.
SENTENCES = {
    "The phase was brought to radians": lambda n, r: "prepare_phase" in n,
    "Mask 1\\) was made by": lambda n, r: "mask1" in n and not r.way.mask,
    "Mask 1\\) that the investigators gave": lambda n, r: "mask1" in n and r.way.mask,
    "bipolar echoes was removed": lambda n, r: False,  # all of these heads are monopolar
    "tested for the phase difference of a bipolar": lambda n, r: "correct_readout" in n,
    "a bipolar readout was not looked for": lambda n, r: (
        "correct_readout" not in n and r.n_echoes > 1
    ),
    "estimated by MCPC-3D-S": lambda n, r: "remove_phase_offset" in n,
    "phase at echo time zero was not removed": lambda n, r: (
        "unwrap_phase" in n and not {"remove_phase_offset", "flatten_offset"} & n
    ),
    "cannot be told from the field; its curvature": lambda n, r: "flatten_offset" in n,
    "There was no second pass": lambda n, r: "remove_background_field" in n,
    "unwrapped by template unwrapping": lambda n, r: "unwrap_phase" in n and r.n_echoes > 1,
    "phase of the single echo was unwrapped": lambda n, r: "unwrap_phase" in n and r.n_echoes == 1,
    "fitted to the complex signal": lambda n, r: (
        "combine_echoes" in n and not {"unwrap_phase", "given_phase"} & n
    ),
    "Unwrapped phase that the investigators gave": lambda n, r: "given_phase" in n,
    "total field that the investigators gave": lambda n, r: (
        "given_field" in n and "given_local_field" not in n
    ),
    "local field that the investigators gave": lambda n, r: "given_local_field" in n,
    "weights of the data were the inverse": lambda n, r: "weight_data" in n,
    "falls linearly with the relative residual": lambda n, r: (
        "weight_data" in n and r.n_echoes > 2 and "given_local_field" not in n
    ),
    "taken for reliable \\(Mask 2\\)": lambda n, r: (
        "mask2" in n and r.record["ReliablePhase"]["Measure"] != "none"
    ),
    "there was no Mask 2": lambda n, r: r.settings.masks.reliable_phase in (
        "none", "relative-residual"),
    "its holes were filled": lambda n, r: "mask3" in n,
    "Mask 3 was eroded by": lambda n, r: "remove_background_field" in n,
    "phase too steep to be unwrapped surely joined": lambda n, r: "find_unsure_rim" in n,
    "Background fields were removed": lambda n, r: "remove_background_field" in n,
    "Mask 4 was (not|then) eroded": lambda n, r: "remove_background_field" in n,
    "No polynomial was fitted": lambda n, r: "remove_background_field" in n,
    "the field was rotated onto it": lambda n, r: "straighten_slab" in n,
    "The dipole kernel had the direction": lambda n, r: "straighten_slab" not in n,
    "calculated by FANSI": lambda n, r: r.settings.dipole_inversion.method == "fansi",
    "morphology enabled dipole inversion": lambda n, r: (
        r.settings.dipole_inversion.method == "medi"
    ),
    "thresholded k-space division": lambda n, r: r.settings.dipole_inversion.method == "tkd",
    "closed form with L2": lambda n, r: r.settings.dipole_inversion.method == "l2",
    "inversion of all voxels, and the tissue": lambda n, r: "merge_two_pass" in n,
    "holes of unreliable phase (kept|had|were inv|counted)": lambda n, r: (
        "merge_two_pass" not in n and r.record["ReliablePhase"]["Measure"] != "none"
    ),
    "zero outside the mask of the background": lambda n, r: "remove_background_field" in n,
    "zero outside the region of the local field": lambda n, r: "given_local_field" in n,
    "referenced to the mean over": lambda n, r: "reference_chi" in n,
    "as the inversion gave them, without a": lambda n, r: "reference_chi" not in n,
    "Cerebrospinal fluid of the ventricles was": lambda n, r: "find_csf" in n,
    "R2\\* was mapped": lambda n, r: "map_r2star" in n,
    "Susceptibility-weighted images": lambda n, r: "weight_by_phase" in n,
    "have a part in the map|part of it is in the map": lambda n, r: r.n_echoes == 1,
}  # fmt: skip
#: A recommendation that is about a step: not done where that has not run, judged where it has.
JUDGED = {
    ("4.a", ""): lambda n, r: {"unwrap_phase", "given_phase"} & n or r.text.count("fitted to the"),
    ("4.b", ""): lambda n, r: (
        {"combine_echoes", "remove_background_field"} <= n and r.n_echoes > 1
    ),
    ("4.c", "echo combination"): lambda n, r: (
        "combine_echoes" in n and "given_phase" not in n and r.n_echoes > 1
    ),
    ("4.c", "offset"): lambda n, r: "combine_echoes" in n and "given_phase" not in n,
    ("5.a", "Mask 1"): lambda n, r: "mask1" in n,
    ("5.a", "Mask 2"): lambda n, r: "mask2" in n,
    ("5.b", ""): lambda n, r: "mask3" in n,
    ("5.c", ""): lambda n, r: "invert_dipole_field" in n,
    ("6.c", ""): lambda n, r: "remove_background_field" in n,
    ("7.a", "dipole"): lambda n, r: "invert_dipole_field" in n,
    ("7.b", ""): lambda n, r: "invert_dipole_field" in n,
    ("8.e", ""): lambda n, r: "reference_chi" in n,
    ("8.f", ""): lambda n, r: "reference_chi" in n or "describe_references" in n,
    ("8.g", ""): lambda n, r: "measure_rois" in n,
    ("S2.1", ""): lambda n, r: "combine_echoes" in n and "given_phase" not in n,
}


def test_the_sidecars_name_the_steps_that_ran(run):
    unnamed = {n for n in run.nodes if not n.startswith("save_")} - set(run.record["Steps"])
    assert set(run.record["Steps"]) <= run.nodes
    # what decides nothing of a map, or writes under another name
    assert unnamed <= {"bet", "restore_slab", "fit_r2star", "map_r2star", "check_sign",
                       "find_fluid", "reference_chi_csf", "measure_images",
                       "set_aside_strong_sources"}, unnamed  # fmt: skip


def test_every_sentence_has_its_step_and_every_step_its_sentence(run):
    for words, condition in SENTENCES.items():
        there = re.search(words, run.text) is not None
        assert there == bool(condition(run.nodes, run)), words
    assert "Further settings" not in run.text
    assert "{" not in run.text


def test_what_was_not_done_is_said_not_to_be_done(run):
    for (number, topic), condition in JUDGED.items():
        found = run.finding(number, topic)
        assert found is not None, number
        done = bool(condition(run.nodes, run))
        assert (found.verdict != "absent") == done, (number, found)
        assert (found.text.startswith("Not done in this run")) == (not done), found


def test_settings_and_sidecars_are_the_same_settings(run):
    assert run.published.disagreements == ()
    rows = in_force(run.settings, record=run.record)
    expected = {
        row.key: value
        for row, value in in_force(run.settings, run.n_echoes)
        if row.step in ("background_field", "dipole_inversion")
    }
    recorded = {row.key: value for row, value in rows if row.is_setting}
    if "given_local_field" in run.nodes:
        assert not [
            k for k in recorded if k.startswith("background_field.") and "oblique" not in k
        ]
        expected = {k: v for k, v in expected.items() if k.startswith("dipole")}
    if run.settings.dipole_inversion.medi.zero_reference:  # the fluid may be too little
        expected = {k: v for k, v in expected.items() if "zero_ref" not in k and "fluid" not in k}
    if run.way.data != "tilted":
        expected.pop("background_field.oblique", None)
    if "given_field" in run.nodes:
        expected.pop("background_field.unsure_rim", None)
    assert {k: recorded.get(k) for k in expected} == expected
    own = {k for k in recorded if k.split(".")[0] in ("background_field", "dipole_inversion")}
    assert own <= {*expected, "background_field.oblique", "dipole_inversion.medi.zero_reference",
                   "dipole_inversion.medi.fluid_weight"}  # fmt: skip


def test_another_value_in_the_log_is_found(run):
    from qsmbids.reports.paper.settings_in_force import disagreements

    for row, value in in_force(run.settings, record=run.record):
        if not row.is_setting or looked_up(run.record, row.sidecar) is None:
            continue
        if isinstance(value, bool | str):
            continue
        changed = _another(run, row, value)
        if changed is not None:
            assert any(row.label in d for d in disagreements(changed, run.record)), row.key


def _another(run, row, value):
    """Return settings with another value, None where there is none that fits."""
    from qsmbids.errors import ConfigError

    other = type(value)(value * 0.5 + 1)
    try:
        changed = run.settings.updated(nested({row.key: other}), "test")
    except ConfigError:
        return None
    return changed if other != value else None


def test_table_5_has_a_row_for_what_was_done(run):
    removal = run.cell("Algorithms: background field removal")
    assert bool(removal) == ("remove_background_field" in run.nodes)
    for word, method in (("PDF", "pdf"), ("LBV", "lbv"), ("RESHARP", "resharp"), ("iSMV", "ismv")):
        used = bool(removal) and run.settings.background_field.method == method
        assert (word in removal) == used
    assert ("without a reference" in run.cell("Referencing")) == ("reference_chi" not in run.nodes)
    given = run.cell("Given in place of computed")
    for step, words in (
        ("given_local_field", "local field"),
        ("given_field", "total field"),
        ("given_phase", "unwrapped phase"),
    ):
        assert (words in given) == (step in run.nodes)
    assert ("Mask 1" in given) == run.way.mask


#: What maps and masks of the page are said to be.
SHOWN = {
    "rim lost to background removal": lambda n, r: "remove_background_field" in n,
    "where the given local field is known": lambda n, r: "given_local_field" in n,
    ">brain extraction<": lambda n, r: not r.way.mask and "guide_mask1" not in n,
    ">brain extraction alone<": lambda n, r: "guide_mask1" in n,
    "guided by a template of the head": lambda n, r: False,  # for which these are too small
    "voxels of unreliable phase taken out": lambda n, r: (
        r.record["ReliablePhase"]["Measure"] != "none"
    ),
    "relative to the main reference": lambda n, r: "reference_chi" in n,
    "susceptibility without a reference": lambda n, r: "reference_chi" not in n,
    "were asked for; which of them": lambda n, r: False,
}


def test_maps_and_masks_of_the_page_are_what_they_are_said_to_be(run):
    for words, condition in SHOWN.items():
        # least writes only Mask 4
        if "least" in str(run.way.options) or "minimal" in run.way.options:
            continue
        assert (words in run.page) == bool(condition(run.nodes, run)), words


def test_2_5_mm_are_told_to_need_another_strength(finished):
    found = finished("ordinary").finding("7.b", "strength")
    assert found.verdict == "advice"
    assert "voxels of 2.5 x 2.5 x 2.5 mm (paper: 1 mm)" in found.text
    assert "qsmbids-lcurve" in found.text
    medi = finished("medi")
    table = medi.finding("S2.4")
    assert "radius 5 mm (paper: 5 voxels)" in table.text


def test_radii_are_in_the_unit_that_was_used(finished):
    isotropic = finished("resharp")
    assert "spheres of 4 voxels in radius" in isotropic.text


def test_radii_are_in_millimetres_for_thick_slices(finished):
    assert "spheres of 4 mm in radius" in finished("thick slices").text


def test_an_adaptive_strength_is_not_called_fixed(finished):
    found = finished("adaptive").finding("7.b", "strength")
    assert found.verdict == "changed"
    assert "--adaptive-from" in found.text


def test_a_map_says_how_sure_it_is(finished):
    found = finished("adaptive")
    median = found.record["DipoleInversion"]["StandardErrorMedianPpm"]
    assert 0.0005 < median < 0.05
    assert "from inversions of simulated heads" in found.text
    assert f"in the median voxel {1e3 * median:.2g} ppb" in found.page


def test_edges_of_images_are_told_with_their_shares(finished):
    found = finished("adaptive")
    shares = found.record["DipoleInversion"]["EdgeShares"]
    assert set(shares) == {"Magnitude", "R2star"}
    assert 0 < sum(shares.values()) <= 1
    assert "of R2* where it was mapped" in found.text


def test_the_settings_of_the_page_are_those_of_its_methods(finished):
    names = [row[-1] for row in finished("tkd").published.settings.rows]
    assert "[dipole_inversion.tkd] threshold" in names
    assert not [n for n in names if "gradient_l1" in n or "medi" in n or "vsharp" in n]
    fit = {row[0]: row[1] for row in finished("nonlinear fit").published.settings.rows}
    assert fit["ROMEO edge weights, of the fit"] == "romeo4"
    assert fit["ROMEO edge weights, of the phase quality"] == "romeo3"
    assert "ROMEO template echo" not in fit
    usual = {row[0]: row[1] for row in finished("ordinary").published.settings.rows}
    assert usual["ROMEO template echo"] == "1"


def test_software_is_not_taken_for_the_paper(finished):
    found = finished("ordinary")
    rows = {row[0]: row for row in found.published.settings.rows}
    assert rows["start of the iterations"][2:4] == ("", "zero")
    assert rows["spatial weights of the penalty"][2:4] == ("vector field", "vector-signed")
    assert "start of the iterations" not in found.finding("S2.3").text
    assert "measure for Mask 2 romeo-quality (paper: none)" in found.finding("S2.1").text


def test_presets_that_repeat_the_software_depart_from_no_table():
    for preset in ("sepia-fansi", "sepia-medi"):
        settings = load_settings(preset)
        assert settings.masks.reliable_phase == "none"
        assert settings.background_field.vsharp.variant == "sepia"


def test_the_work_directory_was_looked_into(finished):
    """The graph that the claims are compared with is the one that ran, not an empty set."""
    assert {"prepare_phase", "unwrap_phase", "mask3"} <= finished("ordinary").nodes
    assert Path(__file__).name == "test_claims.py"
