"""What only a single echo needs."""

from typing import Any

import numpy as np

from qsmbids.core.field.offset_curvature import remove_offset_curvature
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


class _FlattenOffsetInputs(BaseInterfaceInputSpec):
    field = File(exists=True, mandatory=True, desc="total field [Hz]")
    mask3 = File(exists=True, mandatory=True)
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _FlattenOffsetOutputs(RecordSpec):
    field = File(exists=True, desc="[Hz], 0 outside Mask 3")


class FlattenOffset(Step):
    """Curvature of the phase offset of a single echo: ``core.field.offset_curvature``."""

    input_spec = _FlattenOffsetInputs
    output_spec = _FlattenOffsetOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        try:
            flat = remove_offset_curvature(
                total.array, mask3, total.adult_voxel_size, n_threads=inputs.n_threads
            )
        except EmptyMaskError as error:
            raise InputError(
                f"there is no field to look for an offset in ({error})",
                inputs.mask3,
                "Check the brain mask.",
            ) from error
        self._write(runtime, total.affine, field=np.where(mask3, flat.field, np.float32(0)))
        at_50_mm = flat.curvature * 50.0**2
        self._results["record"] = record(
            f"phase offset of the single echo: a curvature of {at_50_mm:+.2f} Hz at 50 mm from the"
            " centre was removed",
            SingleEchoOffset={
                "Name": "curvature",
                "HzPerSquareMm": float(f"{flat.curvature:.4g}"),
                "RadiusMm": round(flat.radius_mm, 2),
            },
        )
        return runtime
