"""The graph of a run, built but not executed."""

from dataclasses import replace
from pathlib import Path

import networkx as nx
import nipype.pipeline.engine as pe
import pytest
from nipype.interfaces.base import BaseInterface

from qsmbids.config import load_settings
from qsmbids.execution import Execution
from qsmbids.io.descriptions import DESCRIPTIONS
from qsmbids.io.layout import collect_runs
from qsmbids.io.metadata import read_acquisition
from qsmbids.io.segmentation_labels import Region
from qsmbids.io.segmentations import Segmentation
from qsmbids.io.start_image import StartImage
from qsmbids.workflows.base import init_qsmbids_wf
from qsmbids.workflows.graph import Outline, RunContext, Step, step_memory_gb
from qsmbids.workflows.nodes import RunGraph
from qsmbids.workflows.output_table import OUTPUTS
from qsmbids.workflows.outputs import written
from qsmbids.workflows.pipeline import outline_of
from qsmbids.workflows.plan import RunPlan
from qsmbids.workflows.run import init_run_wf
from qsmbids.workflows.steps import (
    INTERFACES,
    STEP_TITLES,
    STEPS,
    chi,
    field,
    run_memory_gb,
    values,
)


@pytest.fixture
def build(small_dataset, tmp_path, monkeypatch):
    """Build the graph of the small dataset with its first echoes."""

    def call(
        n_echoes=5,
        level="standard",
        overrides=None,
        mask=None,
        threads=1,
        fsl=False,
        tilt=0.0,
        **plan,
    ):
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        if fsl:
            (tmp_path / "bin").mkdir()
            (tmp_path / "bin" / "bet").write_text("#!/bin/sh\n")
            (tmp_path / "bin" / "bet").chmod(0o755)
        filters = {"megre": {"echo": [str(e) for e in range(1, n_echoes + 1)]}}
        runs, problems = collect_runs(small_dataset, filters=filters)
        assert not problems
        acquisition = replace(read_acquisition(runs[0]), tilt_degrees=tilt)
        plan = RunPlan(runs[0], acquisition, (), mask, **plan)
        execution = Execution(tmp_path, omp_nthreads=threads, output_level=level)
        settings = load_settings(overrides=overrides)
        workflow = init_run_wf(plan, settings, execution, small_dataset, tmp_path / "out")
        call.plan, call.execution, call.settings = plan, execution, settings
        # whatever a test asks for: what a dry run lists is what is run
        assert sorted(outline_of(plan, settings).names) == sorted(_steps(workflow))
        return workflow

    return call


#: Steps that only an option or a tilted slab brings.
ON_REQUEST = {
    "straighten_slab",
    "restore_slab",
    "set_aside_strong_sources",
    "invert_tissue_field",
    "merge_two_pass",
    "align_slices",
    "flatten_offset",
    "find_fluid",
    "given_region",
    "reference_chi_region",
    "rate_phase",
    "given_phase",
    "given_field",
    "given_local_field",
    "weight_by_phase",
    "weight_by_chi",
    "register_t1w",
    "bring_segmentation",
    "bring_lesions",
    "measure_lesions",
}


def _steps(workflow):
    return {n for n in workflow.list_node_names() if not n.startswith("save_")}


def test_every_step_has_a_title_and_a_memory_estimate(build):
    steps = _steps(build(fsl=True))
    assert steps == set(STEP_TITLES) - ON_REQUEST
    assert all(step_memory_gb(s, 10**6, 5) > 0 for s in STEPS)


def test_the_built_in_bet_stands_in_for_fsl(build):
    assert "bet" not in _steps(build(fsl=False))


def test_fsl_can_be_forced_off(build):
    assert "bet" not in _steps(
        build(fsl=True, overrides={"masks": {"brain_extraction": "builtin"}})
    )


def test_a_template_guides_what_was_extracted_and_not_what_was_given(build):
    workflow = build(level="standard")
    steps = workflow.get_node("save_mask1").inputs.metadata["Steps"]
    assert steps == ["prepare_magnitude", "mask1", "guide_mask1"]
    reads = {e[0].name for e in workflow._graph.in_edges(workflow.get_node("map_r2star"))}
    assert "guide_mask1" in reads
    assert "mask1" not in reads
    # one fit serves both
    assert {"fit_r2star"} <= reads
    guided = {e[0].name for e in workflow._graph.in_edges(workflow.get_node("guide_mask1"))}
    assert guided == {"prepare_magnitude", "fit_r2star", "mask1"}
    assert "guide_mask1" not in _steps(build(mask=_HERE))
    assert "guide_mask1" not in _steps(build(overrides={"masks": {"guide": "none"}}))


