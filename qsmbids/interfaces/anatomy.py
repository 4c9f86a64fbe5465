"""What a template of the head tells of a run (5.a)."""

from typing import Any

import numpy as np

from qsmbids.core.anatomy.carrying import brain_distance
from qsmbids.core.anatomy.guided_mask import MOST_GROWTH, guided_mask, reason_against
from qsmbids.core.anatomy.registration import LEAST_SIGNAL, register
from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.maths.parallel import numba_threads
from qsmbids.core.quality.masks import volume_ml
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.compiling import loops_of
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.io.template import load_template, write_fit

__all__ = ["GuideMask"]


class _GuideMaskInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="with the head around the brain")
    r2star = File(exists=True, desc="of the whole image [1/s]; one echo tells none")
    mask = File(exists=True, mandatory=True, desc="of the brain extraction")
    guide = traits.Str("template", usedefault=True, desc="for the record")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _GuideMaskOutputs(RecordSpec):
    mask = File(exists=True, desc="0 or 1")
    fit = File(exists=True, desc="where the template lies; undefined for no human head")


class GuideMask(Step):
    """Mask 1 without neck, face and skull base, by a template (5.a): ``core.anatomy``."""

    input_spec = _GuideMaskInputs
    output_spec = _GuideMaskOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        image = read_volume(inputs.magnitude)
        extracted = read_volume(inputs.mask, np.uint8).array > 0
        mask = extracted
        facts: dict[str, Any] = {}
        reason = reason_against(extracted, image.voxel_size)
        small = reason is not None
        if reason is None:
            with numba_threads(inputs.n_threads), loops_of("guide"):
                mask, reason, facts = self._guide(runtime, image, extracted)
        before, after = (volume_ml(m, image.voxel_size) for m in (extracted, mask))
        self._write(runtime, image.affine, mask=mask)
        note = f"Mask 1 guided by the template: {before:.0f} ml before, {after:.0f} ml after"
        warning = ""
        if reason is not None:
            unused = f"the template of the head has no part: {reason}"
            # what is no human head needs none; a head that does not fit wants a look
            note, warning = (unused, "") if small else ("", unused)
        self._results["record"] = record(
            note,
            warnings=[warning],
            MaskGuide={
                "Setting": inputs.guide,
                "Used": reason is None,
                "Reason": reason or "",
                **facts,
                "VolumeMl": round(after, 2),
            },
        )
        return runtime

    def _guide(
        self, runtime: Any, image: Volume, extracted: Mask
    ) -> tuple[Mask, str | None, dict[str, Any]]:
        """Return the mask, why it is the extracted one, and the fit of the template."""
        template = load_template()
        r2star = self._decay(image.array, extracted)
        fit = register(template, image.affine, extracted, magnitude=image.array, r2star=r2star)
        facts = {
            "Channels": list(fit.channels),
            "Information": float(fit.information),
            "Lead": float(fit.lead),
            "Size": float(fit.size),
            "Coverage": float(fit.coverage),
        }
        # a fit that is of no use is handed on as well: nobody need try again
        self._results["fit"] = str(write_fit(self._path(runtime, "fit.npz"), fit))
        if not fit.usable:
            return extracted, fit.reason, facts
        mask = guided_mask(
            extracted,
            brain_distance(fit, template, image.array.shape),
            image.voxel_size,
            magnitude=image.array,
            r2star=r2star,
        )
        growth = np.count_nonzero(mask) / np.count_nonzero(extracted)
        if growth > MOST_GROWTH:
            return extracted, f"the brain would be {growth:.2f} times as large", facts
        return mask, None, facts

    def _decay(self, magnitude: Float32Array, extracted: Mask) -> Float32Array | None:
        """Return R2* wherever there is signal, for muscle decays faster than brain."""
        if not isinstance(self.inputs.r2star, str):
            return None
        seen = magnitude > LEAST_SIGNAL * np.percentile(magnitude[extracted], 90)
        r2star = read_volume(self.inputs.r2star).array
        r2star[~seen] = 0
        return r2star
