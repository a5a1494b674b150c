"""The host's side of a module: what runs between its streams, as one native program."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..runtime.module import Copy, HostStep
from ..runtime.native.jit import Cpu
from ..runtime.native.program import NativeProgram
from .cpu.build import write_program
from .cpu.groups import Group, Plan, plan
from .cpu.intrinsics import is_signed
from .cpu.kernels import kernels
from .cpu.memory import outputs, placed
from .cpu.operands import Array
from .cpu.stored import Stored
from .graph import Graph, Node, Value


def host_program(
    graph: Graph, runs: Sequence[Sequence[Node]], tiles: Mapping[Value, Stored], cpu: Cpu
) -> tuple[NativeProgram, list[HostStep | None]]:
    """Compile the nodes that the host runs before, between and after the streams of a module.

    Before the first stream inputs are brought to where it reads them, after the last outputs to
    where the user does; all others lie where they are read in the form in which they are made.

    Parameters
    ----------
    graph : Graph
    runs : sequence of sequence of Node
        One more than there are streams, each in an order that computes values before they are read.
    tiles : mapping of Value to Stored
        The form in device memory of what streams read and write; those that no run makes, and that
        are no inputs, are there when a run reads them.
    cpu : Cpu

    Returns
    -------
    NativeProgram
        With an entry for each run that has something to do.
    list of HostStep or None
        For each run; None where there is nothing to do.
    """
    arrays: dict[Value, Array] = dict(graph.constants)
    made = {value for nodes in runs for node in nodes for value in node.outputs}
    whole = Plan([], {value: [Stored(value)] for value in graph.inputs}, {})
    for value, tile in tiles.items():
        if value in whole.stored or value in arrays:
            whole.copy(value, tile)
        elif value not in made:
            whole.stored[value] = [tile]
    ends: list[int] = []
    for nodes in runs:
        part = plan(
            _part(graph, nodes, tiles),
            arrays,
            signed=is_signed(cpu),
            stored=whole.stored,
            tiles=tiles,
            rows=graph.outputs,
        )
        whole = replace(
            part,
            groups=[*whole.groups, *part.groups],
            data={**whole.data, **part.data},
        )
        ends.append(len(whole.groups))
    results = outputs(graph.outputs, whole)
    ends[-1] = len(whole.groups)
    steps = [(group, kernels(group, whole, arrays, cpu)) for group in whole.groups]
    memory = placed(graph, whole, steps, results, shared=True)
    found: list[HostStep | None] = []
    entries: dict[str, list[int]] = {}
    for begin, end in zip([0, *ends], ends, strict=False):
        groups = whole.groups[begin:end]
        name = f"host{len(entries)}"
        step = HostStep(name, _copies(groups), _reads(groups, tiles)) if groups else None
        if step is not None:
            entries[step.entry] = [begin, end]
        found.append(step)
    program = write_program(
        graph,
        {name: steps[begin:end] for name, (begin, end) in entries.items()},
        whole,
        results,
        memory,
        cpu,
        shared=True,
    )
    return program, found


def _part(graph: Graph, nodes: Sequence[Node], tiles: Mapping[Value, Stored]) -> Graph:
    """Return some of a graph's nodes as a graph: its outputs are what is read elsewhere."""
    inside = set(nodes)
    made = [value for node in nodes for value in node.outputs]
    own = {*made, *graph.constants}
    read = dict.fromkeys(value for node in nodes for value in node.inputs if value not in own)
    given = [
        value
        for value in made
        if value in tiles or value in graph.outputs or not inside.issuperset(graph.consumers(value))
    ]
    return Graph(graph.name, tuple(read), tuple(given), tuple(nodes), graph.constants)


def _reads(groups: Sequence[Group], tiles: Mapping[Value, Stored]) -> tuple[tuple[int, int], ...]:
    """Return where device memory has what an entry may read: the first byte, and the bytes."""
    read = [value for group in groups for node in group.nodes for value in node.inputs]
    read += [group.source.value for group in groups if group.source is not None]
    places = [tiles[value] for value in dict.fromkeys(read) if value in tiles]
    return tuple(
        dict.fromkeys((tile.place, tile.size_bytes) for tile in places if tile.place is not None)
    )


def _copies(groups: Sequence[Group]) -> tuple[Copy, ...]:
    """Return the copies among the steps of an entry."""
    found: list[Copy] = []
    for step, group in enumerate(groups):
        if group.source is not None:
            (target,) = group.results
            name = group.source.value.name
            found.append(Copy(step, name, group.source.form, target.form, target.size_bytes))
    return tuple(found)