def test_intervals_of_regions_have_the_simulated_errors_and_what_they_count(build):
    overrides = {"dipole_inversion": {"method": "huber", "uncertainty": True}}
    for asked in (True, False):
        overrides["dipole_inversion"]["uncertainty"] = asked
        workflow = build(overrides=overrides)
        inversion, rois = (workflow.get_node(n) for n in ("invert_dipole_field", "measure_rois"))
        edge = workflow._graph.get_edge_data(inversion, rois, default={"connect": []})
        given = {("errors", "errors"), ("error_factor", "error_factor")}
        assert (set(edge["connect"]) >= given) is asked


def test_the_nonlinear_fit_replaces_offset_and_unwrapping(build):
    overrides = {"total_field": {"echo_phase_combination": "nonlinear-fit"}}
    workflow = build(overrides=overrides)
    assert not {"remove_phase_offset", "unwrap_phase"} & _steps(workflow)
    assert "save_quality" in workflow.list_node_names()
    # two echoes determine no fit
    assert "unwrap_phase" in _steps(build(2, overrides=overrides))


def test_a_given_mask_replaces_brain_extraction(build):
    workflow = build(mask=Path(__file__))
    assert type(workflow.get_node("mask1").interface).__name__ == "ConformMask"


@pytest.mark.parametrize(
    ("n_echoes", "absent"),
    [
        (
            1,
            {
                "remove_phase_offset",
                "fit_r2star",
                "map_r2star",
                "correct_readout",
                "check_sign",
                "find_csf",
                "reference_chi_csf",
            },
        ),
        (2, {"correct_readout", "find_csf", "reference_chi_csf"}),
        (3, set()),
    ],
)
def test_what_few_echoes_allow(build, n_echoes, absent):
    workflow = build(n_echoes)
    assert set(STEP_TITLES) - ON_REQUEST - {"bet"} - _steps(workflow) == absent
    weigh = workflow.get_node("weight_data")
    sources = {e[0].name for e in workflow._graph.in_edges(weigh)}
    assert ("map_r2star" in sources) == (n_echoes > 2)


def test_threads_are_asked_for_and_do_not_enter_the_hash(build):
    one, many = build(threads=1), build(threads=4)
    assert many.get_node("invert_dipole_field").n_procs == 4
    for step in ("prepare_phase", "invert_dipole_field"):
        hashes = [
            w.get_node(step).inputs.get_hashval(hash_method="timestamp")[1] for w in (one, many)
        ]
        assert hashes[0] == hashes[1]


def test_a_setting_reaches_its_step(build):
    penalty = {"fansi": {"gradient_l1_penalty": 2e-3}}
    workflow = build(overrides={"dipole_inversion": penalty, "masks": {"closing_mm": 4.0}})
    inversion = workflow.get_node("invert_dipole_field").inputs
    assert (inversion.method, inversion.settings["gradient_l1_penalty"]) == ("fansi", 2e-3)
    assert workflow.get_node("mask3").inputs.closing_mm == 4.0


def test_two_passes_are_two_inversions_and_a_merge(build):
    workflow = build(overrides={"dipole_inversion": {"holes": "two-pass"}}, level="full")
    assert {"set_aside_strong_sources", "invert_tissue_field", "merge_two_pass"} <= _steps(
        workflow
    )
    assert workflow.get_node("invert_dipole_field").inputs.holes == "fill"
    assert workflow.get_node("invert_tissue_field").inputs.holes == "weight"
    names = workflow.list_node_names()
    assert {"save_merge", "save_chi_filled", "save_chi_tissue"} <= set(names)


