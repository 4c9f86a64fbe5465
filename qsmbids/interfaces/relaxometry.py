"""R2*: fitted once, for the mask that it helps to find and for the map inside it."""

from typing import Any

import numpy as np

from qsmbids.core.field.relaxometry import r2star_map
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    EchoFilesIn,
    File,
    RecordSpec,
    Step,
    TraitedSpec,
    record,
    traits,
)
from qsmbids.io.nifti import read_echoes, read_volume

__all__ = ["FitR2Star", "MapR2Star"]


class _FitR2StarInputs(BaseInterfaceInputSpec):
    magnitude = EchoFilesIn("one per echo", mandatory=True)
    echo_times = traits.List(traits.Float, mandatory=True, desc="[s]")
    method = traits.Enum("auto", "arlo", "loglinear", usedefault=True)


class _FitR2StarOutputs(TraitedSpec):
    r2star = File(exists=True, desc="[1/s], of the whole image, noise where there is no signal")
    s0 = File(exists=True, desc="signal at TE = 0")
    used = traits.Str(desc="name of the method")


class FitR2Star(Step):
    """R2* and S0 of every voxel by ``core.field.relaxometry.r2star_map``."""

    input_spec = _FitR2StarInputs
    output_spec = _FitR2StarOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        magnitude, affine = read_echoes(inputs.magnitude)
        everywhere = np.ones(magnitude.shape[1:], dtype=bool)
        # one thread, beside the brain extraction
        maps = r2star_map(magnitude, inputs.echo_times, everywhere, method=inputs.method)
        self._write(runtime, affine, r2star=maps.r2star, s0=maps.s0)
        self._results["used"] = maps.method
        return runtime


class _MapR2StarInputs(BaseInterfaceInputSpec):
    r2star = File(exists=True, mandatory=True, desc="of the whole image [1/s]")
    s0 = File(exists=True, mandatory=True)
    used = traits.Str(mandatory=True, desc="name of the method")
    mask = File(exists=True, mandatory=True)
    method = traits.Str("auto", usedefault=True, desc="as it was set, for the record")


class _MapR2StarOutputs(RecordSpec):
    r2star = File(exists=True, desc="[1/s]")
    t2star = File(exists=True, desc="[s]")
    s0 = File(exists=True, desc="signal at TE = 0")


class MapR2Star(Step):
    """R2*, T2* and S0 inside a mask."""

    input_spec = _MapR2StarInputs
    output_spec = _MapR2StarOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        mask = read_volume(inputs.mask, np.uint8)
        outside = mask.array == 0
        r2star, s0 = read_volume(inputs.r2star).array, read_volume(inputs.s0).array
        r2star[outside], s0[outside] = 0, 0
        t2star = np.zeros_like(r2star)
        np.divide(1.0, r2star, out=t2star, where=r2star > 0)
        self._write(runtime, mask.affine, r2star=r2star, t2star=t2star, s0=s0)
        self._results["record"] = record(
            f"R2* by {inputs.used}",
            EstimationAlgorithm=inputs.used.upper(),
            R2StarFit={"Setting": inputs.method, "Name": inputs.used},
        )
        return runtime
