"""Referencing of the susceptibility map (section 8)."""

from typing import Any

import numpy as np

from qsmbids.core.reference import apply_reference, reference_value
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume


class _ReferenceChiInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, mandatory=True, desc="[ppm]")
    mask = File(exists=True, mandatory=True, desc="support of chi")
    region = File(exists=True, mandatory=True, desc="reference region")
    region_name = traits.Str(mandatory=True)
    method = traits.Enum("brain-mask", "none", usedefault=True)


class _ReferenceChiOutputs(RecordSpec):
    chi = File(exists=True, desc="[ppm], mean 0 over the region")


class ReferenceChi(Step):
    """Subtract the mean over the reference region (8.c): ``core.reference``."""

    input_spec = _ReferenceChiInputs
    output_spec = _ReferenceChiOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        chi = read_volume(inputs.chi)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        region = read_volume(inputs.region, np.uint8).array > 0
        value = reference_value(chi.array, region) if inputs.method != "none" else 0.0
        referenced = apply_reference(chi.array, mask, value)
        self._write(runtime, chi.affine, chi=referenced)
        said = f"reference: {inputs.region_name}, {value:+.6f} ppm subtracted"
        self._results["record"] = record(
            said if inputs.method != "none" else "not referenced",
            ReferenceRegion=inputs.region_name if inputs.method != "none" else "none",
            ReferenceValue=float(value),
        )
        return runtime
