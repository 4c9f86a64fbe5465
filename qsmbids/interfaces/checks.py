"""Signs of bad phase and of a wrong sign: looked for in every run, never fatal."""

from typing import Any

import numpy as np
from nipype.interfaces.base import InputMultiObject, isdefined

from qsmbids.core.anatomy.template import IRON_RICH
from qsmbids.core.field.residues import count_residues
from qsmbids.core.maths.arrays import LabelArray, Mask
from qsmbids.core.maths.boxes import bounding_box
from qsmbids.core.phase.echo_time_check import check_echo_time_consistency
from qsmbids.core.phase.phase_checks import (
    PhaseCheck,
    detect_filtered_phase,
    detect_interpolated_wraps,
    detect_slice_jumps,
    thinned,
)
from qsmbids.core.reference.sign_check import check_sign
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    EchoesInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume
from qsmbids.io.template import template_regions

#: A shorter echo of a well shimmed head may pass for filtered phase [s].
_LATE_ECHO = 0.015
#: As many tell whether the echo times fit.
_FEW_VOXELS = 500_000


class _CheckPhaseInputs(EchoesInputSpec):
    echo_times_check = traits.Dict(desc="fields of its PhaseCheck, where it was made before")


class CheckPhase(Step):
    """Open fringe lines, filtered phase, slice jumps, resampled wraps, echo times (3.a to 3.d)."""

    input_spec = _CheckPhaseInputs
    output_spec = RecordSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        image = read_volume(inputs.mask, np.uint8)
        mask, times = image.array > 0, inputs.echo_times
        first, strength = (
            read_volume(paths[0]).array for paths in (inputs.phase, inputs.magnitude)
        )
        checks: dict[str, PhaseCheck] = {
            "OpenFringeLines": count_residues(first, mask, magnitude=strength),
            "SliceJumps": detect_slice_jumps(first, mask, magnitude=strength),
            "InterpolatedWraps": detect_interpolated_wraps(first, mask, magnitude=strength),
        }
        del first, strength
        if times[-1] >= _LATE_ECHO:
            last, strength = (read_volume(p[-1]).array for p in (inputs.phase, inputs.magnitude))
            checks["FilteredPhase"] = detect_filtered_phase(
                last, strength, mask, image.adult_voxel_size
            )
            del last, strength
        if isdefined(inputs.echo_times_check):
            checks["EchoTimes"] = PhaseCheck(**inputs.echo_times_check)
        elif len(times) > 2:
            checks["EchoTimes"] = self._check_times(mask)
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

    def _check_times(self, mask: Mask) -> PhaseCheck:
        """Check the echo times by some of the voxels: of all, the echoes would be much memory."""
        inputs = self.inputs
        box = bounding_box(mask)
        steps = [t.step or 1 for t in thinned(mask[box].shape, _FEW_VOXELS)]
        few = tuple(slice(b.start, b.stop, n) for b, n in zip(box, steps, strict=True))
        shape = (len(inputs.echo_times), *mask[few].shape)
        phase, magnitude = (np.empty(shape, dtype=np.float32) for _ in range(2))
        for paths, echoes in ((inputs.phase, phase), (inputs.magnitude, magnitude)):
            for number, path in enumerate(paths):
                echoes[number] = read_volume(path).array[few]
        return check_echo_time_consistency(
            phase,
            magnitude,
            inputs.echo_times,
            mask[few],
            block_voxels=max(2, round(4 / steps[0])),
        )


class _CheckSignInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, mandatory=True, desc="[ppm]")
    r2star = File(exists=True, mandatory=True, desc="[1/s]")
    mask = File(exists=True, mandatory=True, desc="Mask 4 without holes")
    labels = InputMultiObject(File(exists=True), desc="of the template, one image, if it fitted")


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
            nuclei=self._nuclei(),
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

    def _nuclei(self) -> LabelArray | None:
        """Return the labels of the nuclei that are rich in iron at any adult age."""
        if not isdefined(self.inputs.labels):
            return None
        labels = read_volume(self.inputs.labels[0], np.int32).array
        iron = [r.label for r in template_regions() if r.name.rpartition("-")[0] in IRON_RICH]
        return np.where(np.isin(labels, iron), labels, 0)