def test_only_an_inversion_that_takes_edges_of_images_waits_for_r2star(build):
    def sources(*args, node="invert_dipole_field", **inversion):
        chosen = {"dipole_inversion": {"method": "huber", **inversion.pop("chosen", {})}}
        workflow = build(*args, overrides={**chosen, **inversion.pop("others", {})}, **inversion)
        step = workflow.get_node(node)
        return {e[0].name for e in workflow._graph.in_edges(step)}

    assert "map_r2star" in sources()
    assert "map_r2star" not in sources(1)
    assert "map_r2star" not in sources(chosen={"huber": {"edges": "map"}})
    assert "map_r2star" not in sources(chosen={"method": "fansi"})
    assert "map_r2star" in sources(node="invert_tissue_field", chosen={"holes": "two-pass"})
    rotated = {"others": {"background_field": {"oblique": "rotate"}}, "tilt": 20}
    assert "map_r2star" in sources(node="straighten_slab", **rotated)
    assert "map_r2star" not in sources(**rotated)
    assert "straighten_slab" in sources(**rotated)


@pytest.mark.parametrize(
    ("others", "plan", "known"),
    [
        ({}, {}, True),
        ({"dipole_inversion": {"method": "fansi"}}, {}, False),  # V-SHARP has put back itself
        ({"dipole_inversion": {"method": "huber", "holes": "two-pass"}}, {}, False),
        ({"background_field": {"residual_removal": "on"}}, {}, False),
        ({"background_field": {"erode_after": 1}}, {}, False),
        ({"background_field": {"remove_residual_b1_field": True}}, {}, False),
        ({}, {"start": StartImage("local", (Path(__file__),), 1.0, "Hz")}, False),
    ],
)
def test_an_inversion_knows_the_removal_that_left_its_field(build, others, plan, known):
    settings = {"dipole_inversion": {"method": "huber"}, **others}
    removal = build(overrides=settings, **plan).get_node("invert_dipole_field").inputs.removal
    assert bool(removal) is known
    if known:
        assert removal["method"] == "vsharp"
        assert removal["settings"]["maximum_radius"] == 12


_HERE = Path(__file__)
_TOTAL = StartImage("total", (_HERE,), 1.0, "Hz")


@pytest.mark.parametrize(
    ("start", "new", "gone"),
    [
        (
            StartImage("unwrapped", (_HERE,) * 5, 1.0, "rad"),
            {"given_phase", "rate_phase"},
            {"remove_phase_offset", "unwrap_phase"},
        ),
        (
            _TOTAL,
            {"given_field", "rate_phase"},
            {"remove_phase_offset", "unwrap_phase", "combine_echoes", "find_unsure_rim"},
        ),
        (
            StartImage("local", (_HERE,), 1.0, "Hz", total=_TOTAL),
            {"given_local_field", "given_field", "rate_phase"},
            {"remove_phase_offset", "unwrap_phase", "combine_echoes", "mask3"}
            | {"find_unsure_rim", "remove_background_field", "measure_images", "measure_quality"},
        ),
        (
            StartImage("local", (_HERE,), 1.0, "Hz"),
            {"given_local_field", "rate_phase"},
            {"remove_phase_offset", "unwrap_phase", "combine_echoes", "mask3"}
            | {"find_unsure_rim", "remove_background_field", "correct_readout"}
            | {"measure_images", "measure_quality"},
        ),
    ],
    ids=["unwrapped", "total", "local with total", "local"],
)
def test_a_given_image_takes_the_place_of_the_steps_before_it(build, start, new, gone):
    plain, workflow = _steps(build()), build(start=start, level="full")
    assert _steps(workflow) == (plain | new) - gone
    weigh = workflow.get_node("weight_data")
    sources = {e[0].name for e in workflow._graph.in_edges(weigh)}
    assert ("map_r2star" in sources) == (start.kind != "local" or start.total is not None)
    names = set(workflow.list_node_names())
    assert "save_local_field" in names
    assert ("save_total_field" in names) == ("map_r2star" in sources)


def test_susceptibility_weighted_images_are_made_on_request(build):
    wanted = {"weight_by_phase", "weight_by_chi"}
    overrides = {"swi": {"enabled": True, "projection_mm": 14.0}}
    workflow = build(overrides=overrides)
    assert wanted <= _steps(workflow)
    assert workflow.get_node("weight_by_chi").inputs.projection_mm == 14.0
    assert workflow.get_node("weight_by_phase").inputs.slice_axis == 2
    names = set(workflow.list_node_names())
    assert {"save_swi", "save_swi_mip", "save_smwi", "save_smwi_mip"} <= names
    # a local field alone has no phase to weight by
    local = build(overrides=overrides, start=StartImage("local", (_HERE,), 1.0, "Hz"))
    assert wanted & _steps(local) == {"weight_by_chi"}
    plain = build(overrides={**overrides, "reference": {"region": "none"}})
    chi = plain.get_node("weight_by_chi")
    assert {e[0].name for e in plain._graph.in_edges(chi)} >= {"invert_dipole_field"}


