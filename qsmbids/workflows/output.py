"""What is known of one derivative before it is made."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Output", "mask_output", "weighted_outputs"]


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


def mask_output(
    number: str, node: str, name: str, steps: tuple[str, ...], **kwargs: Any
) -> Output:
    """Return one of the masks of the paper's Figure 5."""
    kwargs.setdefault("level", "standard")
    return Output(
        f"mask{number}",
        node,
        name,
        suffix="mask",
        entities={"label": "brain", "desc": f"mask{number}"},
        boolean=True,
        steps=steps,
        **kwargs,
    )


def weighted_outputs(name: str, node: str, text: str, **kwargs: Any) -> tuple[Output, Output]:
    """Return a susceptibility-weighted image and its minimum projection."""
    kwargs |= {"level": "standard", "suffix": "T2starw", "units": "arbitrary"}
    return (
        Output(name, node, "image", description=text, entities={"desc": name}, **kwargs),
        Output(
            f"{name}_mip",
            node,
            "projection",
            description=f"Running minimum over a slab. {text}",
            entities={"desc": f"{name}mip"},
            **kwargs,
        ),
    )
