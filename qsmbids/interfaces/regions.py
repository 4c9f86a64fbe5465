"""The template's regions in a run (sections 8.c, 8.f and 8.g)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qsmbids.core.anatomy.guided_mask import reason_against
from qsmbids.core.anatomy.regions import PlacedRegions, place_regions
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
from qsmbids.io.template import load_template, read_fit, template_regions

__all__ = ["PlaceRegions"]

#: Regions of the template that may be a reference (Table 2), by the output that has them.
_AS_REFERENCE = {"white_matter": "white-matter", "internal_capsule": "internal-capsule"}
#: Fewer voxels are no reference.
_FEWEST = 50


class _PlaceRegionsInputs(BaseInterfaceInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="with the head around the brain")
    mask = File(exists=True, mandatory=True, desc="Mask 1")
    chi = File(exists=True, mandatory=True, desc="[ppm], any reference")
    support = File(exists=True, mandatory=True, desc="of chi")
    r2star = File(exists=True, desc="[1/s]")
    fit = File(exists=True, desc="of the template to the magnitude, where there is one")
    atlas = traits.Str("template", usedefault=True, desc="for the record")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class _PlaceRegionsOutputs(RecordSpec):
    labels = traits.List(File(exists=True), desc="one image; undefined where nothing fitted")
    tables = traits.List(File(exists=True), desc="index and name of each label")
    white_matter = File(exists=True, desc="inside the support; undefined where it is not there")
    internal_capsule = File(exists=True, desc="likewise")


class PlaceRegions(Step):
    """Register the template to magnitude, chi and R2*: ``core.anatomy.regions``.

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
            placed = place_regions(
                load_template(),
                chi.affine,
                brain,
                support,
                chi.array,
                magnitude=read_volume(inputs.magnitude).array,
                r2star=r2star,
                start=read_fit(inputs.fit) if isinstance(inputs.fit, str) else None,
            )
        fit = placed.fit
        facts = {
            "Setting": inputs.atlas,
            "Used": fit.usable,
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
        self._results["record"] = record(
            f"template of the head registered to {', '.join(fit.channels)}: it shares"
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
