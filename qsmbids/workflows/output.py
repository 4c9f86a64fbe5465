"""What describes one derivative of a run."""

from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["Output"]


@dataclass(frozen=True)
class Output:
    """One derivative of a run.

    ``node`` names the step, or steps of which the first is taken; ``requires`` and ``unless`` name
    a step that must be, or must not be, in the graph as well. An ``optional`` output may turn out
    not to exist. One ``per_segmentation`` has a file for each; where two files share a sidecar,
    one of them has no ``own_sidecar``.
    """

    name: str
    node: str
    field: str
    level: str
    suffix: str
    description: str
    entities: dict[str, str] = field(default_factory=dict)
    datatype: str = "anat"
    units: str = ""
    boolean: bool = False
    consensus: str = ""
    steps: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("raw",)
    skull_stripped: bool = True
    algorithm: str = ""
    reference: str = ""
    per_echo: bool = False
    per_segmentation: bool = False
    labels: bool = False
    own_sidecar: bool = True
    extension: str = ".nii.gz"
    mask_type: str = "Brain"
    optional: bool = False
    requires: str = ""
    unless: str = ""

    def step(self, nodes: Collection[str]) -> str | None:
        """Return the step of the graph that makes this output, None if there is none."""
        if (self.requires and self.requires not in nodes) or self.unless in nodes:
            return None
        return next((name for name in self.node.split("|") if name in nodes), None)
