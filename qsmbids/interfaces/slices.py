"""Constants of the slices of a 2-D scan."""

from typing import Any

import numpy as np

from qsmbids.core.field.slice_constants import remove_slice_constants, remove_slice_jumps
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume


class _AlignSlicesInputs(BaseInterfaceInputSpec):
    field = File(exists=True, mandatory=True, desc="total field [Hz]")
    mask3 = File(exists=True, mandatory=True)
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    axis = traits.Range(low=0, high=2, mandatory=True, desc="across the slices")
    single_echo = traits.Bool(mandatory=True, desc="the phase of a slice is not known")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _AlignSlicesOutputs(RecordSpec):
    field = File(exists=True, desc="[Hz], 0 outside Mask 3")


class AlignSlices(Step):
    """What a slice has apart from the others: ``core.field.slice_constants``."""

    input_spec = _AlignSlicesInputs
    output_spec = _AlignSlicesOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        where = (total.array, mask3, total.adult_voxel_size, inputs.b0_direction, inputs.axis)
        find = self._constants if inputs.single_echo else self._jumps
        try:
            field, facts = find(where)
        except EmptyMaskError as error:
            raise InputError(
                f"the slices cannot be aligned ({error})", inputs.mask3, "Check the brain mask."
            ) from error
        self._write(runtime, total.affine, field=np.where(mask3, field, np.float32(0)))
        self._results["record"] = facts
        return runtime

    def _constants(self, where: tuple[Any, ...]) -> tuple[Float32Array, dict[str, Any]]:
        """Take off what a slice is apart from the background: the phase that it began with."""
        found = remove_slice_constants(*where, n_threads=self.inputs.n_threads)
        return found.field, record(
            f"slices along axis {self.inputs.axis} were aligned by the background field within"
            f" them ({found.n_regions} regions, neighbours moved by up to"
            f" {found.largest_change:.1f} Hz)",
            warnings=[
                "a single echo of a 2-D scan: the phase of a slice was told from the field by a"
                " model of the background; the mean of chi over a slice is uncertain"
            ],
            SliceConstants={
                "Axis": self.inputs.axis,
                "Regions": found.n_regions,
                "LargestChangeHz": round(found.largest_change, 3),
            },
        )

    def _jumps(self, where: tuple[Any, ...]) -> tuple[Float32Array, dict[str, Any]]:
        """Take off what a slice has apart from its neighbours: the field of breathing."""
        found = remove_slice_jumps(*where, n_threads=self.inputs.n_threads)
        text = (
            f"the field jumped between slices along axis {self.inputs.axis} (standard deviation"
            f" {found.spread:.2f} Hz), as breathing makes it; removed"
            if found.found
            else "the field does not jump between slices"
        )
        jumps = {
            "Axis": self.inputs.axis,
            "Removed": found.found,
            "SpreadHz": round(found.spread, 3),
        }
        return found.field, record(text, SliceField=jumps)
