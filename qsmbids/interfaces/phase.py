"""Preparation: numbers in the files to radians and clean magnitudes (S2 step 1)."""

from typing import Any

import numpy as np

from qsmbids.core.bipolar import correct_bipolar, detect_bipolar
from qsmbids.core.complex_signal import (
    detect_slice_alternation,
    polar,
    remove_slice_alternation,
)
from qsmbids.core.magnitude import root_sum_of_squares
from qsmbids.core.offset import mcpc3ds
from qsmbids.core.phase_scale import detect_phase_scale, phase_statistics, to_radians
from qsmbids.core.phase_sign import phase_sign
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
from qsmbids.io.nifti import read_echoes, read_volume
from qsmbids.io.preflight import check_magnitude, check_phase


class _PreparePhaseInputs(BaseInterfaceInputSpec):
    magnitude = EchoFilesIn("raw magnitude, one file per echo", requires=["phase"])
    phase = EchoFilesIn("raw phase, one file per echo", xor=["real"])
    real = EchoFilesIn("raw real part, in place of magnitude and phase", requires=["imag"])
    imag = EchoFilesIn("raw imaginary part")
    echo_times = traits.List(traits.Float, mandatory=True, desc="of the first two echoes [s]")
    phase_units = traits.Str("", usedefault=True, desc="Units of the sidecar, if any")
    image_type = traits.List(traits.Str, usedefault=True, desc="ImageType of the sidecar")
    slice_alternation = traits.Enum("auto", "off", usedefault=True)
    sign = traits.Enum("auto", "+1", "-1", usedefault=True, desc="sign of the phase")
    manufacturer = traits.Str("", usedefault=True, desc="for the sign")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _PreparePhaseOutputs(RecordSpec):
    magnitude = EchoFilesOut("finite, not negative")
    phase = EchoFilesOut("wrapped [rad]")
    combined_magnitude = File(exists=True, desc="root of the sum of squares over the echoes")


