"""Preparation of the phase: from the numbers in the files to radians (S2 step 1)."""

from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.phase.complex_signal import (
    detect_slice_alternation,
    polar,
    remove_slice_alternation,
)
from qsmbids.core.phase.magnitude import signal_mask
from qsmbids.core.phase.missing_phase import read_phase_numbers, without_phase
from qsmbids.core.phase.phase_checks import (
    detect_filtered_phase,
    detect_slice_jumps,
    tells_filter,
)
from qsmbids.core.phase.phase_scale import to_radians
from qsmbids.core.phase.phase_sign import phase_sign
from qsmbids.core.phase.repeated_echoes import repeated_phase
from qsmbids.core.phase.slice_offsets import (
    align_slices,
    find_slice_offsets,
    remove_slice_offsets,
    slice_roughness,
)
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
from qsmbids.io.nifti_header import read_header
from qsmbids.io.phase_filter import TOO_EARLY, filter_found, refusal
from qsmbids.io.preflight import check_phase

#: Jumps of the phase from slice to slice [rad] that leave no field; random phases have 1.5.
_HOPELESS_JUMP = 0.8
#: Change of the step between slices from one echo to the next [rad] that leaves no field; whole
#: heads have 0.1. In slices of a 2-D scan the field of breathing makes some (of 3 Hz 1.7, where
#: echoes are 17 ms apart), which is found later; random phases have 2.9.
_HOPELESS_CHANGE, _HOPELESS_CHANGE_2D = 1.0, 2.2


class _PreparePhaseInputs(BaseInterfaceInputSpec):
    magnitude = EchoFilesIn("prepared magnitude, one file per echo", mandatory=True)
    broken = File(exists=True, desc="voxels whose magnitude was not finite, if there are any")
    phase = EchoFilesIn("raw phase, one file per echo", xor=["real"])
    real = EchoFilesIn("raw real part, in place of the phase", requires=["imag"])
    imag = EchoFilesIn("raw imaginary part")
    echo_times = traits.List(traits.Float, mandatory=True, desc="of the first two echoes [s]")
    phase_units = traits.Str("", usedefault=True, desc="Units of the sidecar, if any")
    image_type = traits.List(traits.Str, usedefault=True, desc="ImageType of the sidecar")
    slice_axis = traits.Int(-1, usedefault=True, desc="across the slices of a 2-D scan, or -1")
    slices = traits.Enum("auto", "2d", "3d", usedefault=True, desc="for the record")
    slice_alternation = traits.Enum("auto", "off", usedefault=True)
    sign = traits.Enum("auto", "+1", "-1", usedefault=True, desc="sign of the phase")
    manufacturer = traits.Str("", usedefault=True, desc="for the sign")
    last_echo_time = traits.Float(0.0, usedefault=True, desc="[s]")
    b0_tesla = traits.Float(0.0, usedefault=True, desc="[T]")
    accept_filtered = traits.Bool(False, usedefault=True, desc="by the scanner, as for SWI")
    refuse_filtered = traits.Bool(True, usedefault=True, desc="unless accepted")
    filter_evidence = traits.Str("", usedefault=True, desc="what the header says of a filter")
    filter_certain = traits.Bool(False, usedefault=True, desc="it says so of this image")
    filter_choice = traits.Str("", usedefault=True, desc="what phase this was chosen before")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _PreparePhaseOutputs(RecordSpec):
    magnitude = EchoFilesOut("0 where there is no phase, else as it was prepared")
    phase = EchoFilesOut("wrapped [rad]")
    slice_axis = traits.Int(desc="across the slices of a 2-D scan, or -1")


