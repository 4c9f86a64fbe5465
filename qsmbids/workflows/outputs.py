"""Write the outputs of a run as soon as their steps are done."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nipype.pipeline.engine as pe

from qsmbids import __version__
from qsmbids.execution import OUTPUT_LEVELS
from qsmbids.interfaces.derivatives import SaveDerivative
from qsmbids.io.derivatives import bids_uri, derivative_path, sidecar
from qsmbids.io.runs import Run
from qsmbids.io.sourcedata import CONVERTED
from qsmbids.workflows.output_table import OUTPUTS, Output
from qsmbids.workflows.plan import RunPlan

__all__ = ["add_outputs", "may_lack", "output_paths", "raw_uri"]

_OPTIONAL = frozenset(o.name for o in OUTPUTS if o.optional)

_NOT_STRIPPED = ("mask", "probseg", "dseg", "xfm")


def _selected(level: str, nodes: set[str]) -> list[Output]:
    """Return the outputs of a level whose node is in the graph."""
    allowed = OUTPUT_LEVELS[: OUTPUT_LEVELS.index(level) + 1]
    # a map without any reference is the main one where none was asked for
    main = "chi" if "reference_chi" in nodes else "chi_unreferenced"
    return [o for o in OUTPUTS if (o.level in allowed or o.name == main) and o.step(nodes)]


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


def output_paths(
    out_dir: Path, run: Run, level: str, nodes: set[str], segmentations: Sequence[str] = ()
) -> dict[str, Path]:
    """Return the files that a run may leave behind.

    The keys are output names, with the echo or the segmentation after a dash where there is one.
    """
    paths = {}
    for output in _selected(level, nodes):
        for part in _parts(output, run, segmentations):
            key = output.name if part is None else f"{output.name}-{part}"
            paths[key] = _path(out_dir, run, output, part)
    return paths


def may_lack(key: str) -> bool:
    """Return whether a run may turn out not to have an output of :func:`output_paths`."""
    return key.partition("-")[0] in _OPTIONAL


def add_outputs(
    workflow: pe.Workflow, plan: RunPlan, out_dir: Path, bids_dir: Path, level: str
) -> None:
    """Connect a node that writes each output of ``level`` to the step that makes it.

    Each is written as soon as its step is done, so that a later failure loses nothing.
    """
    run, acquisition = plan.run, plan.acquisition
    nodes = {name: workflow.get_node(name) for name in workflow.list_node_names()}
    uris = {
        "raw": [raw_uri(path, bids_dir, out_dir) for path in run.images],
        **{
            o.name: [bids_uri(_path(out_dir, run, o), out_dir)]
            for o in OUTPUTS
            if not (o.per_echo or o.per_segmentation) and o.step(nodes)
        },
    }
    labels = [s.label for s in plan.segmentations]
    segmented = next(o for o in OUTPUTS if o.name == "segmentation")
    for output in _selected(level, set(nodes)):
        behind = [s for s in output.steps if s in nodes]
        output = replace(output, description=_description(output, nodes))
        metadata = {**_static_metadata(output, plan, uris), "Steps": behind}
        steps = [nodes[s] for s in behind]
        for index, part in enumerate(_parts(output, run, labels)):
            out_file = _path(out_dir, run, output, part)
            suffix = ""
            if output.per_echo:
                metadata = {**metadata, "EchoTime": acquisition.echo_times[index]}
                suffix = f"_echo{part}"
            elif output.per_segmentation:
                suffix = f"_{index + 1}"
                uris["segmentation"] = [bids_uri(_path(out_dir, run, segmented, part), out_dir)]
                metadata = {**_static_metadata(output, plan, uris), "Steps": behind}
            save = pe.Node(
                SaveDerivative(
                    len(steps),
                    out_file=str(out_file),
                    like=str(run.images[0]),
                    metadata=metadata,
                    boolean=output.boolean,
                    labels=output.labels,
                    sidecar=output.own_sidecar,
                    optional=output.optional,
                ),
                name=f"save_{output.name}{suffix}",
                mem_gb=0.3 + 3e-8 * acquisition.n_voxels,
                overwrite=None if out_file.exists() else True,  # deleted since: write it again
            )
            source = nodes[output.step(nodes) or ""]
            if part is None:
                workflow.connect(source, output.field, save, "in_file")
            else:
                workflow.connect([(source, save, [((output.field, _item, index), "in_file")])])
            for number, step in enumerate(steps, 1):
                workflow.connect(step, "record", save, f"record{number}")


def _description(output: Output, nodes: dict[str, pe.Node]) -> str:
    """Return what an output is in this graph, where it is not what it usually is."""
    measure = nodes["mask2"].inputs.measure if "mask2" in nodes else "none"
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
    if output.name == "mask1" and "given" in str(getattr(nodes["mask1"].inputs, "origin", "")):
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
        algorithm=(output.algorithm or None) if plan.given is None else None,
        reference=(output.reference or None) if plan.given is None else None,
        entities=output.entities,
        **extra,
    )


def raw_uri(path: Path, bids_dir: Path, out_dir: Path) -> str:
    """Return the BIDS URI of an input, which may have been converted into the output dataset."""
    converted = out_dir / CONVERTED
    if path.is_relative_to(converted):
        return bids_uri(path, converted, "converted")
    return bids_uri(path, bids_dir, "raw")


def _item(files, index):  # type: ignore[no-untyped-def]
    """Take the file of one part, or nothing (a connection function: its source is run alone)."""
    return files[index] if isinstance(files, list) else files
