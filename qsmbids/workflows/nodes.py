"""The outline of a run with a Nipype node for every step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nipype.pipeline.engine as pe

from qsmbids.workflows.cost import CostedNode
from qsmbids.workflows.graph import Outline, Source, Step, step_memory_gb, unadorned

__all__ = ["RunGraph"]


@dataclass
class RunGraph(Outline):
    """The graph of a run while it is built.

    Attributes
    ----------
    workflow : Workflow
    """

    workflow: pe.Workflow = field(kw_only=True)

    def add(
        self,
        step: Step,
        *,
        needs: Mapping[str, str] | None = None,
        provides: Mapping[str, str] | None = None,
        without: Iterable[str] = (),
        **inputs: Any,
    ) -> None:
        """Add a step and its node; see :meth:`qsmbids.workflows.graph.Outline.add`."""
        super().add(step, needs=needs, provides=provides, without=without)
        node = self._node(step, inputs)
        self.workflow.add_nodes([node])
        for name, (behind, output) in self._needed[step.name].items():
            self.workflow.connect([(self.workflow.get_node(behind), node, [(output, name)])])

    def behind(self, quantity: str) -> list[str]:
        """Return the steps whose records belong to a quantity, in the order of the pipeline."""
        seen: set[Source] = set()
        ahead = [unadorned(self.source(quantity))]
        while ahead:
            source = ahead.pop()
            if source in seen:
                continue
            seen.add(source)
            ahead += [(name, "record") for name in self._checks.get(source, ())]
            step, output = source
            inputs = self._steps[step].made_of.get(output)
            needed = self._needed[step].items()
            ahead += [unadorned(s) for name, s in needed if not inputs or name in inputs]
        names = {name for name, _ in seen}
        return [name for name in self._needed if name in names and self._records(name)]

    def _node(self, step: Step, inputs: Mapping[str, Any]) -> CostedNode:
        n_records = sum(name in self._steps for name in step.records)
        arguments = (n_records,) if step.records else ()
        interface = step.resolved()(*arguments, **{**step.inputs(self.context), **inputs})
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
        return node

    def _records(self, name: str) -> bool:
        return "record" in self.workflow.get_node(name).outputs.copyable_trait_names()