def test_without_a_reference_the_plain_map_is_the_main_one(build):
    workflow = build(overrides={"reference": {"region": "none"}}, level="minimal")
    names = workflow.list_node_names()
    assert "save_chi_unreferenced" in names
    assert "save_chi" not in names
    assert "reference_chi" not in names


def _segmentation(label, space="MEGRE"):
    return Segmentation(label, Path(__file__), (Region(1, "one", "L"),), space)


def test_every_segmentation_is_measured_under_every_reference(build):
    two = (_segmentation("a"), _segmentation("b"))
    workflow = build(segmentations=two, level="minimal")
    assert {"bring_segmentation", "measure_rois"} <= _steps(workflow)
    assert "register_t1w" not in _steps(workflow)
    nodes = set(workflow.list_node_names())
    names = {o.path.name for o in written(workflow).values() if "_seg-" in o.path.name}
    assert names == {
        f"sub-demo_seg-{s}_desc-{r}_stats.tsv" for s in "ab" for r in ("wholebrain", "csf")
    }
    assert {"save_rois_wholebrain_1", "save_rois_csf_2"} <= nodes
    sources = workflow.get_node("save_rois_csf_2").inputs.metadata["Sources"]
    assert sources[-1] == "bids::sub-demo/anat/sub-demo_seg-b_dseg.nii.gz"
    standard = written(build(segmentations=two))
    assert {"segmentation_1", "segmentation_table_2"} <= set(standard)
    assert not workflow.get_node("measure_rois").inputs.trait_get()["only_named"][0]


def _written(workflow):
    return {o.path.name: o.optional for o in written(workflow).values()}


def test_the_template_is_measured_where_nothing_is_given_and_may_not_fit(build):
    workflow = build(level="minimal")
    files = {n: o for n, o in _written(workflow).items() if "_seg-template_" in n}
    assert {n.partition("_desc-")[2] for n in files} == {
        f"{r}_stats.tsv" for r in ("wholebrain", "csf", "whitematter", "internalcapsule")
    }
    assert all(files.values())
    given = build(segmentations=(_segmentation("a"),), level="standard")
    assert "place_regions" not in _steps(given)
    assert not any("_seg-template_" in name for name in _written(given))
    assert "place_regions" not in _steps(build(overrides={"regions": {"atlas": "none"}}))


def test_white_matter_is_a_reference_also_beside_given_regions(build):
    overrides = {"reference": {"region": "white-matter"}, "regions": {"atlas": "none"}}
    workflow = build(segmentations=(_segmentation("a"),), level="minimal", overrides=overrides)
    assert "place_regions" in _steps(workflow)
    names = _written(workflow)
    assert any("_desc-whitematter_Chimap" in name for name in names)
    assert not any("_desc-internalcapsule_Chimap" in name for name in names)
    assert workflow.get_node("describe_references").inputs.chosen == "white-matter"


def test_the_guide_of_mask_1_is_where_the_regions_begin(build):
    workflow = build(overrides={"masks": {"guide": "template"}})

    def fit_of(node):
        edges = workflow._graph.in_edges(workflow.get_node(node), data=True)
        return {e[0].name for e in edges if "fit" in dict(e[2]["connect"]).values()}

    assert fit_of("fit_template") == {"guide_mask1"}
    assert fit_of("place_regions") == {"fit_template"}
    # beside the inversion, not after it
    before = nx.ancestors(workflow._graph, workflow.get_node("fit_template"))
    assert "remove_background_field" in {n.name for n in before}
    assert "invert_dipole_field" not in {n.name for n in before}


def test_a_rotated_slab_has_no_quick_map_on_its_own_grid(build):
    workflow = build(tilt=20.0, overrides={"background_field": {"oblique": "rotate"}})
    assert {"straighten_slab", "place_regions"} <= _steps(workflow)
    assert "fit_template" not in _steps(workflow)
    none = build(overrides={"regions": {"atlas": "none"}})
    assert "fit_template" not in _steps(none)


