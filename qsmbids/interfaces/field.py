"""Unwrapping, echo combination and the weights of the data (Table S2.1)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qsmbids.core.field.echo_combination import field_noise, noise_std, weighted_echo_average
from qsmbids.core.field.nonlinear_fit import field_from_fit, noise_from_fit, nonlinear_fit
from qsmbids.core.field.region_turns import RegionTurns, mend_region_turns
from qsmbids.core.field.relative_residual import relative_residual, residual_weight
from qsmbids.core.field.romeo import unwrap_echoes
from qsmbids.core.field.romeo_weights import quality_map
from qsmbids.core.field.weights import sepia_weights
from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.phase.magnitude import root_sum_of_squares
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    EchoesInputSpec,
    EchoFilesIn,
    EchoFilesOut,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.compiling import loops_of
from qsmbids.io.nifti import read_echoes, read_volume

#: Of a magnitude without noise.
_SNR_OF_NOISELESS = 1000
#: Share of Mask 1 with too large a residual from which the user should know, and from which no
#: map is made; a signal-to-noise ratio of 10 leaves 0.2.
_DOUBTFUL_FRACTION, _USELESS_FRACTION = 0.2, 0.5


class _UnwrapPhaseInputs(EchoesInputSpec):
    measured = EchoFilesIn(
        "phase with its offset, for the quality of the whole image [rad]", mandatory=True
    )
    weights = traits.Str("romeo3", usedefault=True, desc="ROMEO edge weights")
    slice_axis = traits.Int(-1, usedefault=True, desc="across the slices of a 2-D scan, or -1")
    regions = traits.Enum(
        "mended", "as-grown", usedefault=True, desc="regions that are whole turns off"
    )


class _UnwrapPhaseOutputs(RecordSpec):
    phase = EchoFilesOut("unwrapped [rad], 0 outside the mask")
    quality = File(exists=True, desc="ROMEO voxel quality, 0..1, whole image")


class UnwrapPhase(Step):
    """ROMEO template unwrapping and its quality map (4.a, Table S2.1)."""

    input_spec = _UnwrapPhaseInputs
    output_spec = _UnwrapPhaseOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        # removal of the offset leaves nothing outside Mask 1, where the quality is wanted too
        measured, _ = read_echoes(inputs.measured[:2], n_threads=inputs.n_threads)
        magnitude, _ = read_echoes(inputs.magnitude[:2], n_threads=inputs.n_threads)
        with loops_of("unwrapping"):
            quality = phase_quality(
                measured, magnitude, inputs.echo_times, inputs.weights, inputs.n_threads
            )
            del measured
            phase, affine = read_echoes(inputs.phase, n_threads=inputs.n_threads)
            mask = read_volume(inputs.mask, np.uint8).array > 0
            slice_axis = inputs.slice_axis if inputs.slice_axis >= 0 else None
            mended: list[RegionTurns] = []

            def mend(template: Float32Array) -> Float32Array:
                found = mend_region_turns(template, magnitude[0], mask, slice_axis=slice_axis)
                mended.append(replace(found, phase=template[:0]))
                return found.phase

            unwrapped = unwrap_echoes(
                phase,
                magnitude[0],
                inputs.echo_times,
                mask,
                weights=inputs.weights,
                slice_axis=slice_axis,
                n_threads=inputs.n_threads,
                overwrite=True,
                mend=mend if inputs.regions == "mended" else None,
            )
        self._write(runtime, affine, phase=unwrapped, quality=quality)
        sliced = inputs.slice_axis >= 0
        how = f"{inputs.weights}{', template echo 1' if len(phase) > 1 else ''}"
        self._results["record"] = record(
            f"unwrapped with ROMEO ({how}{', slice by slice' if sliced else ''})",
            *(_about_regions(found) for found in mended),
            Unwrapping={
                "Name": "ROMEO",
                "Weights": inputs.weights,
                "Regions": inputs.regions,
                **({"MovedVoxels": mended[0].n_voxels} if mended else {}),
                **({"TemplateEcho": 1} if len(phase) > 1 else {}),
                **({"SliceAxis": inputs.slice_axis} if sliced else {}),
            },
            PhaseQuality={"Name": "ROMEO", "Weights": inputs.weights},
        )
        return runtime


def _about_regions(found: RegionTurns) -> str:
    """Say what was done to regions that were whole turns off."""
    if found.too_many:
        return "the unwrapped phase jumps in too many places to mend regions"
    if not found.n_voxels:
        return "no region of the unwrapped phase is a turn off"
    regions = "1 region" if found.n_regions == 1 else f"{found.n_regions} regions"
    return (
        f"{found.n_voxels} voxels in {regions} moved by whole turns, as the phase then runs"
        " straighter across their borders"
    )


class _CombineEchoesInputs(EchoesInputSpec):
    weighting = traits.Str("phase_snr", usedefault=True, desc="weights of the echoes")


class _CombineEchoesOutputs(RecordSpec):
    field = File(exists=True, desc="total field [Hz], 0 outside the mask")
    noise = File(exists=True, desc="standard deviation of the field [Hz]")


class CombineEchoes(Step):
    """Weighted echo averaging to the total field (4.b, 4.c, Table S2.1)."""

    input_spec = _CombineEchoesInputs
    output_spec = _CombineEchoesOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase, n_threads=inputs.n_threads)
        magnitude, _ = read_echoes(inputs.magnitude, n_threads=inputs.n_threads)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        field = weighted_echo_average(
            phase,
            magnitude,
            inputs.echo_times,
            weighting=inputs.weighting,
            n_threads=inputs.n_threads,
        )
        noise, sigma, warning = averaged_noise(
            magnitude, mask, inputs.echo_times, inputs.weighting
        )
        field[~mask] = 0.0
        self._write(runtime, affine, field=field, noise=noise)
        median = float(np.median(noise[mask]))
        snr = float(np.median(magnitude[0][mask]) / sigma) if sigma > 0 else 0.0
        several = len(phase) > 1
        self._results["record"] = record(
            f"echoes averaged with weights {inputs.weighting}"
            if several
            else "phase of the single echo divided by its echo time",
            f"noise: magnitude SNR {snr:.0f} at echo 1, field {median:.3f} Hz (median in Mask 1)",
            warnings=[warning],
            EchoCombination={"Name": "weighted echo averaging", "Weighting": inputs.weighting}
            if several
            else {"Name": "single echo"},
            FieldNoiseMedianHz=median,
            MagnitudeSNR=snr,
        )
        return runtime


class _FitFieldInputs(EchoesInputSpec):
    weights = traits.Str("romeo4", usedefault=True, desc="ROMEO edge weights of the field")
    quality_weights = traits.Str("romeo3", usedefault=True, desc="those of the quality")


class _FitFieldOutputs(RecordSpec):
    field = File(exists=True, desc="total field [Hz], 0 outside the mask")
    noise = File(exists=True, desc="standard deviation of the field [Hz]")
    quality = File(exists=True, desc="ROMEO voxel quality, 0..1, whole image")


class FitField(Step):
    """Nonlinear complex fit, then spatial unwrapping (4.c): ``core.field.nonlinear_fit``."""

    input_spec = _FitFieldInputs
    output_spec = _FitFieldOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        phase, affine = read_echoes(inputs.phase, n_threads=inputs.n_threads)
        magnitude, _ = read_echoes(inputs.magnitude, n_threads=inputs.n_threads)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        fit = nonlinear_fit(phase, magnitude, inputs.echo_times, n_threads=inputs.n_threads)
        field = field_from_fit(
            fit,
            root_sum_of_squares(magnitude),
            mask,
            weights=inputs.weights,
            n_threads=inputs.n_threads,
        )
        sigma, warning = magnitude_noise(magnitude, mask)
        noise = noise_from_fit(fit, sigma)
        quality = phase_quality(
            phase, magnitude, inputs.echo_times, inputs.quality_weights, inputs.n_threads
        )
        self._write(runtime, affine, field=field, noise=noise, quality=quality)
        median = float(np.median(noise[mask]))
        self._results["record"] = record(
            f"nonlinear complex fit over echoes {1e3 * fit.spacing:.2f} ms apart, then ROMEO",
            f"noise of the field {median:.3f} Hz (median in Mask 1)",
            warnings=[warning],
            EchoCombination={"Name": "nonlinear complex fit", "EchoSpacing": float(fit.spacing)},
            Unwrapping={"Name": "ROMEO", "FitWeights": inputs.weights},
            PhaseQuality={"Name": "ROMEO", "Weights": inputs.quality_weights},
            FieldNoiseMedianHz=median,
        )
        return runtime


class _WeightDataInputs(EchoesInputSpec):
    field = File(exists=True, desc="total field [Hz], for the residual")
    noise = File(exists=True, mandatory=True, desc="field noise [Hz]")
    r2star = File(
        exists=True, desc="R2* [1/s]; without it no residual is taken", requires=["field"]
    )
    threshold = traits.Float(0.3, usedefault=True, desc="of the relative residual")


class _WeightDataOutputs(RecordSpec):
    weights = File(exists=True, desc="data weights, median about 1 in the mask")
    residual = File(exists=True, desc="relative residual of the signal model")


class WeightData(Step):
    """Noise weights, lowered where the signal model does not hold (Table S2.1, last row)."""

    input_spec = _WeightDataInputs
    output_spec = _WeightDataOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        noise = read_volume(inputs.noise)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        factor, lost, warning = None, 0.0, ""
        residual = np.zeros_like(noise.array)
        if inputs.r2star:
            phase, _ = read_echoes(inputs.phase, n_threads=inputs.n_threads)
            magnitude, _ = read_echoes(inputs.magnitude, n_threads=inputs.n_threads)
            residual = relative_residual(
                phase,
                magnitude,
                inputs.echo_times,
                read_volume(inputs.field).array,
                read_volume(inputs.r2star).array,
                mask=mask,
                n_threads=inputs.n_threads,
            )
            residual[~mask] = 0.0
            factor = residual_weight(residual, inputs.threshold)
            lost = float(np.mean(residual[mask] >= inputs.threshold))
            if lost > _USELESS_FRACTION:
                raise InputError(
                    f"{100 * lost:.0f} % of Mask 1 has a relative residual above"
                    f" {inputs.threshold}: the echoes do not fit one field, and no map of them"
                    " would mean anything",
                    "phase of the echoes",
                    "Look at the phase images: wrong echo times or order of the echoes, echoes of"
                    " different scans, motion, a mask of mostly air (--mask). A BIDS filter file"
                    " leaves single echoes out.",
                )
            if lost > _DOUBTFUL_FRACTION:
                warning = (
                    f"{100 * lost:.0f} % of Mask 1 has a relative residual above"
                    f" {inputs.threshold}: check echo times, readout polarity and motion"
                )
        weights = sepia_weights(noise.array, mask, factor)
        self._write(runtime, noise.affine, weights=weights, residual=residual)
        used = bool(inputs.r2star)
        reason = "fewer than three echoes" if isinstance(inputs.field, str) else "no total field"
        self._results["record"] = record(
            f"relative residual >= {inputs.threshold} in {100 * lost:.2f} % of Mask 1: weight 0"
            if used
            else f"{reason}: weights without a relative residual",
            warnings=[warning],
            DataWeights={
                "Name": "inverse field noise",
                "RelativeResidual": used,
                **(
                    {"RelativeResidualThreshold": inputs.threshold, "ExcludedFraction": lost}
                    if used
                    else {}
                ),
            },
        )
        return runtime


def phase_quality(
    measured: Float32Array,
    magnitude: Float32Array,
    echo_times: Sequence[float],
    weights: str,
    n_threads: int,
) -> Float32Array:
    """Return the ROMEO quality of the whole image from its first two echoes, or the only one."""
    several = len(measured) > 1
    return quality_map(
        measured[0],
        magnitude=magnitude[0],
        phase2=measured[1] if several else None,
        echo_times=echo_times[:2] if several else None,
        weights=weights,
        n_threads=n_threads,
    )


def averaged_noise(
    magnitude: Float32Array, mask: Mask, echo_times: Sequence[float], weighting: str
) -> tuple[Float32Array, float, str]:
    """Return the noise of the averaged field [Hz], that of one magnitude image, and a warning."""
    sigma, warning = magnitude_noise(magnitude, mask)
    return field_noise(magnitude, echo_times, sigma, weighting=weighting), sigma, warning


def magnitude_noise(magnitude: Float32Array, mask: Mask) -> tuple[float, str]:
    """Return the noise of one magnitude image, and a warning where the images show none.

    A noise of zero would be one that is not known, and leave the data without weights.
    """
    sigma = noise_std(magnitude, mask)
    if sigma > 0:
        return sigma, ""
    typical = float(np.median(magnitude[0][mask]))
    return typical / _SNR_OF_NOISELESS, (
        "the magnitude has no noise at all, as of a simulation or a smoothed image: the data count"
        f" as if its signal-to-noise ratio were {_SNR_OF_NOISELESS}"
    )
