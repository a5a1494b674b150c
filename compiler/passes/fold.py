"""Constants computed ahead, and operators taken into the ones before them, in exact arithmetic."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..builder import GraphBuilder
from ..graph import Graph, Node, Op, Value
from ..ops.elementwise import Add, Binary, Cast, Div, Maximum, Minimum, Mul, Sub, Unary
from ..ops.linear import Conv2d, Dense
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.shape import Concat, Pad, Reshape, Slice, Transpose

COMMUTATIVE = (Add, Mul, Maximum, Minimum)


def fold(graph: Graph) -> Graph:
    """Return a smaller graph that computes the same; inputs and outputs keep their names.

        f(constants)                     →    constant (not of QuantizeLinear, DequantizeLinear)
        same operator on same values     →    one of them
        x + 0, x * 1, Reshape to itself  →    x
        x - c, x / c, c + x              →    x + -c, x * 1/c, x + c
        (x + c) + d, (x * c) * d         →    x + (c + d), x * (c * d)
        (x + c) * d                      →    x * d + c * d
        Conv(x, w) * c, Conv(x * c, w)   →    Conv(x, w * c)
        Conv(Pad(x)), SumPool(Pad(x))    →    Conv(x), SumPool(x), padded there; of zeros
        MaxPool(Pad(max(x, 0)))          →    MaxPool(max(x, 0)), padded there
        max(MaxPool(x), c)               →    MaxPool(max(x, c)), as min
        Reshape(Reshape(x))              →    Reshape(x), as Transpose
        f(Reshape(x))                    →    Reshape(f(x)), of extents of 1 and of single elements

    Only where nothing else reads what is taken in. Batch normalisation, a Mul and an Add, so goes
    into the convolution before it.
    """
    folder = _Folder(graph)
    for node in graph.nodes:
        folder.visit(node)
    return folder.finish()


class _Folder:
    """The new graph while it grows. `readers` counts who will read a new value."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.builder = GraphBuilder(graph.name)
        self.new: dict[Value, Value] = {}
        self.readers: dict[Value, int] = {}
        self.made: dict[Value, Node] = {}
        self.same: dict[tuple[Op, tuple[Value, ...]], Value] = {}
        self.builder.reserve(value.name for value in graph.values)
        for value in graph.inputs:
            self.builder.adopt_input(value)
            self._know(value, value)
        for value, array in graph.constants.items():
            self._know(value, self.builder.adopt(value, array))

    def _know(self, old: Value, new: Value) -> None:
        """Record what an old value has become; its readers read the new one from now on."""
        count = sum(node.inputs.count(old) for node in self.graph.consumers(old))
        count += self.graph.outputs.count(old)
        self.new[old] = new
        self.readers[new] = self.readers.get(new, 0) + count

    def visit(self, node: Node) -> None:
        inputs = [self.new[value] for value in node.inputs]
        for value in inputs:
            self.readers[value] -= 1
        if len(node.outputs) == 1:
            self._know(node.output, self.emit(node.op, *inputs, layer=node.layer))
            return
        outputs = self.builder.add_many(node.op, *inputs, layer=node.layer)
        for old, new in zip(node.outputs, outputs, strict=True):
            self._know(old, new)

    def array(self, value: Value) -> NDArray[Any] | None:
        """Return the array of a constant."""
        return self.builder.constants.get(value)

    def only(self, value: Value, kind: type[Op] | tuple[type[Op], ...]) -> Node | None:
        """Return the node that made `value`, if it is of a kind and nothing else will read it."""
        node = self.made.get(value)
        alone = self.readers.get(value, 0) == 0
        return node if node is not None and alone and isinstance(node.op, kind) else None

    def constant(self, array: NDArray[Any] | np.generic, layer: str) -> Value:
        """Return a constant value."""
        return self.builder.constant(np.asarray(array), f"{layer}.const")

    def emit(self, op: Op, *inputs: Value, layer: str) -> Value:
        """Return the value of an operation, simplified."""
        arrays = [self.array(value) for value in inputs]
        known = [array for array in arrays if array is not None]
        quantization = isinstance(op, (QuantizeLinear, DequantizeLinear))
        if len(known) == len(arrays) and not quantization:
            (result,) = op.evaluate(*known)
            return self.constant(result, layer)
        moved = self._inside_reshape(op, inputs, layer)
        if moved is not None:
            return moved
        match op:
            case Binary():
                simpler = self._binary(op, inputs[0], inputs[1], layer)
            case Conv2d() | Dense():
                simpler = self._linear(op, inputs[0], inputs[1], layer)
            case SumPool2d() | MaxPool2d():
                simpler = self._pool(op, inputs[0], layer)
            case Reshape() | Transpose() | Cast() | Concat() | Slice() | Pad():
                simpler = self._moved(op, inputs, layer)
            case _:
                simpler = None
        return simpler if simpler is not None else self._plain(op, *inputs, layer=layer)

    def _inside_reshape(self, op: Op, inputs: tuple[Value, ...], layer: str) -> Value | None:
        """Return a function of single elements before a Reshape that only changes extents of 1.

        So layers of sequences, which are images of height 1, follow each other as images.
        """
        if not isinstance(op, (Binary, Cast, Unary, QuantizeLinear, DequantizeLinear)):
            return None
        for place, value in enumerate(inputs):
            reshape = self.only(value, Reshape)
            others = [self.array(other) for other in (*inputs[:place], *inputs[place + 1 :])]
            arrays = [array for array in others if array is not None]
            if reshape is None or len(arrays) < len(others):
                continue
            (inner,) = reshape.inputs
            scalar = isinstance(op, Binary) or all(array.ndim == 0 for array in arrays)
            if not scalar or not _only_ones(inner.shape, value.shape):
                continue
            (made,) = op.infer([item.type for item in inputs])
            if made.shape != value.shape:
                continue
            shapes = [_respread(array.shape, value.shape, inner.shape) for array in arrays]
            new = [
                self.constant(array.reshape(shape), layer) if array.ndim else other
                for array, shape, other in zip(
                    arrays, shapes, (*inputs[:place], *inputs[place + 1 :]), strict=True
                )
            ]
            result = self.emit(op, *new[:place], inner, *new[place:], layer=layer)
            return self.emit(Reshape(value.shape), result, layer=reshape.layer)
        return None

    def _plain(self, op: Op, *inputs: Value, layer: str) -> Value:
        value = self.same.get((op, inputs))
        if value is None:
            value = self.builder.add(op, *inputs, layer=layer)
            self.made[value] = self.builder.nodes[-1]
            self.same[op, inputs] = value
        return value

    def _binary(self, op: Binary, a: Value, b: Value, layer: str) -> Value | None:
        if self.array(a) is not None and isinstance(op, COMMUTATIVE):
            a, b = b, a
        constant = self.array(b)
        if constant is None:
            return None
        floating = constant.dtype.kind == "f"
        if isinstance(op, Sub):
            return self.emit(Add(), a, self.constant(np.negative(constant), layer), layer=layer)
        if isinstance(op, Div) and floating and (constant != 0).all():
            return self.emit(Mul(), a, self.constant(1 / constant, layer), layer=layer)
        if op.infer([a.type, b.type]) != (a.type,):
            return None
        if isinstance(op, (Add, Mul)) and (constant == isinstance(op, Mul)).all():
            return a
        if floating and isinstance(op, Add):
            before = self.only(a, Add)
            other = None if before is None else self.array(before.inputs[1])
            if before is not None and other is not None and before.inputs[0].shape == a.shape:
                total = self.constant(other + constant, layer)
                return self.emit(Add(), before.inputs[0], total, layer=before.layer)
        if floating and isinstance(op, Mul):
            return self._product(a, constant, layer)
        if isinstance(op, (Maximum, Minimum)) and constant.ndim == 0:
            pool = self.only(a, MaxPool2d)
            if pool is not None:
                first = self.emit(op, pool.inputs[0], b, layer=layer)
                return self.emit(pool.op, first, layer=pool.layer)
        return self._plain(op, a, b, layer=layer)

    def _product(self, a: Value, constant: NDArray[Any], layer: str) -> Value | None:
        before = self.only(a, (Add, Mul))
        other = None if before is None else self.array(before.inputs[1])
        if before is not None and other is not None and before.inputs[0].shape == a.shape:
            inner = before.inputs[0]
            product = self.constant(other * constant, layer)
            if isinstance(before.op, Mul):
                return self.emit(Mul(), inner, product, layer=before.layer)
            factor = self.constant(constant, layer)
            scaled = self.emit(Mul(), inner, factor, layer=layer)
            return self.emit(Add(), scaled, product, layer=before.layer)
        linear = self.only(a, (Conv2d, Dense))
        weights = None if linear is None else self.array(linear.inputs[1])
        along = along_channels(constant, a)
        if linear is None or weights is None or along is None:
            return None
        scaled = weights * along.reshape((-1,) + (1,) * (weights.ndim - 1))
        return self._plain(
            linear.op, linear.inputs[0], self.constant(scaled, linear.layer), layer=linear.layer
        )

    def _linear(self, op: Conv2d | Dense, x: Value, w: Value, layer: str) -> Value | None:
        pad = self.only(x, Pad)
        if isinstance(op, Conv2d) and pad is not None:
            pads = _merged(op.pads, pad, op.pad_value)
            if pads is not None:
                merged = Conv2d(op.strides, pads, op.dilations, op.groups, op.pad_value)
                return self.emit(merged, pad.inputs[0], w, layer=layer)
        before = self.only(x, Mul)
        weights, factor = self.array(w), None if before is None else self.array(before.inputs[1])
        if before is None or weights is None or factor is None or weights.dtype.kind != "f":
            return None
        along = along_channels(factor, x)
        grouped = isinstance(op, Conv2d) and op.groups > 1
        if along is None or before.inputs[0].shape != x.shape or (grouped and along.size > 1):
            return None
        along = along.reshape((1, -1) + (1,) * (weights.ndim - 2))
        return self.emit(op, before.inputs[0], self.constant(weights * along, layer), layer=layer)

    def _pool(self, op: SumPool2d | MaxPool2d, x: Value, layer: str) -> Value | None:
        pad = self.only(x, Pad)
        if pad is None:
            return None
        inner = pad.inputs[0]
        if isinstance(op, SumPool2d):
            pads = _merged(op.pads, pad, op.pad_value)
            merged = None if pads is None else SumPool2d(op.window, op.strides, pads, op.pad_value)
        else:
            pads = _merged(op.pads, pad, 0)
            spans = [d * (k - 1) + 1 for d, k in zip(op.dilations, op.window, strict=True)]
            plain = pads is not None and op.dilations == (1, 1) and not any(op.pads)
            if pads is None or not plain or not self._not_negative(inner):
                return None
            if max(pads[0], pads[2]) >= spans[0] or max(pads[1], pads[3]) >= spans[1]:
                return None
            merged = MaxPool2d(op.window, op.strides, pads)
        return None if merged is None else self.emit(merged, inner, layer=layer)

    def _not_negative(self, value: Value) -> bool:
        node = self.made.get(value)
        if node is None or not isinstance(node.op, Maximum):
            return False
        bounds = [self.array(item) for item in node.inputs]
        return any(bound is not None and (bound >= 0).all() for bound in bounds)

    def _moved(self, op: Op, inputs: tuple[Value, ...], layer: str) -> Value | None:
        x = inputs[0]
        if len(inputs) == 1 and op.infer([x.type]) == (x.type,) and not isinstance(op, Transpose):
            return None if isinstance(op, Slice) else x
        if isinstance(op, Reshape):
            before = self.only(x, Reshape)
            return None if before is None else self.emit(op, before.inputs[0], layer=layer)
        if isinstance(op, Transpose):
            if op.perm == tuple(range(len(op.perm))):
                return x
            before = self.only(x, Transpose)
            if before is not None and isinstance(before.op, Transpose):
                perm = tuple(before.op.perm[axis] for axis in op.perm)
                return self.emit(Transpose(perm), before.inputs[0], layer=layer)
        return None

    def finish(self) -> Graph:
        outputs: list[Value] = []
        names = {new: old.name for old, new in reversed(self.new.items())}
        fixed = {*self.builder.inputs, *self.builder.constants}
        for old in self.graph.outputs:
            new = self.new[old]
            if old is not new and (new in fixed or new in outputs):
                new = self.builder.add(Reshape(new.shape), new, layer=old.name)
            names[new] = old.name
            outputs.append(new)
        kept = {new: name for new, name in names.items() if new not in fixed}
        return self.builder.build(outputs).rename(kept)