class PreparePhase(Step):
    """Phase in radians that grows with the field (3.c, S2 step 1)."""

    input_spec = _PreparePhaseInputs
    output_spec = _PreparePhaseOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        self._results["magnitude"] = list(inputs.magnitude)
        read = self._from_complex if inputs.real else self._from_phase
        phase, missing, scaled = read(signal_mask(self._magnitude(0)))
        if missing.any():
            self._results["magnitude"] = self._blanked(runtime, missing)
        del missing
        self._refuse_copies(phase)
        slices = self._remove_slice_offsets(phase)
        alternation = self._remove_alternation(phase)
        filtered = self._look_for_filter(phase)
        choice = phase_sign(inputs.sign, inputs.manufacturer)
        if choice.sign < 0:
            np.negative(phase, out=phase)
        self._write(runtime, read_header(inputs.magnitude[0]).affine, phase=phase)
        self._results["record"] = record(
            *scaled["decisions"],
            *filtered["decisions"],
            *slices["decisions"],
            alternation["text"],
            f"phase sign: {choice.sign:+d} ({choice.reason})",
            warnings=[
                *scaled["warnings"],
                *filtered["warnings"],
                *slices["warnings"],
                choice.warning,
            ],
            **scaled["metadata"],
            **filtered["metadata"],
            **slices["metadata"],
            SliceAlternation={
                "Setting": inputs.slice_alternation,
                **{k: v for k, v in alternation.items() if k != "text"},
            },
            PhaseSign={"Setting": inputs.sign, "Sign": choice.sign, "Reason": choice.reason},
        )
        return runtime

    def _magnitude(self, echo: int) -> Float32Array:
        """Read one echo as it is by now: few are looked at, and there is the phase of all."""
        return read_volume(self._results["magnitude"][echo]).array

    def _blanked(self, runtime: Any, missing: Mask) -> list[str]:
        """Write the magnitude of every echo with 0 where there is no phase."""
        written = []
        for number, path in enumerate(self.inputs.magnitude, 1):
            volume = read_volume(path)
            volume.array[missing] = 0.0
            out = self._path(runtime, f"magnitude_echo-{number}.nii")
            written.append(str(write_volume(out, volume.array, volume.affine)))
        return written

    def _from_phase(self, signal: Mask) -> tuple[Float32Array, Mask, dict]:
        """Read the phase by one rule for all echoes; return with it where there is none."""
        inputs = self.inputs
        phase, _ = read_echoes(inputs.phase, n_threads=inputs.n_threads)
        for volume, path in zip(phase, inputs.phase, strict=True):
            check_phase(volume, path)
        broken = self._broken(~np.isfinite(phase).all(axis=0))
        phase[:, broken] = np.nan  # which the rules for the phase scale leave out
        try:
            numbers = read_phase_numbers(
                list(phase), units=inputs.phase_units or None, image_type=inputs.image_type
            )
        except ValueError as error:
            raise InputError(str(error), inputs.phase[0]) from error
        no_phase = without_phase(list(phase), numbers, signal & ~broken)
        phase[:, no_phase.any_voxel] = np.nan
        for volume in phase:
            volume[:] = to_radians(volume, numbers.scale, n_threads=inputs.n_threads)
        scale, n_broken = numbers.scale, int(np.count_nonzero(broken))
        facts = record(
            f"phase scale: {scale.rule} ({scale.description})",
            warnings=[scale.warning, _not_finite_note(n_broken), *no_phase.notes],
            PhaseScale={
                "Rule": scale.rule,
                "Slope": float(scale.slope),
                "Intercept": float(scale.intercept),
            },
            NonFiniteVoxels=n_broken,
            **no_phase.facts,
        )
        return phase, broken | no_phase.any_voxel, facts

    def _from_complex(self, signal: Mask) -> tuple[Float32Array, Mask, dict]:
        """Return the phase of real and imaginary parts, and where there is none."""
        inputs = self.inputs
        real, _ = read_echoes(inputs.real, n_threads=inputs.n_threads)
        imaginary, _ = read_echoes(inputs.imag, n_threads=inputs.n_threads)
        broken = self._broken(~(np.isfinite(real) & np.isfinite(imaginary)).all(axis=0))
        for e, part in enumerate(real):
            _, real[e] = polar(part, imaginary[e])
        real[:, broken] = 0.0
        n_broken = int(np.count_nonzero(broken))
        facts = record(
            "phase from real and imaginary parts",
            warnings=[_not_finite_note(n_broken)],
            PhaseScale={"Rule": "complex", "Slope": 1.0, "Intercept": 0.0},
            NonFiniteVoxels=n_broken,
        )
        return real, broken, facts

    def _broken(self, here: Mask) -> Mask:
        """Add the voxels whose magnitude was not finite."""
        if isinstance(self.inputs.broken, str):
            here |= read_volume(self.inputs.broken, np.bool_).array
        return here

    def _refuse_copies(self, phase: Float32Array) -> None:
        """Refuse echoes of the same phase."""
        files = self.inputs.phase or self.inputs.real
        pair = repeated_phase(list(phase))
        if pair is not None:
            raise InputError(
                f"holds the same phase as {Path(files[pair[0]]).name}, though the echo times"
                " differ: one of the two is a copy, and there is no field in them",
                files[pair[1]],
                "Export or convert the echoes again, each under a name of its own.",
            )

    def _look_for_filter(self, phase: np.ndarray) -> dict[str, Any]:
        """Refuse phase that the scanner filtered, by its header or its numbers."""
        inputs = self.inputs
        files = inputs.phase or inputs.real
        check = TOO_EARLY
        if tells_filter(inputs.last_echo_time, inputs.b0_tesla):
            size = read_volume(files[-1]).adult_voxel_size
            magnitude = self._magnitude(-1)
            head = signal_mask(magnitude)  # without what has lost its signal by then
            check = detect_filtered_phase(phase[-1], magnitude, head, size)
        evidence = inputs.filter_evidence
        because = filter_found(evidence, inputs.filter_certain, check)
        if because and inputs.refuse_filtered and not inputs.accept_filtered:
            what, fix = refusal(because)
            raise InputError(what, files[-1], fix)
        consequence = (
            "susceptibilities are too small, and large structures hollow"
            if inputs.refuse_filtered
            else "the field is not made of it here, but the quality of the phase is"
        )
        found = True if because else check.suspicious
        return record(
            f"phase filter of the scanner: {check.text}" if found is False else "",
            inputs.filter_choice,
            warnings=[
                f"the phase was filtered by the scanner ({because}): " + consequence
                if because
                else ""
            ],
            PhaseFilter={
                "Filtered": found,
                "Accepted": inputs.accept_filtered,
                "Evidence": because or evidence,
                "SpreadRad": round(float(check.value), 3) if np.isfinite(check.value) else None,
                "Choice": inputs.filter_choice,
            },
        )

    def _remove_slice_offsets(self, phase: np.ndarray) -> dict[str, Any]:
        """Undo a constant phase of every slice where two echoes show it; in place."""
        inputs = self.inputs
        magnitude = self._magnitude(0)
        head = signal_mask(magnitude)
        axis = int(inputs.slice_axis)
        self._results["slice_axis"] = axis
        setting = {"Setting": inputs.slices, "Axis": axis if axis >= 0 else None}
        if len(phase) < 2 and axis >= 0:
            steps = align_slices(phase[0], magnitude, axis)
            phase[:] = remove_slice_offsets(phase, steps)
            return record(
                f"slices along axis {axis} of a 2-D scan: the mean step of the phase between them"
                f" (changes by up to {steps.change:.2f} rad) was taken off; what it took of the"
                " field is found again from the background field",
                Slices={**setting, "LargestChangeRad": round(steps.change, 3)},
            )
        if len(phase) < 2:
            check = detect_slice_jumps(phase[0], head, magnitude=magnitude)
            if check.suspicious and check.value > _HOPELESS_JUMP:
                raise InputError(
                    f"{check.text}; with a single echo that cannot be told from the field",
                    (inputs.phase or inputs.real)[0],
                    "If it is no 3-D scan, set MRAcquisitionType to 2D in its sidecar, or [phase]"
                    " slices = '2d'.",
                )
            return record(Slices=setting)
        offsets = find_slice_offsets(phase, magnitude, inputs.echo_times)
        if offsets is not None:
            phase[:] = remove_slice_offsets(phase, offsets)
            self._results["slice_axis"] = offsets.axis
        between = phase[1] - phase[0]
        limit = _HOPELESS_CHANGE if axis < 0 else _HOPELESS_CHANGE_2D
        change, axis = slice_roughness(between, self._magnitude(1))
        if change > limit and detect_slice_jumps(between, head).value > _HOPELESS_JUMP:
            raise InputError(
                f"the phase jumps from slice to slice along axis {axis}, in every echo by another"
                f" angle (steps between the first two echoes change by up to {change:.1f} rad):"
                " no field can be found",
                (inputs.phase or inputs.real)[0],
                "Reconstruct the phase again, or acquire a 3-D scan.",
            )
        if offsets is None:
            return record(Slices=setting)
        return record(
            f"every slice along axis {offsets.axis} had a phase of its own (steps change by up to"
            f" {offsets.change:.2f} rad), found from two echoes and removed",
            Slices={**setting, "Axis": offsets.axis},
            SliceOffsets={"Axis": offsets.axis, "LargestChangeRad": round(offsets.change, 3)},
        )

    def _remove_alternation(self, phase: np.ndarray) -> dict[str, Any]:
        """Undo the sign of every second slice where the data show it; in place."""
        if self.inputs.slice_alternation == "off":
            return {"Axes": [], "text": "slice alternation: not looked for"}
        axes: list[int] = []
        magnitude = self._magnitude(0)
        while True:  # more than one axis alternates in a checkerboard
            alternation = detect_slice_alternation(
                phase[0],
                magnitude,
                second_phase=phase[1] if len(phase) > 1 else None,
                echo_times=self.inputs.echo_times[:2] if len(phase) > 1 else None,
            )
            if alternation.axis is None or alternation.axis in axes:
                break
            axes.append(alternation.axis)
            phase[:] = remove_slice_alternation(phase, alternation.axis)
        outcome = (
            f"every second slice along axis {axes} was inverted, corrected" if axes else "none"
        )
        return {
            "Axes": axes,
            "Coherence": [round(float(c), 3) for c in alternation.coherence],
            "text": f"slice alternation: {outcome}",
        }


def _not_finite_note(count: int) -> str:
    return f"{count} voxels are NaN or infinite and were left out" if count else ""
