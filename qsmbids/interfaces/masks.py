"""Masks 1 to 3 of the paper's Figure 5."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.core.inversion.b0_direction import b0_direction_from_affine
from qsmbids.core.masks.bet import bet
from qsmbids.core.masks.mask_values import count_parts
from qsmbids.core.masks.masking import (
    background_mask,
    erode_rim,
    inverse_noise_mask,
    largest_component,
    reliable_phase_mask,
)
from qsmbids.core.masks.unsure_rim import MOST_SHARE, STEEP, find_unsure_rim
from qsmbids.core.quality.masks import volume_ml
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.compiling import loops_of
from qsmbids.io.masks import check_brightness, read_mask
from qsmbids.io.nifti import Volume, read_volume

#: A rat's brain has 2 to 3 ml; what BET leaves of a head it does not know is a random piece.
_SMALLEST_BRAIN_ML = 4.0
#: Share of Mask 3 with unsure phase from which the user should know.
_MUCH_UNSURE = 0.05


class _MaskOutputs(RecordSpec):
    mask = File(exists=True, desc="0 or 1")


class _ExtractBrainInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="first echo or combined magnitude")
    fractional_intensity = traits.Float(0.5, usedefault=True)
    threshold_gradient = traits.Float(0.0, usedefault=True)
    image = traits.Str("first-echo", usedefault=True, desc="which magnitude, for the record")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class ExtractBrain(Step):
    """Mask 1 by the built-in BET (5.a): ``core.masks.bet.bet``."""

    input_spec = _ExtractBrainInputs
    output_spec = _MaskOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        image = read_volume(inputs.magnitude)
        try:
            with loops_of("brain"):
                mask = bet(
                    image.array,
                    image.voxel_size,
                    fractional_intensity=inputs.fractional_intensity,
                    gradient=inputs.threshold_gradient,
                    superior=b0_direction_from_affine(image.affine),
                    n_threads=inputs.n_threads,
                )
        except ValueError as error:
            raise InputError(
                f"no brain was found ({error})", inputs.magnitude, "Give a mask with --mask."
            ) from error
        volume = volume_ml(mask, image.voxel_size)
        if volume < _SMALLEST_BRAIN_ML:
            raise InputError(
                f"the brain extraction has left {volume:.2g} ml, which is no human brain",
                inputs.magnitude,
                "Give a mask with --mask.",
            )
        self._write(runtime, image.affine, mask=mask)
        self._results["record"] = _brain_record(
            mask,
            image,
            "built-in BET",
            parameters={
                "fractional_intensity": inputs.fractional_intensity,
                "threshold_gradient": inputs.threshold_gradient,
                "image": inputs.image,
            },
        )
        return runtime


class _ConformMaskInputs(BaseInterfaceInputSpec):
    mask = File(
        exists=True, mandatory=True, desc="mask; see core.masks.mask_values for its values"
    )
    like = File(exists=True, mandatory=True, desc="image whose grid the mask must have")
    origin = traits.Str("given by the user", usedefault=True, desc="for the record")
    parameters = traits.Dict(usedefault=True, desc="of the program that made it, for the record")
    drawn = traits.Bool(True, usedefault=True, desc="by a person: all of its parts are wanted")


class ConformMask(Step):
    """Take Mask 1 from FSL's bet or from the user, in the voxel order of the run."""

    input_spec = _ConformMaskInputs
    output_spec = _MaskOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        image = read_volume(inputs.like)
        values = read_mask(Path(inputs.mask), image)
        if not inputs.drawn:
            mask = largest_component(values.inside)
            self._write(runtime, image.affine, mask=mask)
            self._results["record"] = _brain_record(
                mask, image, inputs.origin, parameters=dict(inputs.parameters)
            )
            return runtime
        brightness = check_brightness(values.inside, image.array, inputs.mask)
        self._write(runtime, image.affine, mask=values.inside)
        n_parts, n_holes = count_parts(values.inside)
        self._results["record"] = _brain_record(
            values.inside,
            image,
            inputs.origin,
            f"mask values: {values.text}",
            f"the given mask has {_counted(n_parts, 'part')} and {_counted(n_holes, 'hole')};"
            " it is used as it is",
            warnings=[values.warning, brightness],
            GivenMask={
                "Values": values.kind,
                "Threshold": values.threshold,
                "Parts": n_parts,
                "Holes": n_holes,
            },
        )
        return runtime


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _brain_record(
    mask: np.ndarray,
    image: Volume,
    origin: str,
    *decisions: str,
    parameters: dict[str, Any] | None = None,
    warnings: Sequence[str] = (),
    **metadata: Any,
) -> dict:
    """Describe Mask 1; its size is a quality measure, for a template may cut it yet."""
    volume = volume_ml(mask, image.voxel_size)
    size = f"{volume:.0f}" if volume >= 10 else f"{volume:.2g}"
    small_head = image.length_scale != 1.0
    if small_head:
        decisions += (
            f"small head: the lengths of the settings count {image.length_scale:.3g} times",
        )
        metadata["LengthScale"] = image.length_scale
    return record(
        f"Mask 1: {origin}, {size} ml",
        *decisions,
        warnings=list(warnings),
        BrainExtraction={
            "Name": origin,
            "Parameters": parameters or {},
            "VolumeMl": round(volume, 2 if volume >= 10 else 5),
        },
        **metadata,
    )