def test_lesions_are_measured_under_every_reference(build):
    workflow = build(lesions=_segmentation("lesions"))
    assert {"bring_lesions", "measure_lesions"} <= _steps(workflow)
    assert workflow.get_node("bring_lesions").inputs.may_be_empty
    reads = {e[0].name for e in workflow._graph.in_edges(workflow.get_node("measure_lesions"))}
    assert {"reference_chi", "reference_chi_csf", "reference_chi_white_matter"} <= reads
    names = [n for n in _written(workflow) if "lesions" in n]
    assert sorted(n[n.index("seg-" if "_seg-" in n else "desc-") :] for n in names) == [
        "desc-lesions_stats.tsv", "seg-lesions_dseg.nii.gz", "seg-lesions_dseg.tsv",
    ]  # fmt: skip


def test_without_a_reference_the_plain_map_is_measured(build):
    off = {"reference": {"region": "none"}}
    build(segmentations=(_segmentation("a"),), overrides=off)
    nodes = set(build(segmentations=(_segmentation("a"),), overrides=off).list_node_names())
    assert "save_rois_unreferenced_1" in nodes
    assert not any(n.startswith("save_rois_wholebrain") for n in nodes)


def test_a_t1w_image_is_registered_unless_the_transform_is_known(build):
    of_t1w = (_segmentation("a", "T1w"),)
    workflow = build(segmentations=of_t1w, t1w=Path(__file__))
    assert "register_t1w" in _steps(workflow)
    assert "save_t1w_transform" in workflow.list_node_names()
    workflow = build(segmentations=of_t1w, t1w_transform="identity")
    assert "register_t1w" not in _steps(workflow)
    assert workflow.get_node("bring_segmentation").inputs.identity


def test_levels_are_nested_and_names_unique(build):
    levels = []
    for level in ("minimal", "standard", "full", "debug"):
        outputs = written(build(level=level))
        assert len({o.path for o in outputs.values()}) == len(outputs)
        levels.append(set(outputs))
    assert levels[0] < levels[1] < levels[2] < levels[3]


def test_a_sidecar_has_the_steps_behind_its_map_and_the_checks_of_what_they_used(build):
    workflow = build(level="full")

    def steps(name):
        return workflow.get_node(f"save_{name}").inputs.metadata["Steps"]

    assert steps("mask1") == ["prepare_magnitude", "mask1", "guide_mask1"]
    # the phase has no part in R2*, and its checks have none either
    assert steps("r2star") == ["prepare_magnitude", "mask1", "guide_mask1", "map_r2star"]
    assert "check_phase" in steps("total_field")
    assert "check_sign" not in steps("local_field")
    chi = steps("chi")
    assert {"check_phase", "map_r2star", "check_sign", "reference_chi"} <= set(chi)
    assert not {"find_csf", "measure_quality"} & set(chi)
    # the local field of a rotated slab comes back with the map, and is not made of it
    rotated = build(level="full", overrides={"background_field": {"oblique": "rotate"}}, tilt=20)
    local = rotated.get_node("save_local_field").inputs.metadata["Steps"]
    assert {"straighten_slab", "restore_slab", "remove_background_field"} <= set(local)
    assert "invert_dipole_field" not in local
    for name in ("chi", "total_field"):
        save = workflow.get_node(f"save_{name}")
        behind = {e[0].name for e in workflow._graph.in_edges(save)}
        assert behind >= set(steps(name))


def test_a_quantity_that_nothing_provides_is_an_error(build):
    build()
    context = RunContext(build.plan, build.settings, [0.0, 0.0, 1.0], 1)
    for graph in (Outline(context), RunGraph(context, workflow=pe.Workflow("w"))):
        with pytest.raises(KeyError, match="unwrapped_phase"):
            graph.add(field.COMBINE_ECHOES)


def test_an_outline_has_the_outputs_of_its_own_steps_and_of_no_others(build):
    build()
    outline = Outline(RunContext(build.plan, build.settings, [0.0, 0.0, 1.0], 1))
    assert "prepare_magnitude.magnitude" not in outline
    outline.add(field.PREPARE_MAGNITUDE)
    assert outline.source("prepare_magnitude.broken") == ("prepare_magnitude", "broken")
    other = outline.branch([1.0, 0.0, 0.0], 2.0)
    other.add(field.FIT_R2STAR)
    assert "fit_r2star.s0" in other
    # it lies on another array
    assert "fit_r2star.s0" not in outline
    assert other.names == outline.names == ["prepare_magnitude", "fit_r2star"]


