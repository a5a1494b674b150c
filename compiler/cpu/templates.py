"""Schedules of kernels on CPUs."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...runtime.native.jit import Cpu
from ..expr import Axis, Compute, Reduce, Type
from ..schedule import Schedule, Scope
from .intrinsics import dot, fma, registers
from .intrinsics import taps as neighbours
from .stored import BLOCK

MOST_UNROLLED = 160
"""Dot products written out in one loop's body."""
MOST_UNEVEN = 4
"""Tiles of rows that may have code each, so that the last can be smaller."""
SHARED = 8
"""Parts that a loop must have so that threads share it evenly enough."""
WEIGHTS_BYTES = 64
"""Of a step's weights for a block of channels."""
NEAR_BYTES, FAR = 256 << 10, 0.5
"""Weights of a tile that lie near, and the cycles that a step's cost besides where they do not."""
LATENCY = 8
"""Dot products that run beside each other while one takes its time."""
VECTOR = 16
"""Elements of a vector of what lies row by row."""


@dataclass(frozen=True)
class Tile:
    """Accumulators that are in registers at once: blocks of channels, rows, columns.

    Where rows are `uneven` the last tile has fewer, and each has code of its own; else it overlaps
    the one before.
    """

    blocks: int
    rows: int
    cols: int
    uneven: bool = False


