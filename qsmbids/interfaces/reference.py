"""Reference regions and referencing of the susceptibility map (section 8)."""

from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.core.reference.csf import find_csf
from qsmbids.core.reference.kinds import REFERENCES
from qsmbids.core.reference.reference import apply_reference, reference_value, region_statistics
from qsmbids.errors import InputError
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.masks import read_mask
from qsmbids.io.nifti import read_volume, write_text

#: Columns of the table of reference regions.
COLUMNS = (
    "reference",
    "region",
    "n_voxels",
    "volume_ml",
    "mean",
    "std",
    "median",
    "p05",
    "p95",
    "reference_value",
)
#: What a region is called in the table.
NAMES = {
    "brain": "wholebrain",
    "csf": "csf",
    "white_matter": "whitematter",
    "internal_capsule": "internalcapsule",
    "given": "region",
}


class _RegionOutputs(RecordSpec):
    region = File(exists=True, desc="reference region; undefined if there is none")


class _FindCsfInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, desc="[ppm], to leave out choroid plexus")
    r2star = File(exists=True, mandatory=True, desc="[1/s]")
    magnitude = File(exists=True, mandatory=True, desc="combined")
    mask = File(exists=True, mandatory=True, desc="support of chi")
    r2star_threshold = traits.Float(5.0, usedefault=True, desc="[1/s]")
    centre_radius_mm = traits.Float(30.0, usedefault=True)
    smallest_volume_ml = traits.Float(0.5, usedefault=True)
    largest_volume_ml = traits.Float(150.0, usedefault=True)


class FindCsf(Step):
    """Fluid of the ventricles as a reference (8.c): ``core.reference.csf.find_csf``."""

    input_spec = _FindCsfInputs
    output_spec = _RegionOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        mask = read_volume(inputs.mask, np.uint8)
        chi = read_volume(inputs.chi).array if isinstance(inputs.chi, str) else None
        csf = find_csf(
            read_volume(inputs.r2star).array,
            read_volume(inputs.magnitude).array,
            mask.array > 0,
            mask.adult_voxel_size,
            chi,
            r2star_threshold=inputs.r2star_threshold,
            centre_radius_mm=inputs.centre_radius_mm,
            smallest_volume_ml=inputs.smallest_volume_ml,
            largest_volume_ml=inputs.largest_volume_ml,
        )
        if csf.found:
            self._write(runtime, mask.affine, region=csf.region)
        volume, text = csf.volume_ml * mask.length_scale**3, csf.text
        if mask.length_scale != 1.0 and volume > 0:
            text += f", if the head were an adult's; here {volume:.2g} ml"
        self._results["record"] = record(
            f"CSF reference: {text}" if csf.found else "",
            warnings=["" if csf.found else f"no CSF reference: {text}"],
            CsfRegion={
                "Found": csf.found,
                "VolumeMl": float(f"{volume:.4g}"),
                "R2StarThreshold": inputs.r2star_threshold,
                "CentreRadiusMm": inputs.centre_radius_mm,
                "SmallestVolumeMl": inputs.smallest_volume_ml,
                "LargestVolumeMl": inputs.largest_volume_ml,
            },
        )
        return runtime


class _TakeRegionInputs(BaseInterfaceInputSpec):
    region = File(exists=True, mandatory=True, desc="non-zero is inside")
    mask = File(exists=True, mandatory=True, desc="support of chi")


class TakeRegion(Step):
    """Take a reference region from the user, inside the support of chi."""

    input_spec = _TakeRegionInputs
    output_spec = _RegionOutputs

    def _run_interface(self, runtime: Any) -> Any:
        support = read_volume(self.inputs.mask, np.uint8)
        read = read_mask(Path(self.inputs.region), support, "mask of the reference region")
        inside = read.inside
        region = inside & (support.array > 0)
        if not region.any():
            raise InputError(
                "the reference region has no voxel where chi is known",
                self.inputs.region,
                "Compare it with desc-mask4noholes.",
            )
        self._write(runtime, support.affine, region=region)
        kept = np.count_nonzero(region) / np.count_nonzero(inside)
        self._results["record"] = record(
            f"reference region: given, {read.text}; {100 * kept:.1f} % of it where chi is known",
            warnings=[read.warning],
        )
        return runtime