def _declared():
    everything = [thing for part in (field, chi, values) for thing in vars(part).values()]
    return [thing for thing in everything if isinstance(thing, Step)]


def test_every_interface_that_a_step_names_is_one_of_the_layer_below():
    steps = _declared()
    assert {step.name for step in steps} == set(STEP_TITLES)
    for step in steps:
        made = step.resolved()
        assert issubclass(made, BaseInterface)
        module = step.interface.partition(":")[0]
        assert module.startswith("qsmbids.interfaces.") or step is field.BET
        assert module == made.__module__ or step is field.BET
        assert (module in INTERFACES) == (step is not field.BET)
        # what it names are inputs and outputs of the interface
        arguments = (len(step.records),) if step.records else ()
        interface = made(*arguments)
        assert set(step.needs) <= set(interface.inputs.copyable_trait_names())
        outputs = interface.output_spec().copyable_trait_names()
        assert set(step.provides.values()) <= set(outputs)
        assert set(step.made_of) <= set(outputs)


def test_every_source_of_an_output_is_an_output():
    names = {o.name for o in OUTPUTS} | {"raw"}
    assert all(set(o.sources) <= names for o in OUTPUTS)


def test_every_desc_label_is_explained():
    used = {o.entities["desc"] for o in OUTPUTS if "desc" in o.entities}
    assert used <= set(DESCRIPTIONS)


def test_runs_do_not_depend_on_each_other(build, small_dataset, tmp_path):
    build()
    workflow = init_qsmbids_wf(
        [build.plan], build.settings, build.execution, small_dataset, tmp_path / "out", tmp_path
    )
    assert workflow.config["execution"]["stop_on_first_crash"] == "false"
    assert len(workflow._graph.edges) == 0


def test_memory_grows_with_the_data():
    assert run_memory_gb(10**7, 5) > run_memory_gb(10**6, 5)


def test_what_one_echo_or_a_2d_scan_leaves_in_the_field_is_taken_off(build):
    assert "flatten_offset" in _steps(build(1))
    assert "flatten_offset" not in _steps(build(2))
    plain = {"total_field": {"single_echo_offset": "none"}}
    assert "flatten_offset" not in _steps(build(1, overrides=plain))

    slices = build(1, slice_axis=2)
    assert {"align_slices", "flatten_offset"} <= _steps(slices)
    assert slices.get_node("align_slices").inputs.single_echo
    assert not build(3, slice_axis=2).get_node("align_slices").inputs.single_echo
    for workflow, expected in ((slices, True), (build(3, slice_axis=2), False), (build(1), False)):
        removal = workflow.get_node("remove_background_field").inputs
        assert (removal.residual_removal, removal.slices_of_one_echo) == ("auto", expected)


def test_the_turn_by_which_phase_is_steep_is_that_of_the_phase_unwrapped_in_space(build):
    def turn(n_echoes, **kwargs):
        workflow = build(n_echoes, **kwargs)
        node = workflow.get_node("find_unsure_rim")
        return node.inputs.turn_hz, build.plan.acquisition.echo_times

    turn_hz, times = turn(5)
    assert turn_hz == pytest.approx(1 / times[0])
    turn_hz, times = turn(1)
    assert turn_hz == pytest.approx(1 / times[0])
    fit = {"total_field": {"echo_phase_combination": "nonlinear-fit"}}
    turn_hz, times = turn(5, overrides=fit)
    assert turn_hz == pytest.approx(1 / (times[1] - times[0]))


@pytest.mark.parametrize("oblique", ["tilt-kernel", "rotate"])
def test_steep_phase_is_looked_for_unless_told_otherwise(build, oblique):
    slab = {"oblique": oblique}
    workflow = build(overrides={"background_field": slab}, tilt=20)
    removal = workflow.get_node("remove_background_field")
    sources = {e[0].name for e in workflow._graph.in_edges(removal)}
    expected = "straighten_slab" if oblique == "rotate" else "find_unsure_rim"
    assert expected in sources
    assert "find_unsure_rim" in _steps(workflow)
    kept = build(overrides={"background_field": {**slab, "unsure_rim": "kept"}}, tilt=20)
    assert "find_unsure_rim" not in _steps(kept)
