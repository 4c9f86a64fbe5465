"""What every node shares: a record of what it decided, and files named after the step."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# before nipype is imported: it would ask a server for its latest version
os.environ.setdefault("NO_ET", "1")
os.environ.setdefault("NIPYPE_NO_ET", "1")

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    DynamicTraitedSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from qsmbids.io.write import write_volume
from qsmbids.methods.declaration import sidecar_key

__all__ = [
    "BaseInterfaceInputSpec",
    "DynamicTraitedSpec",
    "EchoFilesIn",
    "EchoFilesOut",
    "EchoesInputSpec",
    "File",
    "RecordSpec",
    "RecordsInputSpec",
    "Step",
    "StepWithRecords",
    "TraitedSpec",
    "record",
    "settings_record",
    "traits",
]


def EchoFilesIn(desc: str, **kwargs: Any) -> Any:
    """Declare one input file per echo."""
    return InputMultiObject(File(exists=True), desc=desc, **kwargs)


def EchoFilesOut(desc: str) -> Any:
    """Declare one output file per echo."""
    return traits.List(File(exists=True), desc=desc)


class EchoesInputSpec(BaseInterfaceInputSpec):
    """Inputs of every step that works on the echoes inside Mask 1."""

    phase = EchoFilesIn("[rad], one per echo", mandatory=True)
    magnitude = EchoFilesIn("one per echo", mandatory=True)
    mask = File(exists=True, mandatory=True, desc="Mask 1")
    echo_times = traits.List(traits.Float, mandatory=True, desc="[s]")
    n_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True)


class RecordsInputSpec(DynamicTraitedSpec, BaseInterfaceInputSpec):
    """Inputs of every :class:`StepWithRecords`, to which it adds the records."""


class RecordSpec(TraitedSpec):
    """Outputs of every step."""

    record = traits.Dict(desc="decisions, warnings and sidecar metadata of this step")


def record(
    *decisions: str, warnings: tuple[str, ...] | list[str] = (), **metadata: Any
) -> dict[str, Any]:
    """Return what a step has to say: lines for the log and keys for the sidecar."""
    return {
        "decisions": [d for d in decisions if d],
        "warnings": [w for w in warnings if w],
        "metadata": metadata,
    }


def settings_record(settings: Any) -> dict[str, Any]:
    """Return the settings of a method under the keys that sidecars have for them."""
    return {sidecar_key(f.name): getattr(settings, f.name) for f in fields(settings)}


class Step(SimpleInterface):
    """A node that writes into its own folder."""

    def _path(self, runtime: Any, name: str) -> Path:
        """Return the path of a new file in the node's folder."""
        return Path(runtime.cwd) / name

    def _write(
        self, runtime: Any, affine: npt.NDArray[np.floating], **volumes: npt.NDArray
    ) -> None:
        """Write volumes into the node's folder and name them as its results.

        An (X, Y, Z) array becomes the file ``<name>.nii``, an (E, X, Y, Z) array a list with one
        file per echo.
        """
        for name, volume in volumes.items():
            if volume.ndim == 4:
                paths = [
                    self._path(runtime, f"{name}_echo-{e + 1}.nii") for e in range(len(volume))
                ]
                with ThreadPoolExecutor(getattr(self.inputs, "n_threads", 1)) as pool:
                    list(pool.map(write_volume, paths, volume, [affine] * len(paths)))
                self._results[name] = [str(path) for path in paths]
            else:
                path = self._path(runtime, f"{name}.nii")
                self._results[name] = str(write_volume(path, volume, affine))


class StepWithRecords(Step):
    """A node that takes what other steps have recorded, as ``record1`` to ``recordN``."""

    def __init__(self, n_records: int = 0, **inputs: Any) -> None:
        super().__init__(**inputs)
        self._names = [f"record{i + 1}" for i in range(n_records)]
        for name in self._names:
            self.inputs.add_trait(name, traits.Dict())

    def _records(self) -> list[dict[str, Any]]:
        """Return the records, in the order of the steps."""
        return [getattr(self.inputs, name) for name in self._names]
