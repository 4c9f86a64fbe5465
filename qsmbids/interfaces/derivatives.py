"""Writing of results under their BIDS names."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from qsmbids.errors import OutputError
from qsmbids.interfaces.base import (
    File,
    RecordsInputSpec,
    RecordSpec,
    StepWithRecords,
    record,
    traits,
)
from qsmbids.io.nifti import Volume, read_volume, write_json, write_text, write_volume
from qsmbids.io.nifti_header import read_header


class _SaveDerivativeInputs(RecordsInputSpec):
    in_file = File(exists=True, desc="volume or table of the work directory, if there is one")
    out_file = traits.Str(mandatory=True, desc="path in the output dataset")
    like = File(exists=True, desc="raw image, whose alignment to other images is kept")
    metadata = traits.Dict(usedefault=True, desc="sidecar known before the run")
    boolean = traits.Bool(False, usedefault=True, desc="write a mask")
    labels = traits.Bool(False, usedefault=True, desc="write integers")
    sidecar = traits.Bool(True, usedefault=True, desc="write one; False where a twin does")
    estimated = traits.Bool(True, usedefault=True, desc="a map, of which BIDS asks the algorithm")
    optional = traits.Bool(False, usedefault=True, desc="there may be nothing to write")


class _SaveDerivativeOutputs(RecordSpec):
    out_file = File(exists=True, desc="undefined where there was nothing to write")


class SaveDerivative(StepWithRecords):
    """Write one map or table and its sidecar, whole or not at all.

    ``record1`` to ``recordN`` take what the steps behind the map have decided.
    """

    input_spec = _SaveDerivativeInputs
    output_spec = _SaveDerivativeOutputs

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        out_file = Path(inputs.out_file)
        sidecar_file = Path(re.sub(r"\.(nii\.gz|tsv|txt)$", "", str(out_file)) + ".json")
        self._results["record"] = record()
        if not isinstance(inputs.in_file, str):
            if not inputs.optional:
                raise OutputError("the step before it made nothing", str(out_file))
            # that of an earlier run with other settings would be taken for this one's
            out_file.unlink(missing_ok=True)
            if inputs.sidecar:
                sidecar_file.unlink(missing_ok=True)
            return runtime
        sidecar = dict(inputs.metadata)
        decisions: list[str] = []
        warnings: list[str] = []
        for entry in self._records():
            sidecar |= entry["metadata"]
            decisions += [d for d in entry["decisions"] if d not in decisions]
            warnings += [w for w in entry["warnings"] if w not in warnings]
        if not inputs.estimated:
            for key in ("EstimationAlgorithm", "EstimationReference"):
                sidecar.pop(key, None)
        sidecar["Decisions"] = decisions
        sidecar["Warnings"] = warnings
        # the image last: where it is, its sidecar is there too
        if inputs.sidecar:
            write_json(sidecar_file, sidecar)
        if out_file.suffix in (".tsv", ".txt"):
            write_text(out_file, Path(inputs.in_file).read_text("utf-8"))
        else:
            kind = np.uint8 if inputs.boolean else np.int32 if inputs.labels else np.float32
            volume = read_volume(inputs.in_file, kind)
            write_volume(out_file, volume.array, volume.affine, aligned=self._aligned(volume))
        self._results["out_file"] = str(out_file)
        return runtime

    def _aligned(self, volume: Volume) -> tuple[np.ndarray, int] | None:
        """Return the sform of the raw image for a map on its grid, if it is not the scanner's."""
        if not isinstance(self.inputs.like, str):
            return None
        source = read_header(self.inputs.like)
        same = volume.array.shape == source.shape and np.allclose(
            volume.affine, source.affine, atol=1e-3
        )
        return source.aligned if same else None
