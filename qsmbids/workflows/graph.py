"""Steps that say which quantities they need and provide, and which of them have what by now.

Nothing here, nor in the declarations of the steps, imports Nipype or an interface: a dry run lists
the steps of a run in a fraction of the time that those imports take.
"""

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from qsmbids.config import Settings
from qsmbids.workflows.plan import RunPlan

__all__ = ["Outline", "RunContext", "Source", "Step", "step_memory_gb", "unadorned"]

#: A worker with its libraries and compiled loops [GB].
_BASE_GB = 0.35

#: Step and output that have a quantity; the output may come with a function of it, as in Nipype.
Source = tuple[str, Any]


@dataclass(frozen=True)
class RunContext:
    """What decides the inputs of the steps of a run.

    Attributes
    ----------
    plan : RunPlan
    settings : Settings
    b0_direction : list of float
        Along the axes of the array that the steps work on.
    n_threads : int
        Of a step.
    """

    plan: RunPlan
    settings: Settings
    b0_direction: list[float]
    n_threads: int

    @property
    def echo_times(self) -> list[float]:
        """[s]."""
        return [float(t) for t in self.plan.acquisition.echo_times]

    @property
    def centre_frequency(self) -> float:
        """[Hz]."""
        return float(self.plan.acquisition.centre_frequency_hz)


def _nothing(context: RunContext) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    Attributes
    ----------
    name : str
        Of the node, and in ``Steps`` of the sidecars.
    title : str
        For people.
    interface : str
        Module and name of the class of the interface, or of what makes one:
        "qsmbids.interfaces.checks:CheckSign".
    volumes : (int, int)
        Memory: volumes per echo and volumes in all, of 4 bytes a voxel; measured maxima, rounded
        up.
    needs : dict
        Input of the interface to the quantity that it takes; with a question mark at its end, one
        that may be missing.
    provides : dict
        Quantity to the output of the interface that is one. Every output is a quantity also as
        ``step.output``, for what is written and no step needs.
    inputs : callable
        Other inputs, from the context.
    checks : tuple of str
        Quantities that the step judges and leaves as they are: what it records counts for all
        that is made of them.
    records : tuple of str
        Steps whose records it takes, where they are in the graph.
    made_of : dict
        Outputs of the interface that do not follow from all inputs, to those they follow from.
    wide : bool
        It keeps all its threads busy for most of its time; nothing large runs beside it.
    """

    name: str
    title: str
    interface: str
    volumes: tuple[int, int]
    needs: Mapping[str, str] = field(default_factory=dict)
    provides: Mapping[str, str] = field(default_factory=dict)
    inputs: Callable[[RunContext], dict[str, Any]] = _nothing
    checks: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    made_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wide: bool = False

    def resolved(self) -> Callable[..., Any]:
        """Return the class of the interface, or what makes one; imports it."""
        make: Callable[..., Any] = pkgutil.resolve_name(self.interface)
        return make


def step_memory_gb(step: Step, n_voxels: int, n_echoes: int) -> float:
    """Return an upper estimate of the memory [GB] of one step."""
    per_echo, fixed = step.volumes
    return round(_BASE_GB + 4e-9 * n_voxels * (per_echo * n_echoes + fixed), 3)


@dataclass
class Outline:
    """The steps of a run by name, connected by their quantities, while they are put together.

    Attributes
    ----------
    context : RunContext
    sources : dict
        Quantity to the step that has it by now.
    finer : float
        How many times as many voxels as the images the steps work on.
    """

    context: RunContext
    sources: dict[str, Source] = field(default_factory=dict)
    finer: float = 1.0
    _here: set[str] = field(default_factory=set)
    _steps: dict[str, Step] = field(default_factory=dict)
    _needed: dict[str, dict[str, Source]] = field(default_factory=dict)
    _checks: dict[Source, list[str]] = field(default_factory=dict)

    def __contains__(self, quantity: str) -> bool:
        return self._find(quantity) is not None

    @property
    def names(self) -> list[str]:
        """Names of the steps, in the order in which they were added."""
        return list(self._steps)

    def source(self, quantity: str) -> Source:
        """Return the step and the output that have a quantity; KeyError if none has."""
        source = self._find(quantity)
        if source is None:
            raise KeyError(quantity)
        return source

    def add(
        self,
        step: Step,
        *,
        needs: Mapping[str, str] | None = None,
        provides: Mapping[str, str] | None = None,
        without: Iterable[str] = (),
        **inputs: Any,
    ) -> None:
        """Add a step, connect what it needs, and note what it provides.

        Parameters
        ----------
        step : Step
        needs, provides : dict, optional
            What differs from the declaration of the step.
        without : iterable of str
            Inputs that may be missing and are not wanted.
        **inputs
            Of the interface, beside those of the declaration; an outline has no use for them.
        """
        needed: dict[str, Source] = {}
        for name, quantity in {**step.needs, **(needs or {})}.items():
            wanted = quantity.removesuffix("?")
            if name in without or (quantity.endswith("?") and wanted not in self):
                continue
            needed[name] = self.source(wanted)
        records = [name for name in step.records if name in self._steps]
        needed |= {f"record{n}": (name, "record") for n, name in enumerate(records, 1)}
        self._steps[step.name] = step
        self._needed[step.name] = needed
        self._here.add(step.name)
        for quantity in step.checks:
            self._checks.setdefault(unadorned(self.source(quantity)), []).append(step.name)
        made = step.provides if provides is None else provides
        self.sources |= {quantity: (step.name, name) for quantity, name in made.items()}

    def alias(self, quantity: str, of: str) -> None:
        """Let a quantity be another one that there is."""
        self.sources[quantity] = self.source(of)

    def branch(self, b0_direction: list[float], finer: float) -> Self:
        """Return a view on which other steps have the quantities, on another array."""
        return replace(
            self,
            context=replace(self.context, b0_direction=b0_direction),
            sources=dict(self.sources),
            finer=finer,
            _here=set(self._here),
        )

    def _find(self, quantity: str) -> Source | None:
        step, _, output = quantity.partition(".")
        if output and step in self._here:
            return step, output
        return self.sources.get(quantity)


def unadorned(source: Source) -> Source:
    """Return a source without the function that comes with its output."""
    step, output = source
    return step, output[0] if isinstance(output, tuple) else output
