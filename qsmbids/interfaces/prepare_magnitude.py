"""Preparation of the magnitudes, for which nothing need be known of the phase (S2 step 1)."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.phase.complex_signal import polar
from qsmbids.core.phase.magnitude import Negatives, computable_scale, root_sum_of_squares
from qsmbids.core.phase.repeated_echoes import repeated_magnitude
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    EchoFilesIn,
    EchoFilesOut,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_echoes
from qsmbids.io.preflight import check_magnitude

__all__ = ["PrepareMagnitude"]


class _PrepareMagnitudeInputs(BaseInterfaceInputSpec):
    magnitude = EchoFilesIn("raw magnitude, one file per echo", xor=["real"])
    real = EchoFilesIn("raw real part, in place of the magnitude", requires=["imag"])
    imag = EchoFilesIn("raw imaginary part")
    coils = traits.Int(0, usedefault=True, desc="number that were combined before, or 0")
    coil_combination = traits.Str("", usedefault=True, desc="the way of that")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _PrepareMagnitudeOutputs(RecordSpec):
    magnitude = EchoFilesOut("finite, not negative")
    combined_magnitude = File(exists=True, desc="root of the sum of squares over the echoes")
    broken = File(exists=True, desc="voxels that were not finite; undefined where there are none")


class PrepareMagnitude(Step):
    """Magnitudes to compute with, and their combination (5.a).

    Brain extraction and R2* need no more, and go on while the phase is still prepared.
    """

    input_spec = _PrepareMagnitudeInputs
    output_spec = _PrepareMagnitudeOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        files = inputs.magnitude or inputs.real
        magnitude, broken, affine = self._from_complex() if inputs.real else self._from_files()
        below = [check_magnitude(v, path) for v, path in zip(magnitude, files, strict=True)]
        np.maximum(magnitude, 0.0, out=magnitude)
        magnitude[:, broken] = 0.0
        scale = computable_scale(magnitude)
        if scale != 1:
            magnitude *= np.float32(scale)
        combined = root_sum_of_squares(magnitude)
        self._write(runtime, affine, magnitude=magnitude, combined_magnitude=combined)
        if broken.any():
            self._write(runtime, affine, broken=broken)
        pair = repeated_magnitude(list(magnitude))
        copied = ""
        if pair is not None:
            first, second = (Path(files[i]).name for i in pair)
            copied = f"{second} is a copy of {first}: R2* and the weights of the echoes are wrong"
        self._results["record"] = record(
            _negative_note(below),
            f"magnitudes were multiplied by {scale:.4g} to compute with them"
            if scale != 1
            else "",
            warnings=[copied],
            NegativeMagnitudeVoxels=sum(negatives.n_voxels for negatives in below),
            MagnitudeScale=scale,
            **self._coils(),
        )
        return runtime

    def _coils(self) -> dict[str, Any]:
        """Return how coils were combined, for the sidecar."""
        if not self.inputs.coils:
            return {}
        return {
            "CoilCombination": {"Name": self.inputs.coil_combination, "Coils": self.inputs.coils}
        }

    def _from_files(self) -> tuple[Float32Array, Mask, npt.NDArray[np.float64]]:
        """Read the echoes; return with them where one is not finite."""
        inputs = self.inputs
        magnitude, affine = read_echoes(inputs.magnitude, n_threads=inputs.n_threads)
        return magnitude, ~np.isfinite(magnitude).all(axis=0), affine

    def _from_complex(self) -> tuple[Float32Array, Mask, npt.NDArray[np.float64]]:
        """Return the same of real and imaginary parts."""
        inputs = self.inputs
        real, affine = read_echoes(inputs.real, n_threads=inputs.n_threads)
        imaginary, _ = read_echoes(inputs.imag, n_threads=inputs.n_threads)
        broken: Mask = ~(np.isfinite(real) & np.isfinite(imaginary)).all(axis=0)
        for e, part in enumerate(real):
            real[e], _ = polar(part, imaginary[e])
        return real, broken, affine


def _negative_note(below: list[Negatives]) -> str:
    """Say what was done with magnitudes below zero, if there are any."""
    count = sum(negatives.n_voxels for negatives in below)
    if not count:
        return ""
    depth = max(negatives.depth for negatives in below)
    return (
        f"magnitude: {count} negative values, down to {100 * depth:.2g} % of the largest, were set"
        " to zero"
    )
