"""DICOM to raw BIDS, so that a graph can begin with what the scanner sent."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.raw_dataset import ALREADY_THERE, place


class _ConvertDicomInputs(BaseInterfaceInputSpec):
    source = traits.Either(
        traits.Directory(exists=True), File(exists=True), mandatory=True, desc="folder or archive"
    )
    participant = traits.Str(mandatory=True, desc="label without sub-")
    session = traits.Str(desc="label without ses-")
    acquisition = traits.Str(desc="acq- label of all runs; made of the descriptions if absent")
    bids_dir = traits.Str(desc="dataset to add to; default bids/ in the folder of the node")


class _ConvertDicomOutputs(RecordSpec):
    bids_dir = traits.Directory(exists=True, desc="raw BIDS dataset")
    images = traits.List(File(exists=True), desc="what was written")


class ConvertDicom(Step):
    """Convert DICOM with dcm2niix and name the images: ``io.dicom``."""

    input_spec = _ConvertDicomInputs
    output_spec = _ConvertDicomOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        given = {
            key: value
            for key in ("participant", "session", "acquisition", "bids_dir")
            if isinstance(value := getattr(inputs, key), str) and value
        }
        labels = {key: given[key] for key in ("participant", "session") if key in given}
        root = Path(given["bids_dir"]) if "bids_dir" in given else self._path(runtime, "bids")
        # the raw sidecars and what was unpacked tell who was scanned: nothing of it stays
        with TemporaryDirectory(dir=runtime.cwd) as work:
            converted = convert_dicom(
                inputs.source, work, acquisition=given.get("acquisition"), **labels
            )
            fates = [f"series {number}: {fate}" for number, _, _, fate in converted.rows()]
            if not converted.naming.runs:
                raise InputError(
                    "no series is a gradient echo scan with phase", inputs.source, "; ".join(fates)
                )
            images, kept = place(converted, root, **labels)
        others = [f"{label}: {why}" for label, why in kept.items() if why != ALREADY_THERE]
        if others and not images:
            raise InputError("no run was converted", inputs.source, "; ".join(others))
        self._results["bids_dir"] = str(root)
        self._results["images"] = [str(path) for path in images]
        notes = [*converted.warnings, *(f"{label}: {why}" for label, why in kept.items())]
        self._results["record"] = record(*fates, warnings=notes)
        return runtime