class _FindReliablePhaseInputs(BaseInterfaceInputSpec):
    measure = traits.Enum(
        "romeo-quality", "inverse-noise", "relative-residual", "none", usedefault=True
    )
    quality = File(exists=True, mandatory=True, desc="ROMEO quality, 0..1")
    noise = File(exists=True, mandatory=True, desc="field noise [Hz], whole image")
    residual = File(exists=True, mandatory=True, desc="relative residual")
    mask = File(exists=True, mandatory=True, desc="Mask 1, for the record")
    quality_threshold = traits.Float(0.3, usedefault=True)
    inverse_noise_factor = traits.Float(1.0, usedefault=True)
    residual_threshold = traits.Float(0.3, usedefault=True)


class FindReliablePhase(Step):
    """Mask 2 by a threshold on the phase quality (5.a)."""

    input_spec = _FindReliablePhaseInputs
    output_spec = _MaskOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        brain = read_volume(inputs.mask, np.uint8)
        measure, untested = inputs.measure, ""
        if measure == "relative-residual":
            residual = read_volume(inputs.residual).array
            if not residual.any():  # there was nothing to take one of
                measure = "none"
                untested = "no relative residual was taken, so all phase counts as reliable"
        if measure == "romeo-quality":
            threshold = inputs.quality_threshold
            mask = reliable_phase_mask(read_volume(inputs.quality).array, threshold)
        elif measure == "inverse-noise":
            threshold = inputs.inverse_noise_factor
            mask = inverse_noise_mask(read_volume(inputs.noise).array, threshold)
        elif measure == "relative-residual":
            threshold = inputs.residual_threshold
            mask = residual < threshold
        else:
            threshold = 0.0
            mask = np.ones(brain.array.shape, dtype=bool)
        inside = brain.array > 0
        lost = 1.0 - float(np.mean(mask[inside]))
        self._write(runtime, brain.affine, mask=mask)
        self._results["record"] = record(
            f"Mask 2: {measure}, threshold {threshold:g}; unreliable in"
            f" {100 * lost:.2f} % of Mask 1"
            if measure != "none"
            else "Mask 2: none, all voxels count as reliable",
            warnings=[
                untested,
                f"the phase is unreliable in {100 * lost:.0f} % of Mask 1: look at the quality map"
                if lost > 0.3
                else "",
            ],
            ReliablePhase={
                "Measure": measure,
                **({} if measure == "none" else {"Threshold": threshold}),
                "UnreliableFraction": lost,
            },
        )
        return runtime


