"""A graph that knows quantities: steps say what they need and provide, and are connected by it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import nipype.pipeline.engine as pe

from qsmbids.config import Settings
from qsmbids.workflows.cost import CostedNode
from qsmbids.workflows.plan import RunPlan

__all__ = ["RunContext", "RunGraph", "Source", "Step", "step_memory_gb"]

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
    interface : callable
        Class of the interface, or what makes one.
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
    interface: Callable[..., Any]
    volumes: tuple[int, int]
    needs: Mapping[str, str] = field(default_factory=dict)
    provides: Mapping[str, str] = field(default_factory=dict)
    inputs: Callable[[RunContext], dict[str, Any]] = _nothing
    checks: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    made_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wide: bool = False


def step_memory_gb(step: Step, n_voxels: int, n_echoes: int) -> float:
    """Return an upper estimate of the memory [GB] of one step."""
    per_echo, fixed = step.volumes
    return round(_BASE_GB + 4e-9 * n_voxels * (per_echo * n_echoes + fixed), 3)


@dataclass
class RunGraph:
    """The graph of a run while it is built.

    Attributes
    ----------
    workflow : Workflow
    context : RunContext
    sources : dict
        Quantity to the step that has it by now.
    finer : float
        How many times as many voxels as the images the steps work on.
    """

    workflow: pe.Workflow
    context: RunContext
    sources: dict[str, Source] = field(default_factory=dict)
    finer: float = 1.0
    _steps: dict[str, Step] = field(default_factory=dict)
    _needed: dict[str, dict[str, Source]] = field(default_factory=dict)
    _checks: dict[Source, list[str]] = field(default_factory=dict)

    def __contains__(self, quantity: str) -> bool:
        return quantity in self.sources

    def add(
        self,
        step: Step,
        *,
        needs: Mapping[str, str] | None = None,
        provides: Mapping[str, str] | None = None,
        without: Iterable[str] = (),
        **inputs: Any,
    ) -> pe.Node:
        """Add a step, connect what it needs, and note what it provides.

        Parameters
        ----------
        step : Step
        needs, provides : dict, optional
            What differs from the declaration of the step.
        without : iterable of str
            Inputs that may be missing and are not wanted.
        **inputs
            Of the interface, beside those of the declaration.
        """
        records = [name for name in step.records if self.workflow.get_node(name) is not None]
        given = {**step.inputs(self.context), **inputs}
        arguments = (len(records),) if step.records else ()
        interface = step.interface(*arguments, **given)
        threaded = "n_threads" in interface.inputs.copyable_trait_names()
        if threaded:
            interface.inputs.n_threads = self.context.n_threads
        acquisition = self.context.plan.acquisition
        node = CostedNode(
            interface,
            name=step.name,
            n_procs=self.context.n_threads if threaded else 1,
            mem_gb=step_memory_gb(
                step, round(self.finer * acquisition.n_voxels), len(acquisition.echo_times)
            ),
        )
        node.wide = step.wide
        self._steps[step.name] = step
        self._needed[step.name] = {f"record of {name}": (name, "record") for name in records}
        self.workflow.add_nodes([node])
        for name, quantity in {**step.needs, **(needs or {})}.items():
            wanted = quantity.removesuffix("?")
            if name in without or (quantity.endswith("?") and wanted not in self.sources):
                continue
            self._connect(self.sources[wanted], node, name)
        for number, name in enumerate(records, 1):
            self.workflow.connect(self.workflow.get_node(name), "record", node, f"record{number}")
        for quantity in step.checks:
            self._checks.setdefault(self._key(self.sources[quantity]), []).append(step.name)
        made = step.provides if provides is None else provides
        every = {f"{step.name}.{name}": name for name in node.outputs.copyable_trait_names()}
        self.sources |= {
            quantity: (step.name, name) for quantity, name in {**every, **made}.items()
        }
        return node

    def alias(self, quantity: str, of: str) -> None:
        """Let a quantity be another one that there is."""
        self.sources[quantity] = self.sources[of]

    def branch(self, b0_direction: list[float], finer: float) -> "RunGraph":
        """Return a view on which other steps have the quantities, on another array."""
        return replace(
            self,
            context=replace(self.context, b0_direction=b0_direction),
            sources=dict(self.sources),
            finer=finer,
        )

    def behind(self, quantity: str) -> list[str]:
        """Return the steps whose records belong to a quantity, in the order of the pipeline."""
        seen: set[Source] = set()
        ahead = [self._key(self.sources[quantity])]
        while ahead:
            source = ahead.pop()
            if source in seen:
                continue
            seen.add(source)
            ahead += [(name, "record") for name in self._checks.get(source, ())]
            step, output = source
            inputs = self._steps[step].made_of.get(output)
            ahead += [s for name, s in self._needed[step].items() if not inputs or name in inputs]
        names = {name for name, _ in seen}
        return [name for name in self._needed if name in names and self._records(name)]

    def _records(self, name: str) -> bool:
        return "record" in self.workflow.get_node(name).outputs.copyable_trait_names()

    def _connect(self, source: Source, node: pe.Node, name: str) -> None:
        step, output = source
        self._needed[node.name][name] = self._key(source)
        self.workflow.connect([(self.workflow.get_node(step), node, [(output, name)])])

    @staticmethod
    def _key(source: Source) -> Source:
        step, output = source
        return step, output[0] if isinstance(output, tuple) else output
