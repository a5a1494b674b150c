"""A group of integer operators as one VTA layer, or the reason why VTA cannot run it.

A layer is an anchor (convolution, dense layer, pooling, or none) followed by element-wise
operators on int32 accumulators, from int8 inputs to one int8 output. Everything is seen as images:
(N, K) is (N, K, 1, 1).
"""

from dataclasses import dataclass
from math import gcd, lcm
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ...isa.config import Config
from ...isa.instructions import Alu, Load
from ...runtime.kernel import greatest
from ..graph import DType, Graph, Node, Value
from ..layers import operator_name
from ..ops.elementwise import Add, Binary, Cast, Maximum, Minimum, Mul, ShiftRight
from ..ops.linear import Conv2d, Dense
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.shape import Reshape
from ..passes.fuse import Group
from .tiling import Workload

Anchor: TypeAlias = Conv2d | Dense | MaxPool2d | SumPool2d
ALU = (Add, Mul, Maximum, Minimum, ShiftRight)
IMMEDIATE = range(~greatest(Alu, "imm", Config()), greatest(Alu, "imm", Config()) + 1)
MAX_PAD = greatest(Load, "x_pad_0", Config())

_COMMUTES = (Add, Mul, Maximum, Minimum)


class Unsupported(Exception):
    """Why VTA cannot run a group, in words for the report; the CPU runs it then."""


@dataclass(frozen=True)
class Immediate:
    """A constant operand that the instruction holds."""

    value: int


@dataclass(frozen=True, eq=False)
class Vector:
    """A constant operand with a value for each channel: int32 (channels)."""

    data: npt.NDArray[np.int32]


Operand: TypeAlias = Value | Immediate | Vector


@dataclass(frozen=True, eq=False)
class Step:
    """One element-wise operator: `output` = `left` op `right`, in accumulators."""

    op: Binary
    left: Value
    right: Operand
    output: Value