def _only_ones(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Return whether two shapes differ in extents of 1 alone."""
    return [extent for extent in a if extent != 1] == [extent for extent in b if extent != 1]


def _respread(
    shape: tuple[int, ...], old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the shape in which what broadcasts to `old` broadcasts to `new` in the same way.

    The two differ in extents of 1 alone.
    """
    padded = (1,) * (len(old) - len(shape)) + shape
    kept = iter([own for own, extent in zip(padded, old, strict=True) if extent != 1])
    return tuple(1 if extent == 1 else next(kept) for extent in new)


def along_channels(constant: NDArray[Any], value: Value) -> NDArray[Any] | None:
    """Return a constant that broadcasts against (N, C, ...) as (C,), or (1,) if all are equal.

    None when it varies along another axis than the second.
    """
    if constant.size == 1:
        return constant.reshape(1)
    shape = (1,) * (len(value.shape) - constant.ndim) + constant.shape
    if len(shape) < 2 or any(extent != 1 for axis, extent in enumerate(shape) if axis != 1):
        return None
    return constant.reshape(-1)


def _merged(
    pads: tuple[int, int, int, int], pad: Node, zero: int
) -> tuple[int, int, int, int] | None:
    """Return `pads` grown by a Pad of images, None when that is not the same."""
    op = pad.op
    assert isinstance(op, Pad)
    if op.value != zero or any(op.before[:2]) or any(op.after[:2]):
        return None
    top, left, bottom, right = pads
    return (top + op.before[2], left + op.before[3], bottom + op.after[2], right + op.after[3])
