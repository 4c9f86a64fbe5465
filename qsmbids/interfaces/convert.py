"""To raw BIDS, so that a graph can begin with DICOM or with 4-D files."""

from collections.abc import Sequence
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
from qsmbids.io.coils import Coils, combine_to_raw
from qsmbids.io.dicom import convert_dicom
from qsmbids.io.epi_series import EpiSeries, average_to_raw
from qsmbids.io.raw_dataset import ALREADY_THERE, place
from qsmbids.io.stacks import Stack, split_stack


class _ConvertDicomInputs(BaseInterfaceInputSpec):
    source = traits.Either(
        traits.Directory(exists=True), File(exists=True), mandatory=True, desc="folder or archive"
    )
    participant = traits.Str(mandatory=True, desc="label without sub-")
    session = traits.Str(desc="label without ses-")
    acquisition = traits.Str(desc="acq- label of all runs; made of the descriptions if absent")
    bids_dir = traits.Str(desc="dataset to add to; default bids/ in the folder of the node")
    scanner_key = traits.Bool(True, usedefault=True, desc="keep an anonymous key of the scanner")
    accept_filtered = traits.Bool(False, usedefault=True, desc="filtered phase if no other")


class _ConvertDicomOutputs(RecordSpec):
    bids_dir = traits.Directory(exists=True, desc="raw BIDS dataset")
    images = traits.List(File(exists=True), desc="what was written")


class _AddRun(Step):
    """One run of a raw dataset, made of other images."""

    output_spec = _ConvertDicomOutputs

    def _added(self, images: Sequence[Path], *notes: str) -> None:
        self._results["bids_dir"] = self.inputs.bids_dir
        self._results["images"] = [str(path) for path in images]
        self._results["record"] = record(*notes)


class _SplitEchoesInputs(BaseInterfaceInputSpec):
    entities = traits.Dict(mandatory=True, desc="of the run, under pybids' names")
    parts = traits.List(traits.Str, mandatory=True, desc="magnitude and phase, or real and imag")
    images = traits.List(File(exists=True), mandatory=True, desc="4-D, one per part")
    sidecars = traits.List(traits.Dict, mandatory=True, desc="one per part")
    echo_times = traits.List(traits.Float, desc="instead of the sidecars' [s]")
    bids_dir = traits.Str(mandatory=True, desc="raw dataset to write")


class _AverageSeriesInputs(BaseInterfaceInputSpec):
    entities = traits.Dict(mandatory=True, desc="of the run that is made")
    magnitude = traits.List(File(exists=True), mandatory=True, desc="one series per echo")
    phase = traits.List(File(exists=True), mandatory=True, desc="one series per echo")
    sidecars = traits.List(traits.Dict, mandatory=True, desc="of the phase")
    bids_dir = traits.Str(mandatory=True, desc="raw dataset to write")


class AverageSeries(_AddRun):
    """The complex mean of echo planar series: ``io.epi_series``."""

    input_spec = _AverageSeriesInputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        series = EpiSeries(
            dict(inputs.entities),
            tuple(Path(path) for path in inputs.magnitude),
            tuple(Path(path) for path in inputs.phase),
            tuple(dict(sidecar) for sidecar in inputs.sidecars),
        )
        images, notes = average_to_raw(series, inputs.bids_dir)
        self._added(images, *notes)
        return runtime


class _CombineCoilsInputs(BaseInterfaceInputSpec):
    entities = traits.Dict(mandatory=True, desc="of the run that is made")
    magnitude = traits.List(traits.List(File(exists=True)), mandatory=True, desc="echo, coil")
    phase = traits.List(traits.List(File(exists=True)), mandatory=True, desc="echo, coil")
    sidecars = traits.List(traits.Dict, mandatory=True, desc="one per echo")
    bids_dir = traits.Str(mandatory=True, desc="raw dataset to write")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class CombineCoils(_AddRun):
    """Single receive coils to one image (3.a, Supplementary III): ``io.coils``."""

    input_spec = _CombineCoilsInputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        coils = Coils(
            dict(inputs.entities),
            tuple(tuple(Path(path) for path in echo) for echo in inputs.magnitude),
            tuple(tuple(Path(path) for path in echo) for echo in inputs.phase),
            tuple(dict(sidecar) for sidecar in inputs.sidecars),
        )
        images, notes = combine_to_raw(coils, inputs.bids_dir, n_threads=inputs.n_threads)
        self._added(images, *notes)
        return runtime


class SplitEchoes(_AddRun):
    """One file per echo from 4-D files: ``io.stacks``."""

    input_spec = _SplitEchoesInputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        stack = Stack(
            dict(inputs.entities),
            tuple(inputs.parts),
            tuple(Path(path) for path in inputs.images),
            tuple(dict(sidecar) for sidecar in inputs.sidecars),
        )
        times = inputs.echo_times or None
        images = split_stack(stack, inputs.bids_dir, echo_times=times)
        n_echoes = len(images) // len(stack.parts)
        self._added(images, f"4-D files of {n_echoes} echoes were split into one file each")
        return runtime


class ConvertDicom(Step):
    """Convert DICOM with dcm2niix and name the images: ``io.dicom``."""

    input_spec = _ConvertDicomInputs
    output_spec = _ConvertDicomOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        keys = {
            key: value
            for key in ("participant", "session", "acquisition", "bids_dir")
            if isinstance(value := getattr(inputs, key), str) and value
        }
        labels: Any = {key: keys[key] for key in ("participant", "session") if key in keys}
        root = Path(keys["bids_dir"]) if "bids_dir" in keys else self._path(runtime, "bids")
        # the raw sidecars and what was unpacked tell who was scanned: nothing of it stays
        with TemporaryDirectory(dir=runtime.cwd) as work:
            converted = convert_dicom(
                inputs.source,
                work,
                acquisition=keys.get("acquisition"),
                accept_filtered=inputs.accept_filtered,
                **labels,
            )
            fates = [f"series {number}: {fate}" for number, _, _, fate in converted.rows()]
            if not converted.naming.runs:
                raise InputError(
                    "no series is a gradient echo scan with phase", inputs.source, "; ".join(fates)
                )
            images, kept = place(converted, root, with_scanner_key=inputs.scanner_key, **labels)
        others = [f"{label}: {why}" for label, why in kept.items() if why != ALREADY_THERE]
        if others and not images:
            raise InputError("no run was converted", inputs.source, "; ".join(others))
        self._results["bids_dir"] = str(root)
        self._results["images"] = [str(path) for path in images]
        notes = [*converted.warnings, *(f"{label}: {why}" for label, why in kept.items())]
        self._results["record"] = record(*fates, warnings=notes)
        return runtime
