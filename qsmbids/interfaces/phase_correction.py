"""Phase on a line through the echo times: readout directions, offset (S2 step 1, 4.c)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from qsmbids.core.phase.echo_time_check import check_echo_time_consistency
from qsmbids.core.phase.offset import phase_offset, subtract_offset
from qsmbids.core.phase.readout import ReadoutCorrection, correct_readout
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    EchoesInputSpec,
    EchoFilesOut,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_echoes, read_volume
from qsmbids.io.write import write_volume

#: Error of an echo spacing, relative to their mean, that no unlucky field explains.
_WRONG_SPACING = 0.5


class _CorrectReadoutInputs(EchoesInputSpec):
    method = traits.Enum("auto", "linear", "mcpc-3d-s", usedefault=True)
    echo_numbers = traits.List(traits.Int, desc="of the file names; default: without gaps")


class _CorrectReadoutOutputs(RecordSpec):
    phase = EchoFilesOut("as of a monopolar readout, on a line through the echo times [rad]")
    echo_times_check = traits.Dict(desc="fields of a PhaseCheck")


class CorrectReadout(Step):
    """Remove the phase between readout directions, and constants of echoes (S2 step 1)."""

    input_spec = _CorrectReadoutInputs
    output_spec = _CorrectReadoutOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase, n_threads=inputs.n_threads)
        magnitude, _ = read_echoes(inputs.magnitude, n_threads=inputs.n_threads)
        mask = read_volume(inputs.mask, np.uint8)
        numbers = inputs.echo_numbers or list(range(1, len(phase) + 1))
        check = check_echo_time_consistency(phase, magnitude, inputs.echo_times, mask.array > 0)
        if check.suspicious and check.value > _WRONG_SPACING:
            raise InputError(
                check.text,
                "echo times",
                "Correct EchoTime in the sidecars, or the order of the images; --echo-times gives"
                " one time per echo number.",
            )
        result = correct_readout(
            phase,
            magnitude,
            inputs.echo_times,
            mask.adult_voxel_size,
            mask.array > 0,
            echo_numbers=numbers,
            method=inputs.method.replace("-", ""),
            n_threads=inputs.n_threads,
        )
        self._results["echo_times_check"] = check._asdict()
        self._results["phase"] = list(inputs.phase)
        if result.changed:
            self._write(runtime, affine, phase=result.phase)
        self._results["record"] = record(
            *_readout_notes(result), **_readout_facts(result, inputs.method)
        )
        return runtime


def _readout_notes(result: ReadoutCorrection) -> list[str]:
    """Say what was found and done, for the log."""
    evidence, bipolar = result.evidence, result.bipolar
    notes = [f"readout: monopolar (alternating phase {evidence.strength:.3f} rad)"]
    if bipolar is not None:
        signs = " ".join("+" if sign > 0 else "-" for sign in result.polarity)
        notes = [
            f"readout: bipolar (alternating phase {evidence.strength:.2f} rad, directions"
            f" {signs}), corrected by the {bipolar.method} model; residual of the echoes"
            f" {bipolar.residual_before:.2g} before, {bipolar.residual_after:.2g} after"
        ]
    if result.constants is not None:
        listed = ", ".join(f"{c:.2f}" for c in result.constants)
        notes.append(f"every echo had a constant phase of its own, removed: {listed} rad")
    return notes


def _readout_facts(result: ReadoutCorrection, setting: str) -> dict[str, Any]:
    """Return the same for the sidecar."""
    evidence, bipolar = result.evidence, result.bipolar
    facts: dict[str, Any] = {
        "Setting": setting,
        "Bipolar": bipolar is not None,
        "StrengthRad": round(evidence.strength, 4),
    }
    if bipolar is not None:
        facts |= {
            "Method": bipolar.method,
            "Polarity": list(result.polarity),
            "ResidualBefore": float(bipolar.residual_before),
            "ResidualAfter": float(bipolar.residual_after),
        }
    if result.constants is not None:
        facts["EchoConstantsRad"] = [round(float(c), 4) for c in result.constants]
    return {"ReadoutCorrection": facts}


class _RemovePhaseOffsetInputs(EchoesInputSpec):
    sigma_mm = traits.Float(7.0, usedefault=True, desc="smoothing of the offset [mm]")
    refinements = traits.Int(8, usedefault=True, desc="of the smoothing")


class _RemovePhaseOffsetOutputs(RecordSpec):
    phase = EchoFilesOut("wrapped, free of the offset [rad]")
    offset = File(exists=True, desc="phase at TE = 0 [rad]")


class RemovePhaseOffset(Step):
    """MCPC-3D-S (4.c, Table S2.1): ``core.phase.offset.mcpc3ds``."""

    input_spec = _RemovePhaseOffsetInputs
    output_spec = _RemovePhaseOffsetOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase[:2], n_threads=inputs.n_threads)
        magnitude, _ = read_echoes(inputs.magnitude[:2], n_threads=inputs.n_threads)
        mask = read_volume(inputs.mask, np.uint8)
        offset = phase_offset(
            phase,
            magnitude,
            inputs.echo_times[:2],
            mask.adult_voxel_size,
            mask.array > 0,
            smoothing_mm=inputs.sigma_mm,
            refinements=inputs.refinements,
            n_threads=inputs.n_threads,
        )
        del phase, magnitude
        inside = mask.array > 0

        def subtract(number: int, path: str) -> str:
            """Write one echo: all at once would be the memory of ten volumes."""
            echo = read_volume(path).array
            corrected = subtract_offset(echo[None], offset, inside)[0]
            out = self._path(runtime, f"phase_echo-{number}.nii")
            return str(write_volume(out, corrected, affine))

        with ThreadPoolExecutor(inputs.n_threads) as pool:
            numbers = range(1, len(inputs.phase) + 1)
            self._results["phase"] = list(pool.map(subtract, numbers, inputs.phase))
        self._write(runtime, affine, offset=offset)
        spread = float(np.std(offset[inside]))
        self._results["record"] = record(
            f"phase offset removed by MCPC-3D-S (standard deviation {spread:.2f} rad in Mask 1)",
            PhaseOffsetCorrection={
                "Name": "MCPC-3D-S",
                "SmoothingMm": inputs.sigma_mm,
                "Refinements": inputs.refinements,
            },
        )
        return runtime
