"""Background field removal and Mask 4 (Table S2.2)."""

from typing import Any

import numpy as np

from qsmbids.core.background.pdf import pdf
from qsmbids.core.masks.masking import (
    erode,
    erode_rim,
    largest_piece_of_each_part,
    mask_with_holes,
)
from qsmbids.core.maths.arrays import EmptyMaskError, Float32Array, Mask
from qsmbids.core.maths.polynomial import remove_polynomial
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    settings_record,
    traits,
)
from qsmbids.io.nifti import Volume, read_volume
from qsmbids.methods.background.data import BackgroundData, BackgroundRemoval
from qsmbids.methods.background_field import BACKGROUND
from qsmbids.methods.declaration import Method


class _RemoveBackgroundFieldInputs(BaseInterfaceInputSpec):
    field = File(exists=True, mandatory=True, desc="total field [Hz]")
    weights = File(exists=True, mandatory=True, desc="data weights")
    mask3 = File(exists=True, mandatory=True)
    mask2 = File(exists=True, mandatory=True, desc="for the holes of Mask 4")
    unsure = File(exists=True, desc="voxels of unsure phase, taken out of the eroded Mask 3")
    method = traits.Enum(*BACKGROUND, mandatory=True)
    settings = traits.Dict(mandatory=True, desc="of the method")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    residual_removal = traits.Enum("auto", "on", "off", usedefault=True)
    slices_of_one_echo = traits.Bool(False, usedefault=True, desc="whose constants are of a model")
    remove_residual_b1_field = traits.Bool(False, usedefault=True)
    erode_before = traits.Int(1, usedefault=True, desc="[voxels]")
    erode_after = traits.Int(0, usedefault=True, desc="[voxels]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _RemoveBackgroundFieldOutputs(RecordSpec):
    local_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    background_field = File(exists=True, desc="[Hz], 0 outside Mask 4")
    mask4 = File(exists=True, desc="with the holes of unreliable phase")
    mask4_filled = File(exists=True, desc="support of the maps, without holes")


class RemoveBackgroundField(Step):
    """Background field removal by the method of the settings (6.a): ``methods.background``."""

    input_spec = _RemoveBackgroundFieldInputs
    output_spec = _RemoveBackgroundFieldOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        method = BACKGROUND[inputs.method]
        settings = method.settings(**inputs.settings)
        total = read_volume(inputs.field)
        mask3 = read_volume(inputs.mask3, np.uint8).array > 0
        reliable = read_volume(inputs.mask2, np.uint8).array > 0
        removal, local, mask4 = self._remove(total, mask3, method, settings)
        local[~mask4] = 0.0
        self._write(
            runtime,
            total.affine,
            local_field=local,
            background_field=np.where(mask4, total.array - local, np.float32(0)),
            mask4=mask_with_holes(mask4, reliable),
            mask4_filled=mask4,
        )
        again = self._again()
        kept = int(np.count_nonzero(mask4)) / max(1, int(np.count_nonzero(mask3)))
        common = {
            "ResidualRemoval": inputs.residual_removal,
            "RemoveResidualB1Field": inputs.remove_residual_b1_field,
            "ErodeBefore": inputs.erode_before,
            "ErodeAfter": inputs.erode_after,
        }
        self._results["record"] = record(
            f"{method.title} {removal.text}{', then PDF' if again else ''}:"
            f" Mask 4 keeps {100 * kept:.1f} % of Mask 3",
            EstimationAlgorithm=method.title,
            EstimationReference=method.doi,
            BackgroundRemoval={
                "Name": method.title,
                "Parameters": {**settings_record(settings), **removal.facts, **common},
                "SecondPass": again,
            },
        )
        return runtime

    def _again(self) -> bool:
        """Tell whether what is left of the background is looked for once more."""
        if self.inputs.residual_removal != "auto":
            return bool(self.inputs.residual_removal == "on")
        return bool(
            self.inputs.slices_of_one_echo and self.inputs.method == next(iter(BACKGROUND))
        )

    def _remove(
        self, total: Volume, mask3: Mask, method: Method, settings: Any
    ) -> tuple[BackgroundRemoval, Float32Array, Mask]:
        """Return what the method made of the field, and its field and Mask 4 after the rest."""
        inputs = self.inputs
        known = erode_rim(mask3, inputs.erode_before)
        if isinstance(inputs.unsure, str):
            known = _without(known, read_volume(inputs.unsure, np.uint8).array > 0)
        try:
            data = BackgroundData(
                field=total.array,
                mask=known,
                weights=read_volume(inputs.weights).array,
                voxel_size=total.adult_voxel_size,
                true_voxel_size=total.voxel_size,
                length_scale=total.length_scale,
                b0_direction=inputs.b0_direction,
                n_threads=inputs.n_threads,
            )
            removal = method.compute(data, settings)
            local, mask4 = removal.result.local_field, removal.result.mask
            if self._again():
                local = pdf(
                    local,
                    mask4,
                    data.voxel_size,
                    data.b0_direction,
                    weights=data.weights,
                    n_threads=data.n_threads,
                ).local_field
            if inputs.erode_after:
                mask4 = erode(mask4, inputs.erode_after)
            if inputs.remove_residual_b1_field:
                local = remove_polynomial(local, mask4)
        except EmptyMaskError as error:
            raise InputError(
                f"background removal left nothing ({error})",
                inputs.mask3,
                "The brain mask is too small for the settings of background removal; check it.",
            ) from error
        except ValueError as error:
            raise InputError(
                f"{method.title} cannot remove the background of it: {error}",
                inputs.field,
                "Look at the total field and at the settings of background removal.",
            ) from error
        return removal, local, mask4


def _without(mask: Mask, taken: Mask) -> Mask:
    """Return a mask less some voxels and less what hung together with the rest by them alone."""
    left = mask & ~taken
    return largest_piece_of_each_part(left, mask) if (mask & taken).any() and left.any() else left