class _ReferenceChiInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, mandatory=True, desc="[ppm]")
    mask = File(exists=True, mandatory=True, desc="support of chi")
    region = File(exists=True, desc="reference region, where there is one")
    region_name = traits.Str(mandatory=True)


class _ReferenceChiOutputs(RecordSpec):
    chi = File(exists=True, desc="[ppm], mean 0 over the region; undefined without one")


class ReferenceChi(Step):
    """Subtract the mean over the reference region (8.c): ``core.reference.reference``."""

    input_spec = _ReferenceChiInputs
    output_spec = _ReferenceChiOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        if not isinstance(inputs.region, str):
            self._results["record"] = record()
            return runtime
        chi = read_volume(inputs.chi)
        mask = read_volume(inputs.mask, np.uint8).array > 0
        # an inversion may know less than Mask 4: zeros of the rim would dilute the mean
        region = (read_volume(inputs.region, np.uint8).array > 0) & mask
        if not region.any():
            raise InputError(f"chi is not known anywhere in {inputs.region_name}", inputs.region)
        value = reference_value(chi.array, region)
        referenced = apply_reference(chi.array, mask, value)
        self._write(runtime, chi.affine, chi=referenced)
        self._results["record"] = record(
            f"reference: {inputs.region_name}, {value:+.6f} ppm subtracted",
            ReferenceRegion=inputs.region_name,
            ReferenceValue=float(value),
        )
        return runtime


class _DescribeReferencesInputs(BaseInterfaceInputSpec):
    chi = File(exists=True, mandatory=True, desc="[ppm], without a reference")
    support = File(exists=True, mandatory=True, desc="of chi")
    brain = File(exists=True, mandatory=True, desc="Mask 4")
    csf = File(exists=True, desc="fluid; may be empty")
    white_matter = File(exists=True, desc="of the template; undefined where it did not fit")
    internal_capsule = File(exists=True, desc="likewise")
    given = File(exists=True, desc="of the user")
    chosen = traits.Enum(*(kind.setting for kind in REFERENCES.values()), "none", usedefault=True)


class _DescribeReferencesOutputs(RecordSpec):
    table = File(exists=True, desc="TSV: every region under every reference")


class DescribeReferences(Step):
    """Mean and spread of every reference region under every reference (8.d, 8.f)."""

    input_spec = _DescribeReferencesInputs
    output_spec = _DescribeReferencesOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        chi = read_volume(inputs.chi)
        support = read_volume(inputs.support, np.uint8).array > 0
        regions = {}
        for name, title in NAMES.items():
            path = getattr(inputs, name)
            if isinstance(path, str):
                region = (read_volume(path, np.uint8).array > 0) & support
                if region.any():
                    regions[title] = region
        ml_per_voxel = float(np.prod(chi.voxel_size)) / 1000.0
        values = {title: reference_value(chi.array, r) for title, r in regions.items()}
        rows = ["\t".join(COLUMNS)]
        for reference, value in values.items():
            for title, region in regions.items():
                statistics = region_statistics(chi.array, region)
                numbers = (statistics.mean, statistics.std, statistics.median, *statistics[4:])
                shifted = [n - (value if i != 1 else 0.0) for i, n in enumerate(numbers)]
                cells = [reference, title, str(statistics.n_voxels)]
                cells += [f"{statistics.n_voxels * ml_per_voxel:.3f}"]
                rows.append("\t".join([*cells, *(f"{n:.6f}" for n in (*shifted, value))]))
        path = self._path(runtime, "references.tsv")
        write_text(path, "\n".join(rows) + "\n")
        self._results["table"] = str(path)
        wanted = {kind.setting: desc for desc, kind in REFERENCES.items()}
        main = wanted.get(inputs.chosen, "none")
        missing = main != "none" and main not in values
        if missing:
            main = "wholebrain"
        self._results["record"] = record(
            f"main reference: {main}",
            warnings=[
                f"the {inputs.chosen} reference is not available, the whole brain takes its place"
                if missing
                else ""
            ],
            MainReference=main,
            ReferenceValues={k: float(v) for k, v in values.items()},
        )
        return runtime
