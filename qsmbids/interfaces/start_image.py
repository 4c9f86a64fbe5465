"""What a user supplies in place of a step: unwrapped phase, total field or local field."""

from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.core.masks.masking import mask_with_holes
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    EchoesInputSpec,
    EchoFilesIn,
    EchoFilesOut,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.interfaces.field import averaged_noise, phase_quality
from qsmbids.io.masks import read_mask
from qsmbids.io.nifti import read_echoes, read_volume
from qsmbids.io.start_image import read_start


class _RatePhaseInputs(EchoesInputSpec):
    weights = traits.Str("romeo3", usedefault=True, desc="ROMEO edge weights")
    weighting = traits.Str("phase_snr", usedefault=True, desc="of the echoes, for the noise")


class _RatePhaseOutputs(RecordSpec):
    quality = File(exists=True, desc="ROMEO voxel quality, 0..1, whole image")
    noise = File(exists=True, desc="standard deviation of the field [Hz]")


class RatePhase(Step):
    """Quality of the raw phase and noise of the field where no step here makes the field."""

    input_spec = _RatePhaseInputs
    output_spec = _RatePhaseOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase[:2])
        magnitude, _ = read_echoes(inputs.magnitude)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        quality = phase_quality(
            phase, magnitude, inputs.echo_times, inputs.weights, inputs.n_threads
        )
        noise, _, warning = averaged_noise(magnitude, mask, inputs.echo_times, inputs.weighting)
        self._write(runtime, affine, quality=quality, noise=noise)
        median = float(np.median(noise[mask]))
        self._results["record"] = record(
            f"noise of the raw images: field {median:.3f} Hz (median in Mask 1)",
            warnings=[warning],
            PhaseQuality={"Name": "ROMEO", "Weights": inputs.weights},
            FieldNoiseWeighting=inputs.weighting,
            FieldNoiseMedianHz=median,
        )
        return runtime


class _StartInputs(BaseInterfaceInputSpec):
    scale = traits.Float(1.0, usedefault=True, desc="from the file's numbers to rad or Hz")
    units = traits.Str("", usedefault=True, desc="of the numbers in the file, for the record")
    notes = traits.List(traits.Str, usedefault=True, desc="for the record")
    like = File(exists=True, mandatory=True, desc="image whose grid it must have")


class _TakePhaseInputs(_StartInputs):
    start = EchoFilesIn("unwrapped phase, one per echo", mandatory=True)
    mask = File(exists=True, mandatory=True, desc="Mask 1")


class _TakePhaseOutputs(RecordSpec):
    phase = EchoFilesOut("unwrapped [rad], 0 outside the mask")


class TakePhase(Step):
    """Take unwrapped phase from the user."""

    input_spec = _TakePhaseInputs
    output_spec = _TakePhaseOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        mask = read_volume(inputs.mask, np.uint8)
        phase = np.stack(
            [
                read_start(p, inputs.scale, inputs.like, "unwrapped phase").array
                for p in inputs.start
            ]
        )
        phase[:, mask.array == 0] = 0.0
        if not phase.any():
            raise InputError("the unwrapped phase is zero in all of Mask 1", inputs.start[0])
        self._write(runtime, mask.affine, phase=phase)
        self._results["record"] = _record(inputs, "unwrapped phase", Unwrapping={"Name": "given"})
        return runtime


class _TakeFieldInputs(_StartInputs):
    start = File(exists=True, mandatory=True, desc="total field")
    mask = File(exists=True, mandatory=True, desc="Mask 1")


class _TakeFieldOutputs(RecordSpec):
    field = File(exists=True, desc="total field [Hz], 0 outside the mask")


class TakeField(Step):
    """Take the total field from the user."""

    input_spec = _TakeFieldInputs
    output_spec = _TakeFieldOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_start(inputs.start, inputs.scale, inputs.like, "total field")
        field = np.where(read_volume(inputs.mask, np.uint8).array > 0, total.array, np.float32(0))
        if not field.any():
            raise InputError("the total field is zero in all of Mask 1", inputs.start)
        self._write(runtime, total.affine, field=field)
        self._results["record"] = _record(inputs, "total field")
        return runtime


class _TakeLocalFieldInputs(_StartInputs):
    start = File(exists=True, mandatory=True, desc="local field")
    support = File(exists=True, desc="where it is known; where it is not zero, if not given")
    mask2 = File(exists=True, mandatory=True, desc="for the holes of Mask 4")


class _TakeLocalFieldOutputs(RecordSpec):
    local_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    mask4 = File(exists=True, desc="with the holes of unreliable phase")
    mask4_filled = File(exists=True, desc="support of the maps, without holes")


class TakeLocalField(Step):
    """Take the local field and Mask 4 from the user."""

    input_spec = _TakeLocalFieldInputs
    output_spec = _TakeLocalFieldOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        local = read_start(inputs.start, inputs.scale, inputs.like, "local field")
        mask, origin = local.array != 0, "where the field is not zero"
        if isinstance(inputs.support, str):
            known = read_mask(Path(inputs.support), local, "mask of the local field")
            mask, origin = known.inside, f"given with the field, {known.text}"
        if not local.array[mask].any():
            raise InputError("the local field is zero everywhere", inputs.start)
        reliable = read_volume(inputs.mask2, np.uint8).array > 0
        self._write(
            runtime,
            local.affine,
            local_field=np.where(mask, local.array, np.float32(0)),
            mask4=mask_with_holes(mask, reliable),
            mask4_filled=mask,
        )
        self._results["record"] = _record(
            inputs,
            "local field",
            f"Mask 4: {origin}",
            BackgroundRemoval={"Name": "given", "Parameters": {}},
        )
        return runtime


def _record(inputs: Any, kind: str, *more: str, **metadata: Any) -> dict[str, Any]:
    """Say what took the place of the steps before."""
    paths = [inputs.start] if isinstance(inputs.start, str) else list(inputs.start)
    key = "Given" + "".join(word.capitalize() for word in kind.split())
    facts: dict[str, Any] = {
        key: {
            "Files": [path.rsplit("/", 1)[-1] for path in paths],
            "Units": inputs.units,
            "Scale": inputs.scale,
        },
        **metadata,
    }
    return record(*inputs.notes, *more, EstimationAlgorithm=f"given {kind}", **facts)
