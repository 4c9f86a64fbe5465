"""What a template of the head tells of a run (5.a)."""

from typing import Any

import numpy as np

from qsmbids.core.anatomy.carrying import brain_distance, guided_mask
from qsmbids.core.anatomy.registration import register
from qsmbids.core.quality.masks import volume_ml
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.nifti import read_volume
from qsmbids.io.template import load_template, write_fit

__all__ = ["GuideMask"]


class _GuideMaskInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="with the head around the brain")
    mask = File(exists=True, mandatory=True, desc="of the brain extraction")
    guide = traits.Str("template", usedefault=True, desc="for the record")


class _GuideMaskOutputs(RecordSpec):
    mask = File(exists=True, desc="0 or 1")
    fit = File(exists=True, desc="where the template lies; undefined where it did not fit")


class GuideMask(Step):
    """Mask 1 without neck, face and skull base, by a template (5.a): ``core.anatomy``."""

    input_spec = _GuideMaskInputs
    output_spec = _GuideMaskOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        image = read_volume(inputs.magnitude)
        extracted = read_volume(inputs.mask, np.uint8).array > 0
        template = load_template()
        fit = register(template, image.affine, extracted, magnitude=image.array)
        facts = {
            "Setting": inputs.guide,
            "Used": fit.usable,
            "Information": float(fit.information),
            "Size": float(fit.size),
            "Coverage": float(fit.coverage),
        }
        mask, warning = extracted, ""
        if fit.usable:
            self._results["fit"] = str(write_fit(self._path(runtime, "fit.npz"), fit))
            distance = brain_distance(fit, template, image.array.shape)
            mask = guided_mask(extracted, distance, image.voxel_size)
        else:
            warning = f"the template of the head was not used: {fit.reason}"
        before, after = (volume_ml(m, image.voxel_size) for m in (extracted, mask))
        self._write(runtime, image.affine, mask=mask)
        self._results["record"] = record(
            f"Mask 1 guided by the template: {before:.0f} ml before, {after:.0f} ml after"
            if fit.usable
            else "",
            warnings=[warning],
            MaskGuide={**facts, "VolumeMl": round(after, 2)},
        )
        return runtime
