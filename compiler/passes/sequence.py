"""Sequencing: an order of the groups in which the machine is handed long streams."""

from collections.abc import Iterable

from ..graph import Graph, Value
from .partition import Placed, is_view


def sequence(placed: Iterable[Placed], graph: Graph) -> tuple[Placed, ...]:
    """Return the groups in a topological order that changes between VTA and CPU rarely.

        conv (VTA), softmax (CPU), conv (VTA)  →  conv (VTA), conv (VTA), softmax (CPU)

    Greedy: as long as a group is ready for the device that the last one ran on, it goes next.
    """
    waiting = list(placed)
    ready: set[Value] = {*graph.inputs, *graph.constants}
    ordered: list[Placed] = []
    on_vta = True
    while waiting:
        able = [item for item in waiting if ready.issuperset(item.inputs)]
        same = [item for item in able if is_view(item) or (item.layer is not None) == on_vta]
        chosen = (same or able)[0]
        if not is_view(chosen):
            on_vta = chosen.layer is not None
        waiting.remove(chosen)
        ready.update(chosen.group.outputs)
        ordered.append(chosen)
    return tuple(ordered)
