"""Random graphs for every operator, and a comparison with what NumPy makes of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType, Graph, Op, Value
from vtakit.compiler.ops.elementwise import (
    Add,
    Cast,
    Div,
    Maximum,
    Minimum,
    Mul,
    Pow,
    ShiftRight,
    Sub,
    Unary,
)
from vtakit.compiler.ops.linear import Conv2d, Dense, MatMul
from vtakit.compiler.ops.logic import Equal, Less, LessOrEqual, Where
from vtakit.compiler.ops.pool import MaxPool2d, SumPool2d
from vtakit.compiler.ops.qlinear import QLinearAveragePool, QLinearSoftmax
from vtakit.compiler.ops.quantize import DequantizeLinear, QuantizeLinear
from vtakit.compiler.ops.reduce import ArgMax, Reduce, Softmax
from vtakit.compiler.ops.shape import (
    Broadcast,
    Concat,
    Gather,
    Pad,
    Reshape,
    Slice,
    Transpose,
    Unfold,
)
from vtakit.compiler.reference import outputs
from vtakit.runtime.host.elementwise import FUNCTIONS
from vtakit.runtime.host.reduce import REDUCTIONS

Array = NDArray[Any]
Case = tuple[Graph, int]
"""A graph, and where its inputs come from."""


def values(random: np.random.Generator, value: Value) -> Array:
    """Random numbers of a value's type, such as a network has."""
    if value.dtype.numpy.kind == "f":
        return random.normal(size=value.shape).astype(value.dtype.numpy)
    if value.dtype is DType.BOOL:
        return random.integers(0, 2, value.shape).astype(bool)
    limits = np.iinfo(value.dtype.numpy)
    low, high = max(limits.min, -(1 << 20)), min(limits.max, 1 << 20)
    return random.integers(low, high, value.shape, endpoint=True).astype(value.dtype.numpy)


def arrays_of(case: Case) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return random inputs of a graph, and its outputs as the reference has them."""
    graph, seed = case
    random = np.random.default_rng(seed)
    inputs = {value.name: values(random, value) for value in graph.inputs}
    return inputs, outputs(graph, inputs)


def compare(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    """Compare outputs: integers are equal, floats within 1e-5."""
    for name, array in wanted.items():
        if array.dtype.kind != "f":
            np.testing.assert_array_equal(found[name], array, err_msg=name)
            continue
        most = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        made = np.asarray(found[name], array.dtype)
        near = 1e-3 if array.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(made, array, rtol=near, atol=near * most, err_msg=name)


class Builder(GraphBuilder):
    """A builder to whom layers need no names."""

    def add(self, op: Op, *inputs: Value, layer: str = "layer", name: str = "") -> Value:
        return super().add(op, *inputs, layer=layer, name=name)


def graph_of(build: Callable[[Builder], list[Value]]) -> Graph:
    builder = Builder("operators")
    return builder.build(build(builder))


small = st.integers(1, 5)
CHANNELS = [
    (1, 3, 5), (1, 16, 20), (1, 17, 33), (6, 1, 1), (20, 1, 1), (2, 16, 16), (2, 3, 4), (3, 2, 1),
]  # fmt: skip
"""Groups of a convolution, and each one's channels in and out."""


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = draw(st.sampled_from(["int8", "float32"]))
    random = np.random.default_rng(seed)
    groups, inner, outer = draw(st.sampled_from(CHANNELS))
    kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    rows, cols = draw(st.integers(5, 9)), draw(st.integers(5, 9))
    n = draw(st.integers(1, 2))
    dtype = DType(kind)
    fill = draw(st.integers(-128, 127)) if kind == "int8" else 0

    def build(b: Builder) -> list[Value]:
        x = b.input("x", (n, groups * inner, rows, cols), dtype)
        shape = (groups * outer, inner, kh, kw)
        w = b.constant(values(random, Value("w", shape, dtype)), "w")
        y = b.add(Conv2d(strides, pads, dilations, groups, fill), x, w, layer="conv")
        channels = (groups * outer, 1, 1)
        bias = b.constant(values(random, Value("b", channels, y.dtype)), "bias")
        y = b.add(Add(), y, bias, layer="conv")
        if kind == "float32":
            return [b.add(Unary("sigmoid"), y, layer="conv")]
        bits = b.constant(random.integers(-2, 9, channels).astype(np.int32), "bits")
        low = b.constant(np.array(-128, np.int32), "low")
        high = b.constant(np.array(127, np.int32), "high")
        y = b.add(Add(), y, b.add(Cast(DType.INT32), b.input("r", y.shape, DType.INT8)))
        y = b.add(ShiftRight(), y, bits)
        y = b.add(Cast(DType.INT8), b.add(Minimum(), b.add(Maximum(), y, low), high))
        again = b.constant(values(random, Value("v", (7, groups * outer, 1, 1), dtype)), "v")
        return [y, b.add(Conv2d(), y, again, layer="again")]

    return graph_of(build), seed


