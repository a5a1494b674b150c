"""ONNX recurrent layers in our operators: every step of the sequence after the other.

What of a step depends on the input alone is computed for all of them at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Maximum, Mul, Sub, Unary
from ..ops.linear import Dense
from ..ops.shape import Concat, Slice, Transpose
from .onnx_node import OnnxNode

DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
"""The functions of each layer, in ONNX's order."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
"""How many sums each has for an element of its state."""

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Of each value of the attribute, which passes there are, and whether each runs from the end."""


@dataclass(frozen=True)
class _Pass:
    """One direction: `r` (G * H, H), the rest as in ONNX; `gates` (T, N, G * H) of the inputs."""

    node: OnnxNode
    size: int
    functions: Sequence[str]
    gates: Value
    r: Value
    bias: Value
    peephole: Value | None

    def apply(self, place: int, x: Value) -> Value:
        """Return one of the functions of x."""
        match self.functions[place]:
            case "Relu":
                return self.node.emit(Maximum(), x, self.node.scalar(0, x))
            case "Sigmoid" | "Tanh" as name:
                return self.node.emit(Unary(name.lower()), x)
            case other:
                self.node.fail(f"activation {other} is not supported; Sigmoid, Tanh, Relu are")

    def inputs(self, step: int) -> Value:
        """Return the sums of a step (N, G * H), without those of the state."""
        _, n, width = self.gates.shape
        op = Slice((step, 0, 0), (1, n, width), (1, 1, 1))
        return self.node.reshape(self.node.emit(op, self.gates), (n, width))

    def gate(self, sums: Value, place: int) -> Value:
        """Return the sums of one gate of (N, G * H), or of what has a number for each."""
        axis = len(sums.shape) - 1
        starts, counts = [0] * len(sums.shape), list(sums.shape)
        starts[axis], counts[axis] = place * self.size, self.size
        return self.node.emit(Slice(tuple(starts), tuple(counts), (1,) * len(counts)), sums)

    def peeped(self, sums: Value, cell: Value, place: int) -> Value:
        """Return sums to which the cell adds, where weights say how much."""
        if self.peephole is None:
            return sums
        weight = self.gate(self.peephole, place)
        return self.node.emit(Add(), sums, self.node.emit(Mul(), cell, weight))


def recurrent(node: OnnxNode) -> list[Value]:
    """RNN, GRU or LSTM: all states, the last one and, of LSTM, the last cell."""
    x, w, r = (node.value(index) for index in range(3))
    node.floats(x, w, r)
    batch_first = bool(node.attribute("layout", 0))
    if batch_first:
        x = node.emit(Transpose((1, 0, 2)), x)
    steps, n, _ = x.shape
    passes = DIRECTIONS.get(str(node.attribute("direction", "forward")), ())
    if len(passes) != w.shape[0]:
        node.fail(f"weights {w.type} do not fit direction {node.attribute('direction', 'forward')}")
    _check(node, steps)
    starts = [_initial(node, index, (len(passes), n, r.shape[2]), batch_first) for index in (5, 6)]
    rows: list[Value] = []
    lasts: list[list[Value]] = [[], []]
    for place, backward in enumerate(passes):
        states = [_part(node, start, place) for start in starts]
        one = _direction(node, x, place)
        made: list[Value] = []
        for step in reversed(range(steps)) if backward else range(steps):
            states = _STEPS[node.operator](one, step, *states)
            made.append(states[0])
        made = made[::-1] if backward else made
        flat = [node.reshape(state, (1, 1, *state.shape)) for state in made]
        rows.append(flat[0] if steps == 1 else node.emit(Concat(0), *flat))
        for kept, state in zip(lasts, states, strict=True):
            kept.append(node.reshape(state, (1, *state.shape)))
    y = rows[0] if len(rows) == 1 else node.emit(Concat(1), *rows)  # (T, D, N, H)
    ends = [kept[0] if len(kept) == 1 else node.emit(Concat(0), *kept) for kept in lasts]
    if batch_first:
        y = node.emit(Transpose((2, 0, 1, 3)), y)
        ends = [node.emit(Transpose((1, 0, 2)), end) for end in ends]
    return [y, *ends]


def _check(node: OnnxNode, steps: int) -> None:
    if node.optional(4) is not None and (node.array(4, "sequence lengths") != steps).any():
        node.fail("sequences of several lengths are not supported; all of the input's are")
    for name in ("clip", "input_forget"):
        if node.attribute(name, 0):
            node.fail(f"{name} {node.attribute(name, 0)} is not supported; 0 is")


def _initial(node: OnnxNode, index: int, shape: tuple[int, ...], batch_first: bool) -> Value:
    """Return the states (D, N, H) at the beginning, which are zero unless they are given."""
    given = node.optional(index)
    if given is None or (index == 6 and node.operator != "LSTM"):
        return node.constant(np.zeros(shape, np.float32))
    return node.emit(Transpose((1, 0, 2)), given) if batch_first else given


def _part(node: OnnxNode, value: Value, place: int) -> Value:
    """Return one direction's part of what has them on its first axis."""
    rest = value.shape[1:]
    op = Slice((place,) + (0,) * len(rest), (1, *rest), (1,) * len(value.shape))
    part = value if value.shape[0] == 1 else node.emit(op, value)
    return node.reshape(part, rest)


