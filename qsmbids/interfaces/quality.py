"""Quality measures of a run (Table 1): ``core.quality.measures``."""

import math
from typing import Any

import numpy as np

from qsmbids.core.maths.arrays import Float32Array
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.quality.criteria import Measure
from qsmbids.core.quality.measures import (
    QualityInputs,
    judge_values,
    measure_images,
    measure_magnitude,
    measure_phase,
)
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    EchoFilesIn,
    File,
    RecordsInputSpec,
    RecordSpec,
    Step,
    StepWithRecords,
    TraitedSpec,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume, write_text

__all__ = ["COLUMNS", "MeasureImages", "MeasureQuality"]

#: Columns of the table of quality measures.
COLUMNS = ("measure", "value", "unit", "verdict", "meaning", "advice")

_MASKS = ("support", "mask1", "mask3", "mask4", "mask4_filled")


class _MeasureImagesInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, mandatory=True, desc="[ppm], any reference")
    support = File(exists=True, mandatory=True, desc="of chi")
    total_field = File(exists=True, mandatory=True, desc="[Hz]")
    local_field = File(exists=True, mandatory=True, desc="[Hz]")
    noise = File(exists=True, mandatory=True, desc="of the total field [Hz]")
    magnitude = File(exists=True, mandatory=True, desc="combined over the echoes")
    mask1 = File(exists=True, mandatory=True)
    mask3 = File(exists=True, mandatory=True)
    mask4 = File(exists=True, mandatory=True)
    mask4_filled = File(exists=True, mandatory=True)
    r2star = File(exists=True, desc="[1/s]; not of a single echo")
    unwrapped = EchoFilesIn("[rad], one per echo; not of a nonlinear fit")
    wrapped = EchoFilesIn("[rad], one per echo; the last is looked at")
    echo_times = traits.List(traits.Float, mandatory=True, desc="[s]")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    centre_frequency_hz = traits.Float(mandatory=True, desc="[Hz]")


class _MeasureImagesOutputs(TraitedSpec):
    values = traits.Dict(desc="by the name of the measure")
    length_scale = traits.Float(desc="1 but for small heads")


class MeasureImages(Step):
    """Streaks, shadows, noise, masks, wraps and values of a finished run (Table 1, 8.a).

    On one thread, beside the placing of the template's regions.
    """

    input_spec = _MeasureImagesInputs
    output_spec = _MeasureImagesOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        like = read_volume(inputs.support, bool)
        voxel_size, scale = like.adult_voxel_size, like.length_scale
        del like
        unwrapped, wrapped = (
            files if isinstance(files, list) else []
            for files in (inputs.unwrapped, inputs.wrapped)
        )
        whole = measure_phase(read_volume(wrapped[-1]).array) if wrapped else {}
        masks: dict[str, Any] = {
            name: read_volume(getattr(inputs, name), bool).array for name in _MASKS
        }
        box = bounding_box(np.logical_or.reduce(list(masks.values())))

        def inside(path: str) -> Float32Array:
            return read_volume(path).array[box].copy()

        magnitude = read_volume(inputs.magnitude).array
        whole |= measure_magnitude(magnitude, masks["mask1"])
        magnitude = magnitude[box].copy()
        masks = {name: mask[box].copy() for name, mask in masks.items()}
        self._results["values"] = whole | measure_images(
            QualityInputs(
                **masks,
                chi=inside(inputs.chi),
                total_field=inside(inputs.total_field),
                local_field=inside(inputs.local_field),
                noise=inside(inputs.noise),
                magnitude=magnitude,
                voxel_size=voxel_size,
                length_scale=scale,
                b0_direction=inputs.b0_direction,
                echo_times=inputs.echo_times,
                centre_frequency=inputs.centre_frequency_hz,
                r2star=inside(inputs.r2star) if isinstance(inputs.r2star, str) else None,
                unwrapped=(inside(path) for path in unwrapped),
            )
        )
        self._results["length_scale"] = float(scale)
        return runtime


class _MeasureQualityInputs(RecordsInputSpec):
    values = traits.Dict(mandatory=True, desc="of the images")
    length_scale = traits.Float(1.0, usedefault=True)


class _MeasureQualityOutputs(RecordSpec):
    table = File(exists=True, desc="TSV: one measure per row")


class MeasureQuality(StepWithRecords):
    """All measures of a run, with their verdicts.

    ``record1`` to ``recordN`` take what the steps before have recorded. Apart from the images, so
    that these need not wait for the last of the steps.
    """

    input_spec = _MeasureQualityInputs
    output_spec = _MeasureQualityOutputs

    def _run_interface(self, runtime: Any) -> Any:
        recorded: dict[str, Any] = {}
        for entry in self._records():
            recorded |= entry["metadata"]
        measures = judge_values(self.inputs.values, recorded, self.inputs.length_scale)
        path = self._path(runtime, "quality.tsv")
        write_text(path, quality_table(measures))
        self._results["table"] = str(path)
        look = [m.name for m in measures if m.verdict == "look"]
        self._results["record"] = record(
            f"quality measures: {', '.join(look)} to be looked at"
            if look
            else "quality measures: nothing unusual",
            Measures={m.name: m.value for m in measures if math.isfinite(m.value)},
            MeasureVerdicts={m.name: m.verdict for m in measures},
            MeasureUnits={m.name: m.unit for m in measures},
        )
        return runtime


def quality_table(measures: list[Measure]) -> str:
    """Return the table as tab-separated text, n/a for what could not be measured."""
    rows = ["\t".join(COLUMNS)]
    for m in measures:
        value = f"{m.value:.6g}" if math.isfinite(m.value) else "n/a"
        rows.append("\t".join((m.name, value, m.unit or "n/a", m.verdict, m.meaning, m.advice)))
    return "\n".join(rows) + "\n"