@st.composite
def pooling_and_dense_layers(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = draw(st.sampled_from(["int8", "float32"]))
    random = np.random.default_rng(seed)
    dtype = DType(kind)
    n, c = draw(st.integers(1, 3)), draw(st.sampled_from([1, 4, 16, 19]))
    rows, cols = draw(st.integers(5, 8)), draw(st.integers(4, 8))
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    dilations = draw(st.sampled_from([(1, 1), (2, 1)]))
    pads = draw(st.tuples(*[st.integers(0, 1)] * 4))

    def build(b: Builder) -> list[Value]:
        x = b.input("x", (n, c, rows, cols), dtype)
        top = b.add(MaxPool2d(window, strides, pads, dilations), x, layer="top")
        sums = b.add(SumPool2d(window, strides, pads, 3 if kind == "int8" else 0), x, layer="sums")
        flat = b.add(Reshape((n, top.size // n)), top, layer="flat")
        w = b.constant(values(random, Value("w", (21, flat.shape[1]), dtype)), "w")
        return [top, sums, b.add(Dense(), flat, w, layer="dense")]

    return graph_of(build), seed


@st.composite
def element_by_element(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = draw(st.sampled_from([kind for kind in DType if kind is not DType.BOOL]))
    shape = tuple(draw(st.lists(small, min_size=1, max_size=4)))
    other = tuple(draw(st.sampled_from([1, extent])) for extent in shape)
    other = other[draw(st.integers(0, len(shape))) :]

    def build(b: Builder) -> list[Value]:
        x, y = b.input("x", shape, kind), b.input("y", other, kind)
        found = [b.add(op(), x, y) for op in (Add, Sub, Mul, Maximum, Minimum)]
        three = b.constant(np.array(3, kind.numpy), "three")
        found.append(b.add(Div(), x, three))
        found.append(b.add(Add(), b.add(Mul(), found[0], three), found[1]))
        compared = [b.add(op(), x, y) for op in (Equal, Less, LessOrEqual)]
        found += [*compared, b.add(Where(), compared[1], x, y)]
        found.append(b.add(Add(), b.add(Where(), b.add(Maximum(), *compared[:2]), three, x), y))
        if kind is DType.FLOAT32:
            names = draw(st.lists(st.sampled_from(list(FUNCTIONS)), min_size=1, max_size=3))
            positive = b.add(Add(), b.add(Unary("abs"), x), b.constant(np.float32(0.1), "tenth"))
            found.extend(b.add(Unary(name), positive) for name in names)
        else:
            found.extend(b.add(Cast(to), x) for to in (DType.INT8, DType.INT64, DType.FLOAT32))
            found.append(b.add(Cast(DType.BOOL), x))
        return found

    return graph_of(build), seed


@st.composite
def moving_data(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = DType(draw(st.sampled_from(["int8", "int64", "float32", "bool"])))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    rank = len(shape)
    axis = draw(st.integers(0, rank - 1))
    perm = tuple(draw(st.permutations(range(rank))))
    around = st.tuples(*[st.integers(0, 2)] * rank)
    before, after = draw(around), draw(around)
    step = draw(st.sampled_from([1, 2, -1]))
    counts = tuple(-(-extent // abs(step)) for extent in shape)
    starts = tuple(0 if step > 0 else extent - 1 for extent in shape)
    indices = draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1, max_size=4))
    image = (draw(small), draw(small), 5, 7)
    window, strides = ((draw(small), draw(small)) for _ in range(2))
    dilations = (1 if window[0] > 3 else 2, 1 if window[1] > 3 else 2)

    def build(b: Builder) -> list[Value]:
        x = b.input("x", shape, kind)
        places = b.constant(np.array(indices, np.int64), "places")
        moved = b.add(Transpose(perm), x)
        return [
            moved,
            b.add(Reshape((moved.size,)), moved),
            b.add(Pad(before, after, 1), x),
            b.add(Slice(starts, counts, (step,) * rank), x),
            b.add(Concat(axis), x, x),
            b.add(Gather(axis), x, places),
            b.add(Broadcast((2, *shape)), x),
            b.add(Unfold(window, strides, dilations), b.input("image", image, kind)),
        ]

    return graph_of(build), seed


@st.composite
def reductions(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = DType(draw(st.sampled_from(["int8", "int32", "float32"])))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    axis, keep = min(axes), draw(st.booleans())
    names = draw(st.lists(st.sampled_from(list(REDUCTIONS)), min_size=1, max_size=3))

    def build(b: Builder) -> list[Value]:
        x = b.input("x", shape, kind)
        found = [b.add(Reduce(name, tuple(sorted(axes)), keep), x) for name in dict.fromkeys(names)]
        found.append(b.add(ArgMax(axis, keep), x))
        if kind is DType.FLOAT32:
            found.extend(b.add(Softmax(axis, log), x) for log in (False, True))
            found.append(b.add(MatMul(), x, x) if shape[-2:] == shape[-1:] * 2 else found[0])
        return list(dict.fromkeys(found))

    return graph_of(build), seed


@st.composite
def between_floats_and_integers(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = draw(st.sampled_from(["int8", "uint8"]))
    random = np.random.default_rng(seed)
    shape = (2, draw(st.integers(1, 18)), draw(small), draw(small))
    axis = draw(st.sampled_from([None, 1, 3]))
    parameters = () if axis is None else (shape[axis],)

    def build(b: Builder) -> list[Value]:
        x = b.input("x", shape, DType.FLOAT32)
        scale = b.constant(random.uniform(0.01, 0.1, parameters).astype(np.float32), "scale")
        low = -20 if kind == "int8" else 100
        zero = b.constant(random.integers(low, low + 40, parameters).astype(kind), "zero")
        along = 1 if axis is None else axis
        q = b.add(QuantizeLinear(along), x, scale, zero)
        return [q, b.add(DequantizeLinear(along), q, scale, zero)]

    return graph_of(build), seed


@st.composite
def as_onnx_runtime_quantizes(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    n, c = draw(st.integers(1, 2)), draw(st.sampled_from([1, 5, 16, 18]))
    rows, cols = draw(st.integers(3, 6)), draw(st.integers(3, 6))
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    scales = st.floats(0.01, 0.2)
    zeros, shift = st.integers(-128, 127), draw(st.sampled_from([0, 128]))

    def build(b: Builder) -> list[Value]:
        x = b.input("x", (n, c, rows, cols), DType.INT8)
        pool = QLinearAveragePool(
            window, strides, draw(scales), draw(zeros), draw(scales),
            draw(zeros), shift,
        )  # fmt: skip
        axis = draw(st.integers(0, 3))
        soft = QLinearSoftmax(axis, draw(scales), 1 / 256, draw(zeros), shift)
        return [b.add(pool, x), b.add(soft, x)]

    return graph_of(build), seed


@st.composite
def weights_that_are_computed(draw: st.DrawFn) -> Case:
    seed = draw(st.integers(0, 1 << 30))
    kind = draw(st.sampled_from(["int8", "float32"]))
    groups = draw(st.integers(1, 2))
    dtype = DType(kind)

    def build(b: Builder) -> list[Value]:
        x, w = b.input("x", (2, 6, 5, 4), dtype), b.input("w", (4, 6 // groups, 3, 2), dtype)
        twice = b.add(Maximum(), w, w)
        conv = b.add(Conv2d((1, 1), (1, 0, 1, 1), (1, 1), groups), x, twice, layer="conv")
        flat = b.add(Reshape((2, 120)), x, layer="flat")
        dense = b.add(Dense(), flat, b.input("v", (7, 120), dtype), layer="dense")
        return [conv, dense]

    return graph_of(build), seed


def values_are_powers(b: Builder) -> list[Value]:
    x = b.input("x", (3, 17), DType.FLOAT32)
    base = b.add(Add(), b.add(Unary("abs"), x), b.constant(np.float32(0.1), "tenth"))
    return [b.add(Pow(), base, x)]


def sine_and_cosine_of_the_same(b: Builder) -> list[Value]:
    x = b.input("x", (3, 17), DType.FLOAT32)
    return [b.add(Add(), b.add(Unary("sin"), x), b.add(Unary("cos"), x))]


def what_a_graph_gives_can_be_an_input_a_constant_or_read_again(b: Builder) -> list[Value]:
    x = b.input("x", (2, 3, 4, 4), DType.INT8)
    w = b.constant(np.ones((5, 3, 3, 3), np.int8), "w")
    wide = b.add(Conv2d(), x, w, layer="conv")
    narrow = b.add(Cast(DType.INT8), wide)
    again = b.add(Conv2d(), narrow, b.constant(np.ones((2, 5, 1, 1), np.int8), "v"))
    return [wide, x, b.constant(np.arange(7, dtype=np.int32), "seven"), narrow, again]


SHAPES = {"number": (), "one": (1,), "column": (3, 1)}


def small_shapes(b: Builder) -> list[Value]:
    inputs = [b.input(name, shape, DType.FLOAT32) for name, shape in SHAPES.items()]
    return [b.add(op, x) for x in inputs for op in (Unary("tanh"), Unary("abs"))]


def what_reads_a_value_before_it_is_copied_reads_it_as_it_lies(b: Builder) -> list[Value]:
    x = b.input("x", (1, 16, 6, 6), DType.FLOAT32)
    w = b.constant(np.eye(16, dtype=np.float32).reshape(16, 16, 1, 1), "w")
    early = b.add(Maximum(), x, b.constant(np.float32(0), "zero"))
    return [b.add(Conv2d(), early, w, layer="early"), b.add(Conv2d(), x, w, layer="late")]


def depthwise_windows_of_every_width(b: Builder) -> list[Value]:
    random = np.random.default_rng(0)
    x = b.input("x", (2, 20, 9, 13), DType.INT8)
    found: list[Value] = []
    for width, strides, dilations in (
        (1, (1, 1), (1, 1)), (2, (1, 2), (2, 1)), (4, (2, 1), (1, 1)), (5, (1, 1), (1, 1)),
        (7, (2, 2), (1, 1)), (9, (1, 1), (1, 1)), (3, (1, 1), (1, 2)),
    ):  # fmt: skip
        w = b.constant(random.integers(-128, 128, (20, 1, 3, width)).astype(np.int8), "w")
        op = Conv2d(strides, (1, width // 2, 1, width // 2), dilations, 20, -7)
        found.append(b.add(op, x, w, layer="depthwise"))
    return found


OPERATORS: dict[str, st.SearchStrategy[Case]] = {
    "convolutions": convolutions(),
    "pooling and dense layers": pooling_and_dense_layers(),
    "element by element": element_by_element(),
    "moving data": moving_data(),
    "reductions": reductions(),
    "between floats and integers": between_floats_and_integers(),
    "as ONNX Runtime quantizes": as_onnx_runtime_quantizes(),
    "weights that are computed": weights_that_are_computed(),
}
"""Random graphs, by what their operators are."""

SPECIAL: dict[str, Callable[[Builder], list[Value]]] = {
    build.__name__: build
    for build in (
        values_are_powers,
        sine_and_cosine_of_the_same,
        what_a_graph_gives_can_be_an_input_a_constant_or_read_again,
        small_shapes,
        what_reads_a_value_before_it_is_copied_reads_it_as_it_lies,
        depthwise_windows_of_every_width,
    )
}
"""Graphs that were wrong once, or are unlike any other."""
