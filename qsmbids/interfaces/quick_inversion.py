"""Dipole inversion by one division in k-space, for quick looks."""

from typing import Any

from qsmbids.core.inversion.l2 import closed_form_l2
from qsmbids.core.inversion.tkd import tkd
from qsmbids.interfaces.base import record, traits
from qsmbids.interfaces.inversion import Inversion, InversionInputSpec
from qsmbids.io.nifti import Volume

__all__ = ["InvertL2", "InvertTkd"]


class _InvertTkdInputs(InversionInputSpec):
    threshold = traits.Float(0.2, usedefault=True)


class InvertTkd(Inversion):
    """Thresholded division in k-space: ``core.inversion.tkd.tkd``."""

    input_spec = _InvertTkdInputs

    def _invert(
        self, field: Volume, weights: Any, support: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        inputs = self.inputs
        result = tkd(
            field.array,
            support,
            weights,
            field.adult_voxel_size,
            inputs.b0_direction,
            centre_frequency=inputs.centre_frequency,
            threshold=inputs.threshold,
            n_threads=inputs.n_threads,
        )
        parameters = {"TkdThreshold": inputs.threshold}
        doi = "https://doi.org/10.1002/mrm.22135"
        return result.chi, support, _said("TKD", parameters, doi, inputs.holes)


class _InvertL2Inputs(InversionInputSpec):
    lambda_ = traits.Float(1e-2, usedefault=True)


class InvertL2(Inversion):
    """Closed form with a penalty on the squared gradient: ``core.inversion.l2.closed_form_l2``."""

    input_spec = _InvertL2Inputs

    def _invert(
        self, field: Volume, weights: Any, support: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        inputs = self.inputs
        result = closed_form_l2(
            field.array,
            support,
            weights,
            field.adult_voxel_size,
            inputs.b0_direction,
            centre_frequency=inputs.centre_frequency,
            gradient_l2_penalty=inputs.lambda_,
            n_threads=inputs.n_threads,
        )
        parameters = {"L2Lambda": inputs.lambda_}
        doi = "https://doi.org/10.1002/jmri.24365"
        return result.chi, support, _said("closed-form L2", parameters, doi, inputs.holes)


def _said(name: str, parameters: dict[str, Any], doi: str, holes: str) -> dict[str, Any]:
    return record(
        f"{name}: a quick look, without the weights of the data",
        EstimationAlgorithm=name,
        EstimationReference=doi,
        DipoleInversion={"Name": name, "Parameters": {**parameters, "Holes": holes}},
    )