class PreparePhase(Step):
    """Phase in radians that grows with the field, and clean magnitudes (3.c, S2 step 1)."""

    input_spec = _PreparePhaseInputs
    output_spec = _PreparePhaseOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        if inputs.real:
            magnitude, phase, affine, scaled = self._from_complex()
        else:
            magnitude, phase, affine, scaled = self._from_phase()
        n_broken = scaled["metadata"]["NonFiniteVoxels"]
        alternation = self._remove_alternation(phase, magnitude)
        choice = phase_sign(inputs.sign, inputs.manufacturer)
        if choice.sign < 0:
            np.negative(phase, out=phase)
        combined = root_sum_of_squares(magnitude)
        self._write(runtime, affine, phase=phase, magnitude=magnitude, combined_magnitude=combined)
        nan_note = f"{n_broken} voxels are NaN or infinite and were left out" if n_broken else ""
        self._results["record"] = record(
            *scaled["decisions"],
            alternation["text"],
            f"phase sign: {choice.sign:+d} ({choice.reason})",
            warnings=[*scaled["warnings"], choice.warning, nan_note],
            **scaled["metadata"],
            SliceAlternation={
                "Setting": inputs.slice_alternation,
                **{k: v for k, v in alternation.items() if k != "text"},
            },
            PhaseSign={"Setting": inputs.sign, "Sign": choice.sign, "Reason": choice.reason},
        )
        return runtime

    def _from_phase(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
        """Read magnitude and phase; scale the phase by one rule for all echoes."""
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase)
        magnitude, _ = read_echoes(inputs.magnitude)
        for volume, path in zip(magnitude, inputs.magnitude, strict=True):
            check_magnitude(volume, path)
        for volume, path in zip(phase, inputs.phase, strict=True):
            check_phase(volume, path)
        np.abs(magnitude, out=magnitude)
        n_broken = _leave_out(phase, magnitude)
        try:
            scale = detect_phase_scale(
                phase_statistics(phase),
                units=inputs.phase_units or None,
                image_type=inputs.image_type,
            )
        except ValueError as error:
            raise InputError(str(error), inputs.phase[0]) from error
        for volume in phase:
            volume[:] = to_radians(volume, scale, n_threads=inputs.n_threads)
        said = record(
            f"phase scale: {scale.rule} ({scale.description})",
            warnings=[scale.warning],
            PhaseScale={
                "Rule": scale.rule,
                "Slope": float(scale.slope),
                "Intercept": float(scale.intercept),
            },
            NonFiniteVoxels=n_broken,
        )
        return magnitude, phase, affine, said

    def _from_complex(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
        """Read real and imaginary parts as magnitude and phase."""
        real, affine = read_echoes(self.inputs.real)
        imaginary, _ = read_echoes(self.inputs.imag)
        n_broken = _leave_out(real, imaginary)
        magnitude, phase = np.empty_like(real), np.empty_like(real)
        for e, path in enumerate(self.inputs.real):
            magnitude[e], phase[e] = polar(real[e], imaginary[e])
            check_magnitude(magnitude[e], path)
        said = record(
            "phase from real and imaginary parts",
            PhaseScale={"Rule": "complex", "Slope": 1.0, "Intercept": 0.0},
            NonFiniteVoxels=n_broken,
        )
        return magnitude, phase, affine, said

    def _remove_alternation(self, phase: np.ndarray, magnitude: np.ndarray) -> dict[str, Any]:
        """Undo the sign of every second slice where the data show it; in place."""
        if self.inputs.slice_alternation == "off":
            return {"Axes": [], "text": "slice alternation: not looked for"}
        axes: list[int] = []
        while True:  # more than one axis alternates in a checkerboard
            found = detect_slice_alternation(
                phase[0],
                magnitude[0],
                second_phase=phase[1] if len(phase) > 1 else None,
                echo_times=self.inputs.echo_times[:2] if len(phase) > 1 else None,
            )
            if found.axis is None or found.axis in axes:
                break
            axes.append(found.axis)
            phase[:] = remove_slice_alternation(phase, found.axis)
        said = f"every second slice along axis {axes} was inverted, corrected" if axes else "none"
        return {
            "Axes": axes,
            "Coherence": [round(float(c), 3) for c in found.coherence],
            "text": f"slice alternation: {said}",
        }


def _leave_out(first: np.ndarray, second: np.ndarray) -> int:
    """Zero voxels that are not finite in any echo of either part; return their number.

    The first part keeps NaN there, which the rules for the phase scale leave out.
    """
    broken = ~(np.isfinite(first) & np.isfinite(second)).all(axis=0)
    first[:, broken] = np.nan
    second[:, broken] = 0.0
    return int(np.count_nonzero(broken))


class _RemovePhaseOffsetInputs(EchoesInputSpec):
    sigma_mm = traits.Float(7.0, usedefault=True, desc="smoothing of the offset [mm]")
    refinements = traits.Int(8, usedefault=True, desc="of the smoothing")


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
        self._write(runtime, affine, phase=corrected, offset=offset)
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


class _CorrectReadoutInputs(EchoesInputSpec):
    method = traits.Enum("auto", "linear", "mcpc-3d-s", usedefault=True)


class _CorrectReadoutOutputs(RecordSpec):
    phase = EchoFilesOut("as of a monopolar readout [rad]")


class CorrectReadout(Step):
    """Remove the phase between readout directions, if there is one (S2 step 1)."""

    input_spec = _CorrectReadoutInputs
    output_spec = _CorrectReadoutOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase)
        magnitude, _ = read_echoes(inputs.magnitude)
        mask = read_volume(inputs.mask, np.uint8)
        inside = mask.array > 0
        found = detect_bipolar(
            phase, magnitude, inputs.echo_times, inside, n_threads=inputs.n_threads
        )
        evidence = {
            "Setting": inputs.method,
            "Bipolar": found.is_bipolar,
            "StrengthRad": round(found.strength, 4),
        }
        if not found.is_bipolar:
            self._results["phase"] = list(inputs.phase)
            self._results["record"] = record(
                f"readout: monopolar (alternating phase {found.strength:.3f} rad)",
                ReadoutCorrection=evidence,
            )
            return runtime
        corrected = correct_bipolar(
            phase,
            magnitude,
            inputs.echo_times,
            mask.voxel_size,
            inside,
            method=inputs.method.replace("-", ""),
            n_threads=inputs.n_threads,
        )
        self._write(runtime, affine, phase=corrected.phase)
        before, after = corrected.residual_before, corrected.residual_after
        self._results["record"] = record(
            f"readout: bipolar (alternating phase {found.strength:.2f} rad), corrected by the"
            f" {corrected.method} model; residual of the echoes {before:.2g} before, {after:.2g}"
            " after",
            ReadoutCorrection={
                **evidence,
                "Method": corrected.method,
                "ResidualBefore": float(before),
                "ResidualAfter": float(after),
            },
        )
        return runtime
