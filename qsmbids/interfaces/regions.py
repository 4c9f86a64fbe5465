"""The template's regions in a run (sections 8.c, 8.f and 8.g)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.guided_mask import reason_against
from qsmbids.core.anatomy.quick_fit import BlockGrid, fit_to_quick_map
from qsmbids.core.anatomy.regions import PlacedRegions, fit_regions, place_regions
from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.maths.parallel import numba_threads
from qsmbids.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    RecordSpec,
    Step,
    record,
    traits,
)
from qsmbids.io.compiling import loops_of
from qsmbids.io.nifti import Volume, read_volume, write_text, write_volume
from qsmbids.io.template import load_template, read_fit, template_regions, write_fit

__all__ = ["FitTemplate", "PlaceRegions"]

#: Regions of the template that may be a reference (Table 2), by the output that has them.
_AS_REFERENCE = {"white_matter": "white-matter", "internal_capsule": "internal-capsule"}
#: Fewer voxels are no reference.
_FEWEST = 50


class _FitTemplateInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="with the head around the brain")
    mask = File(exists=True, mandatory=True, desc="Mask 1")
    local_field = File(exists=True, mandatory=True, desc="[Hz]")
    known = File(exists=True, mandatory=True, desc="of the local field: Mask 4, filled")
    weights = File(exists=True, mandatory=True, desc="of the data")
    r2star = File(exists=True, desc="[1/s]")
    fit = File(exists=True, desc="of the template to the magnitude, where there is one")
    b0_direction = traits.List(traits.Float, mandatory=True, desc="along the voxel axes")
    centre_frequency = traits.Float(mandatory=True, desc="[Hz]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _FitTemplateOutputs(RecordSpec):
    fit = File(exists=True, desc="where the template lies; undefined for no human head")


class FitTemplate(Step):
    """Register the template before there is a map: ``core.anatomy.quick_fit``.

    The images are joined to blocks one after the other, for the inversion needs the memory.
    """

    input_spec = _FitTemplateInputs
    output_spec = _FitTemplateOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        brain = read_volume(inputs.mask, np.uint8)
        if (reason := reason_against(brain.array > 0, brain.voxel_size)) is not None:
            self._results["record"] = record(f"the template of the head has no part: {reason}")
            return runtime
        inside = brain.array > 0
        known = read_volume(inputs.known, np.uint8).array > 0
        grid = BlockGrid.of(brain.affine)

        def mean(path: str, mask: Mask | None) -> Float32Array:
            return grid.mean(read_volume(path).array, mask)

        with numba_threads(inputs.n_threads), loops_of("guide"):
            fit = fit_to_quick_map(
                load_template(),
                grid,
                grid.mask(inside),
                grid.mask(known),
                mean(inputs.local_field, known),
                mean(inputs.weights, known),
                inputs.b0_direction,
                centre_frequency=inputs.centre_frequency,
                magnitude=mean(inputs.magnitude, None),
                r2star=mean(inputs.r2star, inside) if isinstance(inputs.r2star, str) else None,
                start=read_fit(inputs.fit) if isinstance(inputs.fit, str) else None,
                n_threads=inputs.n_threads,
            )
        self._results["fit"] = str(write_fit(self._path(runtime, "fit.npz"), fit))
        note = (
            f"template of the head registered to {', '.join(fit.channels)}, with a quick map of"
            f" the local field: it shares {fit.information:.3f} of information with the run"
        )
        if not fit.usable:  # the step that places the regions warns
            note = f"the template of the head does not fit, {fit.reason}"
        self._results["record"] = record(note)
        return runtime


class _PlaceRegionsInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="with the head around the brain")
    mask = File(exists=True, mandatory=True, desc="Mask 1")
    chi = File(exists=True, mandatory=True, desc="[ppm], any reference")
    support = File(exists=True, mandatory=True, desc="of chi")
    r2star = File(exists=True, desc="[1/s]")
    fit = File(exists=True, desc="of the template to magnitude or quick map, if there is one")
    atlas = traits.Str("template", usedefault=True, desc="for the record")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _PlaceRegionsOutputs(RecordSpec):
    labels = traits.List(File(exists=True), desc="one image; undefined where nothing fitted")
    tables = traits.List(File(exists=True), desc="index and name of each label")
    white_matter = File(exists=True, desc="inside the support; undefined where it is not there")
    internal_capsule = File(exists=True, desc="likewise")


class PlaceRegions(Step):
    """Put the template's regions into a map: ``core.anatomy.regions``.

    The template is registered to magnitude, chi and R2* where it was to no quick map before.
    Below the measure of fit there are no regions, and the run goes on.
    """

    input_spec = _PlaceRegionsInputs
    output_spec = _PlaceRegionsOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        chi = read_volume(inputs.chi)
        support = read_volume(inputs.support, np.uint8).array > 0
        brain = read_volume(inputs.mask, np.uint8).array > 0
        if (reason := reason_against(brain, chi.voxel_size)) is not None:
            # what is no human head has no human nuclei; nobody has to look at it
            self._results["record"] = record(
                f"no regions were measured: {reason}",
                RegionAtlas={"Setting": inputs.atlas, "Used": False, "Reason": reason},
            )
            return runtime
        r2star = read_volume(inputs.r2star).array if isinstance(inputs.r2star, str) else None
        with numba_threads(inputs.n_threads), loops_of("regions"):
            template, magnitude = load_template(), read_volume(inputs.magnitude).array
            fit = read_fit(inputs.fit) if isinstance(inputs.fit, str) else None
            before = fit is not None and "chi" in fit.channels
            if fit is None or not before:
                fit = fit_regions(
                    template, chi.affine, brain, support, chi.array,
                    magnitude=magnitude, r2star=r2star, start=fit,
                )  # fmt: skip
            placed = place_regions(
                template, chi.affine, support, chi.array, fit, magnitude=magnitude, r2star=r2star
            )
        facts = {
            "Setting": inputs.atlas,
            "Used": fit.usable,
            "QuickMap": before,
            "Channels": list(fit.channels),
            "Information": round(float(fit.information), 4),
            "Lead": round(float(fit.lead), 1),
            "Size": round(float(fit.size), 3),
            "Coverage": round(float(fit.coverage), 3),
        }
        if not fit.usable:
            text = f"no regions were measured: the template of the head does not fit, {fit.reason}"
            self._results["record"] = record(warnings=[text], RegionAtlas=facts)
            return runtime
        self._keep(runtime, placed.labels, chi, support)
        facts["BordersMoved"] = self._moved(placed)
        done = f"registered to {', '.join(fit.channels)}"
        self._results["record"] = record(
            f"regions of the template {'placed, as it was ' if before else ''}{done}: it shares"
            f" {fit.information:.3f} of information with the run; borders of"
            f" {len(placed.moved)} nuclei followed the map",
            RegionAtlas=facts,
        )
        return runtime

    def _keep(self, runtime: Any, labels: npt.NDArray, chi: Volume, support: npt.NDArray) -> None:
        """Write the labels, their names, and what may be a reference."""
        image = self._path(runtime, "labels-1.nii")
        write_volume(image, labels.astype(np.int32), chi.affine)
        present = set(np.unique(labels).tolist())
        regions = [r for r in template_regions() if r.label in present]
        rows = [f"{r.label}\t{r.name}\n" for r in regions]
        table = self._path(runtime, "labels-1.tsv")
        write_text(table, "index\tname\n" + "".join(rows))
        self._results |= {"labels": [str(image)], "tables": [str(table)]}
        for output, name in _AS_REFERENCE.items():
            wanted = [r.label for r in regions if r.name.startswith(f"{name}-")]
            region = np.isin(labels, wanted) & support
            if np.count_nonzero(region) >= _FEWEST:
                self._write(runtime, chi.affine, **{output: region})

    @staticmethod
    def _moved(placed: PlacedRegions) -> dict[str, dict[str, int]]:
        """Return how many voxels each nucleus won and lost."""
        names = {r.label: r.name for r in template_regions()}
        return {
            names[index]: {"Won": won, "Lost": lost}
            for index, (won, lost) in sorted(placed.moved.items())
        }
