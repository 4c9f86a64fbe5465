"""The graph that comes before all others: DICOM and 4-D files to raw BIDS."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import nipype.pipeline.engine as pe

from qsmbids.execution import Execution
from qsmbids.interfaces.convert import (
    AverageSeries,
    CombineCoils,
    ConvertDicom,
    SplitEchoes,
)
from qsmbids.io.coils import Coils
from qsmbids.io.epi_series import EpiSeries
from qsmbids.io.sourcedata import Source
from qsmbids.io.stacks import Stack
from qsmbids.workflows.base import new_workflow

__all__ = ["CONVERSION_TITLES", "conversion_name", "init_convert_wf"]

#: Node name to what a person reads.
CONVERSION_TITLES = {
    "convert_dicom": "DICOM to raw BIDS",
    "split_echoes": "4-D files to one per echo",
    "average_series": "mean of echo planar volumes",
    "combine_coils": "coils to one image (MCPC-3D-S)",
}

#: dcm2niix holds a series twice, the naming reads its phase once [GB].
_MEMORY_GB = 2.0


def init_convert_wf(
    targets: Mapping[str, tuple[Source | Stack | EpiSeries | Coils, Path]],
    execution: Execution,
    crash_dir: Path,
    *,
    echo_times: Sequence[float] | None = None,
    scanner_key: bool = True,
    accept_filtered: bool = False,
) -> pe.Workflow:
    """Build the graph that makes raw BIDS.

    It is run on its own, because which runs there are is known only after it.

    Parameters
    ----------
    targets : mapping
        By label: what is converted, and the dataset that it goes into.
    execution : Execution
        Work directory and resources.
    crash_dir : Path
        Where Nipype leaves the report of a failed step.
    echo_times : sequence of float, optional
        Of 4-D files, instead of their sidecars' [s].
    scanner_key : bool
        Keep an anonymous key of the scanner of DICOM images.
    accept_filtered : bool
        Convert phase that the scanner filtered where there is no other.

    Returns
    -------
    Workflow
        One independent branch per source, so that one that fails stops no other.
    """
    workflow = new_workflow("qsmbids_convert", execution, crash_dir)
    for label, (source, target) in targets.items():
        if isinstance(source, Stack):
            interface, name = _splitter(source, target, echo_times), "split_echoes"
        elif isinstance(source, EpiSeries):
            interface, name = _averager(source, target), "average_series"
        elif isinstance(source, Coils):
            interface, name = _combiner(source, target), "combine_coils"
        else:
            interface = _converter(source, target, scanner_key, accept_filtered)
            name = "convert_dicom"
        # whether there is anything to do was decided by looking at the dataset: never from a cache
        node = pe.Node(interface, name=name, mem_gb=_MEMORY_GB, overwrite=True)
        branch = pe.Workflow(name=conversion_name(label))
        branch.add_nodes([node])
        workflow.add_nodes([branch])
    return workflow


def conversion_name(label: str) -> str:
    """Return the name of the branch of a source."""
    return re.sub(r"[^0-9a-zA-Z]", "_", label) + "_convert_wf"


def _converter(
    source: Source, target: Path, scanner_key: bool, accept_filtered: bool
) -> ConvertDicom:
    interface = ConvertDicom(
        source=str(source.paths[0]),
        participant=source.participant,
        bids_dir=str(target),
        scanner_key=scanner_key,
        accept_filtered=accept_filtered,
    )
    if source.session:
        interface.inputs.session = source.session
    return interface


def _combiner(coils: Coils, target: Path) -> CombineCoils:
    return CombineCoils(
        entities=coils.entities,
        magnitude=[[str(path) for path in echo] for echo in coils.magnitude],
        phase=[[str(path) for path in echo] for echo in coils.phase],
        sidecars=list(coils.sidecars),
        bids_dir=str(target),
    )


def _averager(series: EpiSeries, target: Path) -> AverageSeries:
    return AverageSeries(
        entities=series.entities,
        magnitude=[str(path) for path in series.magnitude],
        phase=[str(path) for path in series.phase],
        sidecars=list(series.sidecars),
        bids_dir=str(target),
    )


def _splitter(stack: Stack, target: Path, echo_times: Sequence[float] | None) -> SplitEchoes:
    interface = SplitEchoes(
        entities=stack.entities,
        parts=list(stack.parts),
        images=[str(path) for path in stack.images],
        sidecars=list(stack.sidecars),
        bids_dir=str(target),
    )
    if echo_times:
        interface.inputs.echo_times = list(echo_times)
    return interface
