"""The hardware once more, with smaller constants or with a planted bug."""

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import vtakit.hw
from vtakit.isa import costs

PREFIX = "vtakit.hw."
NAMES = [module.name for module in pkgutil.iter_modules(vtakit.hw.__path__)]


@dataclass(frozen=True)
class Change:
    """A piece of a module's source, which stands there once, and what takes its place."""

    module: str
    old: str
    new: str


def hardware(constants: Mapping[str, int] | None = None, change: Change | None = None) -> Any:
    """Return the modules of hw by their names, as they are with other constants of `isa.costs`.

    Parameters
    ----------
    constants
        Those that differ.
    change
        In the source of one module: the bug of a mutant.
    """
    replaced = dict[str, ModuleType]()
    if constants:
        assert set(constants) <= set(vars(costs)), f"isa.costs has no {set(constants)}"
        other = ModuleType(costs.__name__)
        vars(other).update({**vars(costs), **constants})
        replaced[costs.__name__] = other
    real = {name: module for name, module in sys.modules.items() if name.startswith(PREFIX)}
    real |= {name: sys.modules[name] for name in replaced}
    try:
        for name in real:
            del sys.modules[name]
        sys.modules.update(replaced)
        if change is not None:
            sys.modules[PREFIX + change.module] = _changed(change)
        return SimpleNamespace(
            **{name: importlib.import_module(PREFIX + name) for name in NAMES if name != "__main__"}
        )
    finally:
        for name in [name for name in sys.modules if name.startswith(PREFIX)]:
            del sys.modules[name]
        sys.modules.update(real)
        for name, module in real.items():
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)


def _changed(change: Change) -> ModuleType:
    """Return a module with a change in its source."""
    name = PREFIX + change.module
    file = Path(vtakit.hw.__path__[0]) / f"{change.module}.py"
    source = file.read_text(encoding="utf-8")
    found = source.count(change.old)
    assert found == 1, f"{file.name} has {change.old!r} {found} times; a mutant needs it once"
    made = ModuleType(name)
    vars(made).update(__package__=PREFIX[:-1], __file__=str(file))
    exec(compile(source.replace(change.old, change.new), str(file), "exec"), vars(made))
    return made
