"""The methods of a step: every module of a folder that declares one."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, make_dataclass
from types import ModuleType
from typing import Any

from qsmbids.methods.declaration import Clause, Method, qualified, setting

__all__ = ["Registry", "WithMethods", "with_methods"]


@dataclass(frozen=True)
class Registry(Mapping[str, Method]):
    """Methods by their name; the first one is the paper's."""

    methods: tuple[Method, ...]

    @classmethod
    def of(cls, package: ModuleType, first: str) -> "Registry":
        """Collect ``METHOD`` of every module of a package."""
        names = [module.name for module in pkgutil.iter_modules(package.__path__)]
        modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
        methods = [module.METHOD for module in modules if hasattr(module, "METHOD")]
        return cls(tuple(sorted(methods, key=lambda m: (m.name != first, m.name))))

    def __getitem__(self, name: str) -> Method:
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (method.name for method in self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    def titled(self, title: str) -> Method | None:
        """Return the method that sidecars call so, None where there is none."""
        return next((m for m in self.methods if title in m.titles), None)

    def setting(self, label: str, topic: str, **known: Any) -> Any:
        """Declare the setting that chooses among the methods.

        Parameters
        ----------
        label : str
        topic : str
            What the setting decides, for its explanation.
        **known
            Of :class:`~qsmbids.methods.declaration.Setting`.
        """
        return setting(
            self.methods[0].name,
            label,
            doc=f"{topic}: {', '.join(f'{m.name} ({m.title})' for m in self.methods)}.",
            choices=tuple(self),
            names={title: m.name for m in self.methods for title in m.titles},
            answers={m.name: m.answer for m in self.methods},
            **known,
        )

    def sentences(self, section: str) -> tuple[Clause, ...]:
        """Return the sentences of all methods of a section, each for runs that used it."""
        return tuple(
            qualified(clause, f"{section}.{m.name}", {f"{section}.method": m.name})
            for m in self.methods
            for clause in m.sentences
        )


@dataclass(frozen=True)
class WithMethods:
    """Settings of a step that several methods can do; each has a table of its own."""

    method: str

    @property
    def chosen(self) -> Any:
        """The settings of the method that was chosen."""
        return getattr(self, self.method)


def with_methods(common: type, registry: Registry) -> type:
    """Return the settings of a step with one table per method below them."""
    tables = [(m.name, m.settings, field(default_factory=m.settings)) for m in registry.values()]
    name = common.__name__.removeprefix("_")
    made = make_dataclass(name, tables, bases=(common,), frozen=True)
    made.__module__, made.__doc__ = common.__module__, common.__doc__
    return made