def _direction(node: OnnxNode, x: Value, place: int) -> _Pass:
    w, r = (_part(node, node.value(index), place) for index in (1, 2))
    size = r.shape[1]
    defaults = DEFAULTS[node.operator]
    names = [str(_text(name)) for name in node.attribute("activations", [])]
    names = names[place * len(defaults) :][: len(defaults)] or list(defaults)
    bias = node.optional(3)
    width = GATES[node.operator] * size
    zeros = node.constant(np.zeros(2 * width, np.float32))
    both = zeros if bias is None else _part(node, bias, place)
    own = node.emit(Slice((0,), (width,), (1,)), both)
    steps, n, features = x.shape
    flat = node.reshape(x, (steps * n, features))
    gates = node.emit(Add(), node.emit(Dense(), flat, w), own)
    peephole = node.optional(7) if node.operator == "LSTM" else None
    return _Pass(
        node,
        size,
        names,
        node.reshape(gates, (steps, n, width)),
        r,
        node.emit(Slice((width,), (width,), (1,)), both),
        None if peephole is None else _part(node, peephole, place),
    )


def _text(name: object) -> object:
    return name.decode() if isinstance(name, bytes) else name


def _sums(one: _Pass, step: int, state: Value) -> Value:
    """Return the sums of all gates, of the input and of the state."""
    emit = one.node.emit
    return emit(Add(), one.inputs(step), emit(Add(), emit(Dense(), state, one.r), one.bias))


def _rnn(one: _Pass, step: int, state: Value, cell: Value) -> list[Value]:
    return [one.apply(0, _sums(one, step, state)), cell]


def _gru(one: _Pass, step: int, state: Value, cell: Value) -> list[Value]:
    """z and r of both sums; h with r on the state, or on what the state gives."""
    emit, size = one.node.emit, one.size
    own = one.inputs(step)
    if one.node.attribute("linear_before_reset", 0):
        state_sums = emit(Add(), emit(Dense(), state, one.r), one.bias)
        z, r = (
            one.apply(0, emit(Add(), one.gate(own, place), one.gate(state_sums, place)))
            for place in (0, 1)
        )
        inner = emit(Mul(), r, one.gate(state_sums, 2))
    else:
        rows = emit(Slice((0, 0), (2 * size, size), (1, 1)), one.r)
        last = emit(Slice((2 * size, 0), (size, size), (1, 1)), one.r)
        first = emit(Dense(), state, rows)
        z, r = (
            one.apply(
                0,
                emit(
                    Add(),
                    emit(Add(), one.gate(own, place), one.gate(first, place)),
                    one.gate(one.bias, place),
                ),
            )
            for place in (0, 1)
        )
        inner = emit(Dense(), emit(Mul(), r, state), last)
        inner = emit(Add(), inner, one.gate(one.bias, 2))
    h = one.apply(1, emit(Add(), one.gate(own, 2), inner))
    return [emit(Add(), h, emit(Mul(), z, emit(Sub(), state, h))), cell]


def _lstm(one: _Pass, step: int, state: Value, cell: Value) -> list[Value]:
    """i, o, f and c of both sums; the cell is f times itself plus i c, the state o times that."""
    emit = one.node.emit
    sums = _sums(one, step, state)
    i, o, f, c = (one.gate(sums, place) for place in range(4))
    i = one.apply(0, one.peeped(i, cell, 0))
    f = one.apply(0, one.peeped(f, cell, 2))
    cell = emit(Add(), emit(Mul(), f, cell), emit(Mul(), i, one.apply(1, c)))
    o = one.apply(0, one.peeped(o, cell, 1))
    return [emit(Mul(), o, one.apply(2, cell)), cell]


_STEPS: dict[str, Callable[[_Pass, int, Value, Value], list[Value]]] = {
    "RNN": _rnn,
    "GRU": _gru,
    "LSTM": _lstm,
}
