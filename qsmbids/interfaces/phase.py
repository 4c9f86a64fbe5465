"""Preparation: numbers in the files to radians and clean magnitudes (S2 step 1)."""

from typing import Any

import numpy as np

from qsmbids.core.magnitude import root_sum_of_squares
from qsmbids.core.offset import mcpc3ds
from qsmbids.core.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.core.phase_sign import phase_sign
from qsmbids.errors import InputError
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
from qsmbids.io.nifti import read_echoes, read_volume, write_volume
from qsmbids.io.preflight import check_magnitude, check_phase


class _PreparePhaseInputs(BaseInterfaceInputSpec):
    magnitude = EchoFilesIn("raw magnitude, one file per echo", mandatory=True)
    phase = EchoFilesIn("raw phase, one file per echo", mandatory=True)
    phase_units = traits.Str("", usedefault=True, desc="Units of the sidecar, if any")
    image_type = traits.List(traits.Str, usedefault=True, desc="ImageType of the sidecar")
    sign = traits.Enum("auto", "+1", "-1", usedefault=True, desc="sign of the phase")
    manufacturer = traits.Str("", usedefault=True, desc="for the sign")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _PreparePhaseOutputs(RecordSpec):
    magnitude = EchoFilesOut("finite, not negative")
    phase = EchoFilesOut("wrapped [rad]")
    combined_magnitude = File(exists=True, desc="root of the sum of squares over the echoes")


class PreparePhase(Step):
    """Scale the phase jointly over the echoes, settle its sign, remove NaN (3.c, S2 step 1)."""

    input_spec = _PreparePhaseInputs
    output_spec = _PreparePhaseOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase)
        magnitude, _ = read_echoes(inputs.magnitude)
        for volume, path in zip(magnitude, inputs.magnitude, strict=True):
            check_magnitude(volume, path)
        for volume, path in zip(phase, inputs.phase, strict=True):
            check_phase(volume, path)
        broken = ~(np.isfinite(phase) & np.isfinite(magnitude)).all(axis=0)
        np.abs(magnitude, out=magnitude)
        phase[:, broken] = np.nan
        magnitude[:, broken] = 0.0
        try:
            scale = detect_phase_scale(
                phase_statistics(phase),
                units=inputs.phase_units or None,
                image_type=inputs.image_type,
            )
        except ValueError as error:
            raise InputError(str(error), inputs.phase[0]) from error
        choice = phase_sign(inputs.sign, inputs.manufacturer)
        echoes = range(1, len(phase) + 1)
        self._results["phase"] = [
            str(
                write_volume(
                    self._path(runtime, f"phase_echo-{e}.nii"),
                    to_radians(volume, scale, sign=choice.sign, n_threads=inputs.n_threads),
                    affine,
                )
            )
            for e, volume in zip(echoes, phase, strict=True)
        ]
        self._results["magnitude"] = [
            str(write_volume(self._path(runtime, f"magnitude_echo-{e}.nii"), volume, affine))
            for e, volume in zip(echoes, magnitude, strict=True)
        ]
        self._results["combined_magnitude"] = str(
            write_volume(
                self._path(runtime, "magnitude_rss.nii"), root_sum_of_squares(magnitude), affine
            )
        )
        n_broken = int(np.count_nonzero(broken))
        nan_note = f"{n_broken} voxels are NaN or infinite and were left out" if n_broken else ""
        self._results["record"] = record(
            f"phase scale: {scale.rule} ({scale.description})",
            f"phase sign: {choice.sign:+d} ({choice.reason})",
            warnings=[scale.warning, choice.warning, nan_note],
            PhaseScale={
                "Rule": scale.rule,
                "Slope": float(scale.slope),
                "Intercept": float(scale.intercept),
            },
            PhaseSign={"Sign": choice.sign, "Reason": choice.reason},
            NonFiniteVoxels=n_broken,
        )
        return runtime


class _RemovePhaseOffsetInputs(BaseInterfaceInputSpec):
    phase = EchoFilesIn("wrapped [rad]", mandatory=True)
    magnitude = EchoFilesIn("one per echo", mandatory=True)
    mask = File(exists=True, mandatory=True, desc="Mask 1")
    echo_times = traits.List(traits.Float, mandatory=True, desc="[s]")
    sigma_mm = traits.Float(7.0, usedefault=True, desc="smoothing of the offset [mm]")
    refinements = traits.Int(8, usedefault=True, desc="of the smoothing")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _RemovePhaseOffsetOutputs(RecordSpec):
    phase = EchoFilesOut("wrapped, free of the offset [rad]")
    offset = File(exists=True, desc="phase at TE = 0 [rad]")


class RemovePhaseOffset(Step):
    """MCPC-3D-S (4.c, Table S2.1): ``core.offset.mcpc3ds``."""

    input_spec = _RemovePhaseOffsetInputs
    output_spec = _RemovePhaseOffsetOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase)
        magnitude, _ = read_echoes(inputs.magnitude)
        mask = read_volume(inputs.mask, np.uint8)
        corrected, offset = mcpc3ds(
            phase,
            magnitude,
            inputs.echo_times,
            mask.voxel_size,
            mask.array > 0,
            sigma_mm=inputs.sigma_mm,
            refinements=inputs.refinements,
            n_threads=inputs.n_threads,
        )
        self._results["phase"] = [
            str(write_volume(self._path(runtime, f"phase_echo-{e}.nii"), volume, affine))
            for e, volume in enumerate(corrected, 1)
        ]
        self._results["offset"] = str(
            write_volume(self._path(runtime, "phase_offset.nii"), offset, affine)
        )
        spread = float(np.std(offset[mask.array > 0]))
        self._results["record"] = record(
            f"phase offset removed by MCPC-3D-S (standard deviation {spread:.2f} rad in Mask 1)",
            PhaseOffsetCorrection={
                "Name": "MCPC-3D-S",
                "SmoothingMm": inputs.sigma_mm,
                "Refinements": inputs.refinements,
            },
        )
        return runtime
