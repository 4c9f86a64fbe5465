"""Signs of bad phase and of a wrong sign: looked for in every run, never fatal."""

from typing import Any

import numpy as np

from qsmbids.core.field.residues import count_residues
from qsmbids.core.phase.echo_time_check import check_echo_time_consistency
from qsmbids.core.phase.phase_checks import (
    PhaseCheck,
    detect_filtered_phase,
    detect_interpolated_wraps,
    detect_slice_jumps,
)
from qsmbids.core.reference.sign_check import check_sign
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    EchoesInputSpec,
    File,
    RecordSpec,
    Step,
    record,
)
from qsmbids.io.nifti import read_echoes, read_volume

#: A shorter echo of a well shimmed head may pass for filtered phase [s].
_LATE_ECHO = 0.015


class CheckPhase(Step):
    """Open fringe lines, filtered phase, slice jumps, resampled wraps, echo times (3.a to 3.d)."""

    input_spec = EchoesInputSpec
    output_spec = RecordSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, _ = read_echoes(inputs.phase)
        magnitude, _ = read_echoes(inputs.magnitude)
        image = read_volume(inputs.mask, np.uint8)
        mask, times = image.array > 0, inputs.echo_times
        first, strength = phase[0], magnitude[0]
        checks: dict[str, PhaseCheck] = {
            "OpenFringeLines": count_residues(first, mask, magnitude=strength),
            "SliceJumps": detect_slice_jumps(first, mask, magnitude=strength),
            "InterpolatedWraps": detect_interpolated_wraps(first, mask, magnitude=strength),
        }
        if times[-1] >= _LATE_ECHO:
            checks["FilteredPhase"] = detect_filtered_phase(
                phase[-1], magnitude[-1], mask, image.adult_voxel_size
            )
        if len(times) > 2:
            checks["EchoTimes"] = check_echo_time_consistency(phase, magnitude, times, mask)
        bad = [check.text for check in checks.values() if check.suspicious]
        self._results["record"] = record(
            f"phase checks: {', '.join(checks)}" + ("" if bad else ": nothing found"),
            warnings=bad,
            PhaseChecks={
                name: {
                    "Value": float(check.value) if np.isfinite(check.value) else None,
                    "Suspicious": check.suspicious,
                }
                for name, check in checks.items()
            },
        )
        return runtime


class _CheckSignInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, mandatory=True, desc="[ppm]")
    r2star = File(exists=True, mandatory=True, desc="[1/s]")
    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes")


class CheckSign(Step):
    """Veins and iron-rich nuclei must be paramagnetic: ``core.reference.sign_check``."""

    input_spec = _CheckSignInputs
    output_spec = RecordSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        check = check_sign(
            read_volume(inputs.chi).array,
            read_volume(inputs.r2star).array,
            read_volume(inputs.mask, np.uint8).array > 0,
        )
        advice = f"{check.text}; if veins are dark, run again with the other --phase-sign"
        self._results["record"] = record(
            f"sign check: {check.text}",
            warnings=[advice if check.inverted else ""],
            SignCheck={
                "Inverted": check.inverted,
                "MeanAtHighR2Star": float(check.mean_high_r2star)
                if np.isfinite(check.mean_high_r2star)
                else None,
            },
        )
        return runtime