class _FillBackgroundMaskInputs(BaseInterfaceInputSpec):
    mask1 = File(exists=True, mandatory=True)
    mask2 = File(exists=True, mandatory=True)
    closing_mm = traits.Float(2.0, usedefault=True)


class FillBackgroundMask(Step):
    """Mask 3: Mask 1 times Mask 2 with its holes filled (5.b)."""

    input_spec = _FillBackgroundMaskInputs
    output_spec = _MaskOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        brain = read_volume(inputs.mask1, np.uint8)
        reliable = read_volume(inputs.mask2, np.uint8).array > 0
        mask1 = brain.array > 0
        if not (mask1 & reliable).any():
            raise InputError(
                "no voxel of the brain has reliable phase",
                inputs.mask2,
                "Check the phase images, or lower [masks] quality_threshold.",
            )
        mask3 = background_mask(
            mask1, reliable, closing_mm=inputs.closing_mm, voxel_size=brain.adult_voxel_size
        )
        filled = int(np.count_nonzero(mask3 & ~reliable))
        cut = int(np.count_nonzero(mask1 & ~mask3))
        self._write(runtime, brain.affine, mask=mask3)
        self._results["record"] = record(
            f"Mask 3: {volume_ml(mask3, brain.voxel_size):.4g} ml; {filled} unreliable voxels"
            f" inside were filled, {cut} at the rim were cut",
            FilledVoxels=filled,
            ClosingMm=inputs.closing_mm,
        )
        return runtime


class _FindUnsureRimInputs(BaseInterfaceInputSpec):
    field = File(exists=True, mandatory=True, desc="total field [Hz], unwrapped")
    mask2 = File(exists=True, mandatory=True)
    mask3 = File(exists=True, mandatory=True)
    erode_before = traits.Int(1, usedefault=True, desc="[voxels], as before background removal")
    turn_hz = traits.Float(mandatory=True, desc="of the phase that was unwrapped in space")
    slice_axis = traits.Int(-1, usedefault=True, desc="across the slices of a 2-D scan, or -1")


class _FindUnsureRimOutputs(RecordSpec):
    unsure = File(exists=True, desc="0 or 1; to be left out of background removal")


class FindUnsureRim(Step):
    """Rim where the phase is too steep to be unwrapped: ``core.masks.unsure_rim``."""

    input_spec = _FindUnsureRimInputs
    output_spec = _FindUnsureRimOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        total = read_volume(inputs.field)
        mask = erode_rim(read_volume(inputs.mask3, np.uint8).array > 0, inputs.erode_before)
        unsure = find_unsure_rim(
            total.array,
            mask,
            read_volume(inputs.mask2, np.uint8).array > 0,
            inputs.turn_hz,
            slice_axis=inputs.slice_axis if inputs.slice_axis >= 0 else None,
        )
        n_voxels = int(np.count_nonzero(unsure))
        share = n_voxels / max(1, int(np.count_nonzero(mask)))
        too_many = share > MOST_SHARE
        if too_many:
            unsure = np.zeros_like(unsure)
        self._write(runtime, total.affine, unsure=unsure)
        steep = f"{n_voxels} voxels at the rim ({100 * share:.2f} % of Mask 3)"
        steep = f"the phase of {steep} is too steep to be unwrapped surely"
        done = "too many to be left out" if too_many else "left out of background removal"
        self._results["record"] = record(
            f"{steep}: {done}" if n_voxels else "",
            warnings=[
                f"{steep}, {done}: look at the total field" if share > _MUCH_UNSURE else "",
            ],
            UnsureRim={
                "Setting": "removed",
                "SteepTurns": STEEP,
                "TurnHz": inputs.turn_hz,
                "Voxels": n_voxels,
                "Removed": not too_many,
            },
        )
        return runtime
