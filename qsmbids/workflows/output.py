"""What is known of one derivative before it is made."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Output", "mask_output", "weighted_outputs"]


@dataclass(frozen=True)
class Output:
    """One derivative of a run.

    It is written where the graph has its ``quantity``. An ``optional`` output may turn out not to
    exist. One ``per_segmentation`` has a file for each; where two files share a sidecar, one of
    them has no ``own_sidecar``. ``sources`` are names of other outputs, or "raw".
    """

    name: str
    quantity: str
    level: str
    suffix: str
    description: str
    entities: dict[str, str] = field(default_factory=dict)
    datatype: str = "anat"
    units: str = ""
    boolean: bool = False
    consensus: str = ""
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


def mask_output(number: str, quantity: str, **kwargs: Any) -> Output:
    """Return one of the masks of the paper's Figure 5."""
    kwargs.setdefault("level", "standard")
    return Output(
        f"mask{number}",
        quantity,
        suffix="mask",
        entities={"label": "brain", "desc": f"mask{number}"},
        boolean=True,
        **kwargs,
    )


def weighted_outputs(name: str, text: str, **kwargs: Any) -> tuple[Output, Output]:
    """Return a susceptibility-weighted image and its minimum projection."""
    kwargs |= {"level": "standard", "suffix": "T2starw", "units": "arbitrary"}
    return (
        Output(name, name, description=text, entities={"desc": name}, **kwargs),
        Output(
            f"{name}_mip",
            f"{name}_mip",
            description=f"Running minimum over a slab. {text}",
            entities={"desc": f"{name}mip"},
            **kwargs,
        ),
    )
