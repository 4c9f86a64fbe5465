"""A run that can be processed, and what was found out about it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmbids.io.metadata import Acquisition
from qsmbids.io.runs import Run
from qsmbids.io.segmentations import Segmentation
from qsmbids.io.start_image import StartImage

__all__ = ["RunPlan", "workflow_name", "workflow_of"]


@dataclass(frozen=True)
class RunPlan:
    """A run, its acquisition parameters, what was warned of, and images of the user.

    ``t1w`` is registered, unless ``t1w_transform`` is known; either is there only where a
    segmentation, or lesions, in T1w space need it. ``slice_axis`` is the array axis across the
    slices of a 2-D scan, None for a 3-D scan. ``phase_numbers`` says how those of the phase would
    be read, in a dry run.
    """

    run: Run
    acquisition: Acquisition
    warnings: tuple[str, ...] = ()
    mask: Path | None = None
    region: Path | None = None
    start: StartImage | None = None
    segmentations: tuple[Segmentation, ...] = ()
    lesions: Segmentation | None = None
    t1w: Path | None = None
    t1w_transform: str = ""
    slice_axis: int | None = None
    phase_numbers: str = ""

    def gives(self, kind: str) -> StartImage | None:
        """Return the given image of a kind, be it beside another one."""
        for image in (self.start, self.start and self.start.total):
            if image is not None and image.kind == kind:
                return image
        return None


def workflow_name(label: str) -> str:
    """Return the name of a run's graph: its label in letters, digits and underscores."""
    return re.sub(r"[^0-9a-zA-Z]", "_", label) + "_wf"


def workflow_of(node: Any) -> str:
    """Return the name of the graph that a Nipype node belongs to, "" where it is in none."""
    return str(getattr(node, "_hierarchy", None) or "").split(".")[-1]
