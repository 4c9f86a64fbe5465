"""Slices of a 2-D scan that one echo was taken of."""

from typing import Any

import numpy as np

from qsmbids.core.field.slice_constants import remove_slice_constants
from qsmbids.core.maths.arrays import EmptyMaskError
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
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _AlignSlicesOutputs(RecordSpec):
    field = File(exists=True, desc="[Hz], 0 outside Mask 3")


class AlignSlices(Step):
    """Constants of the slices of a single echo: ``core.field.slice_constants``."""

    input_spec = _AlignSlicesInputs
    output_spec = _AlignSlicesOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        try:
            aligned = remove_slice_constants(
                total.array,
                mask3,
                total.adult_voxel_size,
                inputs.b0_direction,
                inputs.axis,
                n_threads=inputs.n_threads,
            )
        except EmptyMaskError as error:
            raise InputError(
                f"the slices cannot be aligned ({error})", inputs.mask3, "Check the brain mask."
            ) from error
        self._write(runtime, total.affine, field=np.where(mask3, aligned.field, np.float32(0)))
        self._results["record"] = record(
            f"slices along axis {inputs.axis} were aligned by the background field within them"
            f" ({aligned.n_regions} regions, neighbours moved by up to"
            f" {aligned.largest_change:.1f} Hz)",
            warnings=[
                "a single echo of a 2-D scan: the phase of a slice was told from the field by a"
                " model of the background; the mean of chi over a slice is uncertain"
            ],
            SliceConstants={
                "Axis": inputs.axis,
                "Regions": aligned.n_regions,
                "LargestChangeHz": round(aligned.largest_change, 3),
            },
        )
        return runtime