def tile(extents: Sequence[int], steps: int, most: int) -> Tile:
    """Return the tile that takes the fewest cycles, by how often registers are fed.

    A step multiplies `rows * cols` numbers by as many vectors of weights as there are blocks; one
    cycle each for a product and for what is loaded, and more for weights.

    Parameters
    ----------
    extents : sequence of int
        Blocks of channels, rows and columns of the result.
    steps : int
        Of the sums.
    most : int
        Registers for accumulators.
    """
    blocks, rows, cols = extents
    best: tuple[float, Tile] | None = None
    for g in range(1, min(blocks, most) + 1):
        far = FAR if g * steps * WEIGHTS_BYTES > NEAR_BYTES else 0
        for ty in range(1, min(rows, most // g) + 1):
            for tx in range(1, min(cols, most // (g * ty)) + 1):
                shared = -(-blocks // g) >= SHARED  # what threads share out besides rows
                uneven = rows % ty > 0 and -(-rows // ty) <= MOST_UNEVEN and shared
                heights = [ty] * -(-rows // ty)
                if uneven:
                    heights[-1] = rows % ty
                each = 0.0
                for height in heights:
                    products, loads = g * height * tx, height * tx + g
                    each += steps * (max(products, loads, LATENCY) + far * g) + 4 * products + 20
                cost = -(-blocks // g) * -(-cols // tx) * each * (1 + 0.002 * (ty - 1))
                if best is None or cost < best[0]:
                    best = cost, Tile(g, ty, tx, uneven)
    assert best is not None
    return best[1]


def dots(out: Compute, acc: Compute, cpu: Cpu) -> Schedule:
    """A convolution or dense layer: a tile of accumulators in registers, fed step by step."""
    body = acc.body
    assert isinstance(body, Reduce)
    is_float = acc.element is Type.FLOAT32
    steps = 1
    for axis in body.axes[:4]:
        steps *= axis.extent
    chosen = tile(out.shape[1:4], steps, max(1, registers(cpu) - 4))
    s = Schedule.of(out, tiled=False).set_scope(acc, Scope.REGISTERS)
    n, o, y, x, lane = out.axes
    s, oo, oi = s.split(out, o, chosen.blocks, overlap=True)
    s, yo, yi = s.split(out, y, chosen.rows, overlap=not chosen.uneven)
    s, xo, xi = s.split(out, x, chosen.cols, overlap=True)
    s = s.reorder(out, n, oo, yo, xo, oi, yi, xi, lane).compute_at(acc, out, xo)
    s = s.parallel(out, n).parallel(out, oo)
    s = s.unroll(out, yo) if chosen.uneven else s.parallel(out, yo)
    s = s.unroll(out, oi).unroll(out, yi).unroll(out, xi).vectorize(out, lane)
    a_n, a_o, a_y, a_x, a_lane = acc.axes
    inner: Sequence[Axis] = [] if is_float else body.axes[4:]
    c, ky, kx, q = body.axes[:4]
    s = s.reorder(acc, a_n, c, ky, kx, q, a_y, a_x, a_o, a_lane, *inner)
    for axis in (a_y, a_x, a_o):
        s = s.unroll(acc, axis)
    products = chosen.blocks * chosen.rows * chosen.cols
    if products * q.extent <= MOST_UNROLLED:
        s = s.unroll(acc, q)
        if products * q.extent * kx.extent <= MOST_UNROLLED:
            s = s.unroll(acc, kx)
    return s.tensorize(acc, a_lane, fma(cpu) if is_float else dot(cpu))


def windows(out: Compute, acc: Compute, cpu: Cpu, *, taps: bool) -> Schedule:
    """Pooling and depthwise convolution: a row of pixels, each a vector of channels.

    With `taps`, several neighbours of a row at a time, which its last axis is over.
    """
    body = acc.body
    assert isinstance(body, Reduce)
    *first, ky, kx = body.axes[:-1] if taps else body.axes
    s = Schedule.of(out, tiled=False).set_scope(acc, Scope.REGISTERS)
    n, c, y, x, lane = out.axes
    cols = min(x.extent, 7 if registers(cpu) >= 32 else 2)
    s, xo, xi = s.split(out, x, cols, overlap=True)
    s = s.reorder(out, n, c, y, xo, xi, lane).compute_at(acc, out, xo)
    s = s.parallel(out, n).parallel(out, c).parallel(out, y)
    s = s.unroll(out, xi).vectorize(out, lane)
    a_n, a_c, a_y, a_x, a_lane = acc.axes
    inner = body.axes[-1:] if taps else ()
    s = s.reorder(acc, a_n, a_c, a_y, *first, ky, kx, a_x, a_lane, *inner)
    s = s.unroll(acc, a_x)
    if kx.extent * cols <= MOST_UNROLLED:
        s = s.unroll(acc, kx)
        if ky.extent * kx.extent * cols <= MOST_UNROLLED:
            s = s.unroll(acc, ky)
    return s.tensorize(acc, a_lane, neighbours()) if taps else s.vectorize(acc, a_lane)


def elements(out: Compute, *, across: bool) -> Schedule:
    """What is computed element by element on blocks (N, CB, H, W, block), or on tiles.

    With `across`, a vector holds neighbours of a row, as what is read lies row by row.
    """
    s = Schedule.of(out, tiled=False)
    n, c, y, x, *images, lane = out.axes
    s = s.parallel(out, n).parallel(out, c).parallel(out, y)
    if not across:
        return s.vectorize(out, lane)
    s, xo, xi = s.split(out, x, _width(x), overlap=True)
    s = s.reorder(out, n, c, y, xo, *images, lane, xi).vectorize(out, xi)
    return s.unroll(out, lane) if lane.extent < BLOCK else s


def rows(*outs: Compute) -> Schedule:
    """What lies row by row: threads share the first axis, the last one is vectors.

    Of several stages each is made whole before the next.
    """
    s = Schedule.of(*outs, tiled=False)
    for stage in s.stages:
        tensor = stage.tensor
        if not tensor.axes:
            continue
        *outer, last = tensor.axes
        s, inner = _vectors(s, tensor, last)
        if len(s.stages) == 1 and outer:
            s = s.parallel(tensor, outer[0])
        if isinstance(stage.body, Reduce):
            others = [axis for axis in s.axes(tensor) if axis is not inner]
            s = s.reorder(tensor, *others, inner)
        s = s.vectorize(tensor, inner)
    return s


def _vectors(s: Schedule, tensor: Compute, last: Axis) -> tuple[Schedule, Axis]:
    if last.extent == _width(last):
        return s, last
    s, _, inner = s.split(tensor, last, _width(last), overlap=True)
    return s, inner


def _width(axis: Axis) -> int:
    """Return how many elements along an axis are a vector: a power of two.

    Of others LLVM makes poor code, and of three int64 that become int8 none for AArch64: it ends
    the process (LLVM 22).
    """
    return min(VECTOR, 1 << (axis.extent.bit_length() - 1))
