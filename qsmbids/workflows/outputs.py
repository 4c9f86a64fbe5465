"""Write the outputs of a run as soon as their steps are done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nipype.pipeline.engine as pe

from qsmbids import __version__
from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.execution import OUTPUT_LEVELS
from qsmbids.interfaces.derivatives import SaveDerivative
from qsmbids.io.derivatives import bids_uri, derivative_path, sidecar
from qsmbids.io.runs import Run
from qsmbids.io.segmentation_labels import TEMPLATE
from qsmbids.io.sourcedata import CONVERTED
from qsmbids.workflows.cost import CostedNode
from qsmbids.workflows.nodes import RunGraph
from qsmbids.workflows.output_table import OUTPUTS, Output
from qsmbids.workflows.plan import RunPlan

__all__ = ["Written", "add_outputs", "raw_uri", "written"]

_NOT_STRIPPED = ("mask", "probseg", "dseg", "xfm")


@dataclass(frozen=True)
class Written:
    """A file that a run may leave behind; an ``optional`` one may turn out not to exist."""

    path: Path
    optional: bool = False


def written(workflow: pe.Workflow) -> dict[str, Written]:
    """Return the files that the graph of a run writes, by the name of their step."""
    nodes = map(workflow.get_node, workflow.list_node_names())
    return {
        node.name.removeprefix("save_"): Written(Path(node.inputs.out_file), node.inputs.optional)
        for node in nodes
        if isinstance(node.interface, SaveDerivative)
    }


def _selected(level: str, graph: RunGraph) -> list[Output]:
    """Return the outputs of a level whose quantity is in the graph."""
    allowed = OUTPUT_LEVELS[: OUTPUT_LEVELS.index(level) + 1]
    # a map without any reference is the main one where none was asked for
    main = {"chi" if "chi_wholebrain" in graph else "chi_unreferenced"}
    chosen = graph.context.settings.reference.region
    main |= {f"chi_{desc}" for desc, kind in REFERENCES.items() if kind.setting == chosen}
    return [o for o in OUTPUTS if (o.level in allowed or o.name in main) and o.quantity in graph]


def _parts(output: Output, run: Run, segmentations: Sequence[str]) -> Sequence[Any]:
    """Return what an output has a file for: echoes, segmentations, or one thing without a name."""
    if output.per_echo:
        return run.echoes
    return segmentations if output.per_segmentation else (None,)


def _path(out_dir: Path, run: Run, output: Output, part: Any = None) -> Path:
    """Return the file of an output; a single echo keeps the raw suffix and has no number."""
    entities, suffix = dict(output.entities), output.suffix
    if output.per_segmentation:
        entities["segmentation"] = part
    if output.per_echo:
        suffix = run.suffix
        if run.suffix == "MEGRE":
            entities["echo"] = str(part)
    return derivative_path(
        out_dir,
        run.entities,
        datatype=output.datatype,
        suffix=suffix,
        extension=output.extension,
        **entities,
    )


def add_outputs(graph: RunGraph, out_dir: Path, bids_dir: Path, level: str) -> None:
    """Connect a node that writes each output of ``level`` to the step that has its quantity.

    Each is written as soon as its step is done, so that a later failure loses nothing.
    """
    plan = graph.context.plan
    run = plan.run
    uris = {
        "raw": [raw_uri(path, bids_dir, out_dir) for path in run.images],
        **{
            o.name: [bids_uri(_path(out_dir, run, o), out_dir)]
            for o in OUTPUTS
            if not (o.per_echo or o.per_segmentation) and o.quantity in graph
        },
    }
    labels = [s.label for s in plan.segmentations] or [TEMPLATE]
    segmented = next(o for o in OUTPUTS if o.name == "segmentation")
    for output in _selected(level, graph):
        output = replace(output, description=_description(output, graph))
        for index, part in enumerate(_parts(output, run, labels)):
            suffix = ""
            if output.per_segmentation:
                suffix = f"_{index + 1}"
                uris["segmentation"] = [bids_uri(_path(out_dir, run, segmented, part), out_dir)]
            metadata = _static_metadata(output, plan, uris)
            if output.per_echo:
                metadata["EchoTime"] = plan.acquisition.echo_times[index]
                suffix = f"_echo{part}"
            out_file = _path(out_dir, run, output, part)
            item = None if part is None else index
            _add_save(graph, output, f"save_{output.name}{suffix}", out_file, metadata, item)


def _add_save(
    graph: RunGraph,
    output: Output,
    name: str,
    out_file: Path,
    metadata: dict[str, Any],
    item: int | None,
) -> None:
    """Add the node that writes one file, with the records of the steps behind it."""
    steps = graph.behind(output.quantity)
    plan = graph.context.plan
    save = CostedNode(
        SaveDerivative(
            len(steps),
            out_file=str(out_file),
            like=str(plan.run.images[0]),
            metadata={**metadata, "Steps": steps},
            boolean=output.boolean,
            labels=output.labels,
            sidecar=output.own_sidecar,
            optional=output.optional or _from_template(output, plan),
            estimated=output.suffix.endswith("map"),
        ),
        name=name,
        mem_gb=0.3 + 3e-8 * plan.acquisition.n_voxels,
        overwrite=None if out_file.exists() else True,  # deleted since: write it again
    )
    step, field = graph.source(output.quantity)
    source = graph.workflow.get_node(step)
    taken = field if item is None else (field, _item, item)
    graph.workflow.connect([(source, save, [(taken, "in_file")])])
    for number, behind in enumerate(steps, 1):
        node = graph.workflow.get_node(behind)
        graph.workflow.connect(node, "record", save, f"record{number}")


def _from_template(output: Output, plan: RunPlan) -> bool:
    """Return whether an output is there only if the template fits."""
    return output.per_segmentation and not plan.segmentations


def _description(output: Output, graph: RunGraph) -> str:
    """Return what an output is in this graph, where it is not what it usually is."""
    nodes = graph.workflow.list_node_names()
    measure = graph.context.settings.masks.reliable_phase
    if output.name == "unwrapped" and "given_phase" in nodes:
        return "Unwrapped phase that was given, inside Mask 1"
    if output.name == "unwrapped" and "remove_phase_offset" not in nodes:
        return "Unwrapped phase with the phase at TE = 0, inside Mask 1"
    if output.name == "quality" and measure != "romeo-quality":
        return "ROMEO phase quality of every voxel, 0 (noise) to 1"
    if output.name in ("mask2", "mask3") and measure == "none":
        return {
            "mask2": "Mask 2: every voxel, as no phase was tested",
            "mask3": "Mask 3: Mask 1, holes filled; input of background removal",
        }[output.name]
    if output.name == "mask1" and graph.context.plan.mask is not None:
        return "Mask 1: whole brain, given"
    if output.name == "mask4" and "given_local_field" in nodes:
        return (
            "Mask 4: where the given local field is known and the phase is reliable; data of the"
            " inversion and region of the whole-brain reference"
        )
    return output.description


def _static_metadata(output: Output, plan: RunPlan, uris: dict[str, list[str]]) -> dict[str, Any]:
    """Return the part of a sidecar that is known before the run."""
    acquisition, run = plan.acquisition, plan.run
    sources = [uri for name in output.sources for uri in uris.get(name, [])]
    if not sources or plan.gives(output.entities.get("desc", "")):
        sources = uris["raw"]  # a given image has no source among the outputs
    extra: dict[str, Any] = {
        "QsmbidsVersion": __version__,
        "MagneticFieldStrength": acquisition.b0_tesla,
        "ImagingFrequency": acquisition.centre_frequency_hz / 1e6,
        "EchoTime": list(acquisition.echo_times),
        "B0Direction": list(acquisition.b0_direction),
        "TiltDegrees": acquisition.tilt_degrees,
        "FieldSignConvention": "phase grows as +2 pi f TE; paramagnetic is positive",
        "AcquisitionDecisions": list(acquisition.decisions),
        "AcquisitionWarnings": [*acquisition.warnings, *plan.warnings],
    }
    if output.consensus:
        extra["ConsensusRecommendation"] = output.consensus
    if output.datatype == "fmap" and "reconstruction" in run.entities:
        extra["RawEntities"] = {k: str(v) for k, v in run.entities.items()}
    return sidecar(
        output.suffix,
        output.description,
        sources=sources,
        skull_stripped=None if output.suffix in _NOT_STRIPPED else output.skull_stripped,
        mask_type=output.mask_type,
        units=output.units or None,
        algorithm=(output.algorithm or None) if plan.start is None else None,
        reference=(output.reference or None) if plan.start is None else None,
        entities=output.entities,
        **extra,
    )


def raw_uri(path: Path, bids_dir: Path, out_dir: Path) -> str:
    """Return the BIDS URI of an input, which may have been converted into the output dataset."""
    converted = out_dir / CONVERTED
    if path.is_relative_to(converted):
        return bids_uri(path, converted, "converted")
    return bids_uri(path, bids_dir, "raw")


def _item(files: object, index: int) -> object:
    """Take the file of one part, or nothing (a connection function: its source is run alone)."""
    return files[index] if isinstance(files, list) else files