@dataclass(frozen=True, eq=False)
class Layer:
    """A group as VTA computes it.

    Parameters
    ----------
    group : Group
        What it stands for.
    output : Value
        The int8 result.
    anchor : Node or None
        The convolution, dense layer or pooling.
    data : Value or None
        The anchor's int8 input: for a dense layer on flattened images, the images.
    weights : int8 (O, C, KH, KW) or None
        Of a convolution or dense layer; of one in groups, C are the channels of a group.
    casts : tuple of (int8 Value, int32 Value)
        Inputs that go straight into accumulators.
    steps : tuple of Step
        The element-wise operators in order; the last one's output is cast to `output`.
    result : Value
        The int32 value that is cast to `output`; `output` itself for a lone maximum pooling.
    """

    group: Group
    output: Value
    anchor: Node | None
    data: Value | None
    weights: npt.NDArray[np.int8] | None
    casts: tuple[tuple[Value, Value], ...]
    steps: tuple[Step, ...]
    result: Value

    @property
    def name(self) -> str:
        """The source layer that it is named after."""
        return self.group.layer

    @property
    def kind(self) -> str:
        """The operator that a report names: ONNX's name of the anchor."""
        if self.anchor is not None:
            return operator_name(self.anchor)
        added = any(isinstance(step.right, Value) for step in self.steps)
        return "Add" if added else "Requantize"

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The int8 values that it reads, each once."""
        data = (self.data,) if self.data is not None else ()
        return tuple(dict.fromkeys((*data, *(source for source, _ in self.casts))))

    @property
    def groups(self) -> int:
        """Groups of channels that are convolved each by itself."""
        op = self.anchor.op if self.anchor else None
        return op.groups if isinstance(op, Conv2d) else 1

    def section(self, config: Config) -> tuple[int, int]:
        """Return how many blocks of outputs sum over how many blocks of inputs.

        Of a convolution in groups, as many blocks as whole groups fill; inside, weights between
        groups are zero. So a depthwise convolution multiplies diagonal matrices: (1, 1).
        """
        assert self.weights is not None
        assert self.data is not None
        block, channels = config.block_in, image(self.data)[1]
        outputs, inputs = len(self.weights) // self.groups, channels // self.groups
        together = lcm(block // gcd(block, outputs), block // gcd(block, inputs))
        blocks = -(-channels // block)
        if blocks % -(-together * inputs // block):  # the last section would be a part of one
            together = self.groups
        together = min(together, self.groups)
        return -(-together * outputs // block), -(-together * inputs // block)

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the anchor's kernel."""
        if self.weights is not None:
            return self.weights.shape[2], self.weights.shape[3]
        op = self.anchor.op if self.anchor else None
        return op.window if isinstance(op, MaxPool2d | SumPool2d) else (1, 1)

    @property
    def strides(self) -> tuple[int, int]:
        """Rows and columns that the anchor's window moves by."""
        op = self.anchor.op if self.anchor else None
        return op.strides if isinstance(op, Conv2d | MaxPool2d | SumPool2d) else (1, 1)

    @property
    def dilations(self) -> tuple[int, int]:
        """Rows and columns between the elements of the anchor's window."""
        op = self.anchor.op if self.anchor else None
        return op.dilations if isinstance(op, Conv2d | MaxPool2d) else (1, 1)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right padding of the anchor."""
        op = self.anchor.op if self.anchor else None
        return op.pads if isinstance(op, Conv2d | MaxPool2d | SumPool2d) else (0, 0, 0, 0)

    @property
    def halo(self) -> int | None:
        """What the input must be surrounded with in memory; None where the loads pad with zeros.

        Loads pad with up to 15 zeros. A zero point that is not zero, and padding so wide that
        whole windows lie in it, has to be in memory around the image. Maximum pooling clips its
        windows instead.
        """
        op = self.anchor.op if self.anchor else None
        if not isinstance(op, Conv2d | SumPool2d) or not any(op.pads):
            return None
        spans = [(k - 1) * d + 1 for k, d in zip(self.window, self.dilations, strict=True)]
        wide = any(pad >= min(spans[i % 2], MAX_PAD + 1) for i, pad in enumerate(op.pads))
        return op.pad_value if op.pad_value != 0 or wide else None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the model: those of padding channels do not count."""
        if self.weights is None:
            return 0
        n, _, rows, cols = image(self.output)
        return n * rows * cols * self.weights.size

    def workload(self, config: Config) -> Workload:
        """Return what its tiling depends on."""
        n, channels, rows, cols = image(self.output)
        dense = self.weights is not None
        out_blocks = -(-channels // config.block_out)
        section, in_blocks = self.section(config) if dense else (out_blocks, 1)
        tensor = 2 if config.acc_read_ports == 1 else 1
        cycles = sum(tensor if isinstance(step.right, Value) else 1 for step in self.steps)
        if dense:
            cycles += 1  # reset
        elif self.anchor is not None:
            cycles += tensor * self.window[0] * self.window[1] + 2
        return Workload(
            batches=-(-n // config.batch),
            out_blocks=out_blocks,
            out_rows=rows,
            out_cols=cols,
            in_blocks=in_blocks,
            section=section,
            window=self.window,
            strides=self.strides,
            dilations=self.dilations,
            dense=dense,
            vectors=sum(isinstance(step.right, Vector) for step in self.steps),
            residuals=len(self.casts),
            tile_cycles=cycles,
        )


def image(value: Value) -> tuple[int, int, int, int]:
    """Return the shape of a value as images (N, C, H, W)."""
    if len(value.shape) == 2:
        return (*value.shape, 1, 1)
    n, c, h, w = value.shape
    return n, c, h, w


def match(group: Group, graph: Graph) -> Layer:
    """Return the group as a layer.

    Raises
    ------
    Unsupported
        When VTA has no instructions for it, with the reason.
    """
    output = _check_ends(group)
    anchors = [node for node in group.nodes if isinstance(node.op, Anchor)]
    if len(anchors) > 1:
        raise Unsupported(f"{anchors[0].layer} and {anchors[1].layer} add their accumulators")
    anchor = anchors[0] if anchors else None
    data, weights = _anchor(anchor, graph) if anchor else (None, None)
    casts: list[tuple[Value, Value]] = []
    steps: list[Step] = []
    result = output
    for node in group.nodes:
        op = node.op
        if isinstance(op, Anchor):
            pass
        elif isinstance(op, Cast) and op.dtype is DType.INT32:
            casts.append((node.inputs[0], node.output))
        elif isinstance(op, Cast) and op.dtype is DType.INT8:
            result = node.inputs[0]
        elif isinstance(op, ALU):
            steps.append(_step(node, op, graph))
        else:
            raise Unsupported(f"VTA has no instruction for {type(op).__name__}")
        if node.output.shape != output.shape and node.output.shape != result.shape:
            raise Unsupported(f"{node.layer} broadcasts {node.output.shape} to {output.shape}")
    layer = Layer(group, output, anchor, data, weights, tuple(casts), tuple(steps), result)
    own = {node.output for node in group.nodes}
    if again := [value.name for value in layer.inputs if value in own]:
        raise Unsupported(f"it reads {again[0]} back, which it computes itself")
    if not layer.inputs:
        raise Unsupported("it computes on constants only")
    return layer


def _check_ends(group: Group) -> Value:
    if len(group.outputs) != 1 or group.outputs[0].dtype is not DType.INT8:
        kinds = ", ".join(value.dtype.value for value in group.outputs)
        raise Unsupported(f"it gives {kinds}; VTA stores one int8 tensor")
    for value in (*group.inputs, *group.outputs):
        if value.dtype is not DType.INT8:
            raise Unsupported(f"it reads {value.dtype.value}; VTA loads int8")
        if len(value.shape) not in (2, 4):
            raise Unsupported(f"it has a tensor of rank {len(value.shape)}; VTA works on images")
    return group.outputs[0]


def _anchor(node: Node, graph: Graph) -> tuple[Value, npt.NDArray[np.int8] | None]:
    """Return the anchor's image input and its weights (O, C, KH, KW)."""
    op, data = node.op, node.inputs[0]
    if not isinstance(op, Conv2d | Dense):
        return data, None
    weights = graph.constants.get(node.inputs[1])
    if weights is None:
        raise Unsupported("its weights are not constant")
    if data in graph.constants:
        raise Unsupported("its input is constant")
    if isinstance(op, Conv2d):
        return data, weights
    source = graph.producer(data)
    if source is not None and isinstance(source.op, Reshape):
        images = source.inputs[0]
        if len(images.shape) == 4 and images.shape[0] == data.shape[0]:
            return images, weights.reshape(weights.shape[0], *images.shape[1:])
    return data, weights.reshape(*weights.shape, 1, 1)


def _step(node: Node, op: Binary, graph: Graph) -> Step:
    left, right = node.inputs
    if node.output.dtype is not DType.INT32:
        raise Unsupported(f"{type(op).__name__} of {left.dtype.value}; VTA computes on int32")
    if left in graph.constants and isinstance(op, _COMMUTES):
        left, right = right, left
    if left in graph.constants:
        raise Unsupported(f"{type(op).__name__} of a constant and a tensor")
    operand: Operand = right
    if right in graph.constants:
        operand = _constant(graph.constants[right], node.output)
    return Step(op, left, operand, node.output)


def _constant(array: npt.NDArray[np.generic], output: Value) -> Immediate | Vector:
    """Return a constant as immediate where it is one number of 16 bits, else one a channel."""
    channels = output.shape[1]
    wide = np.broadcast_to(array, output.shape)
    vector = wide[0].reshape(channels, -1)[:, 0]
    if not np.array_equal(wide, np.broadcast_to(_along_channels(vector, output), output.shape)):
        raise Unsupported("a constant varies within a channel")
    if (vector == vector[0]).all() and int(vector[0]) in IMMEDIATE:
        return Immediate(int(vector[0]))
    return Vector(vector.astype(np.int32))


def _along_channels(vector: npt.NDArray[np.generic], output: Value) -> npt.NDArray[np.generic]:
    return vector.reshape(1, -1, *(1,) * (len(output.shape) - 2))
