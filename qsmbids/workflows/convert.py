"""The graph that comes before all others: DICOM below ``sourcedata`` to raw BIDS."""

import re
from collections.abc import Mapping
from pathlib import Path

import nipype.pipeline.engine as pe

from qsmbids.execution import Execution
from qsmbids.interfaces.convert import ConvertDicom
from qsmbids.io.sourcedata import Source
from qsmbids.workflows.base import new_workflow

__all__ = ["CONVERSION_TITLES", "conversion_name", "init_convert_wf"]

#: Node name to what a person reads.
CONVERSION_TITLES = {"convert_dicom": "DICOM to raw BIDS"}

#: dcm2niix holds a series twice, the naming reads its phase once [GB].
_MEMORY_GB = 2.0


def init_convert_wf(
    targets: Mapping[Source, Path], execution: Execution, crash_dir: Path
) -> pe.Workflow:
    """Build the graph that converts DICOM.

    It is run on its own, because which runs there are is known only after it.

    Parameters
    ----------
    targets : mapping of Source to Path
        What is converted, and the dataset that it goes into.
    execution : Execution
        Work directory and resources.
    crash_dir : Path
        Where Nipype leaves the report of a failed step.

    Returns
    -------
    Workflow
        One independent branch per source, so that one that fails stops no other.
    """
    workflow = new_workflow("qsmbids_convert", execution, crash_dir)
    for source, target in targets.items():
        interface = ConvertDicom(
            source=str(source.paths[0]), participant=source.participant, bids_dir=str(target)
        )
        if source.session:
            interface.inputs.session = source.session
        # whether there is anything to do was decided by looking at the dataset: never from a cache
        node = pe.Node(interface, name="convert_dicom", mem_gb=_MEMORY_GB, overwrite=True)
        branch = pe.Workflow(name=conversion_name(source))
        branch.add_nodes([node])
        workflow.add_nodes([branch])
    return workflow


def conversion_name(source: Source) -> str:
    """Return the name of the branch of a source."""
    return re.sub(r"[^0-9a-zA-Z]", "_", source.label) + "_convert_wf"
