"""Schedules of kernels on GPUs, over results (CB, P, block): blocks of channels and pixels."""

from math import prod

from ..expr import BYTES, Axis, Compute, Reduce, Tensor
from ..schedule import LoopKind, Schedule, Scope
from ..walk import reads
from .intrinsics import CHANNELS, PIXELS, dp4a, mma

WARPS = 4
"""Of a block that works with tensor cores."""
THREADS = 128
"""Of any other block."""
ENOUGH = 1024
"""Warps that keep a large GPU busy."""
SHARED_BYTES = 32 << 10
"""What a block's weights may take of the memory that its threads share."""
MOST_UNROLLED = 128
"""Instructions of one loop's body."""


def matrix(out: Compute, acc: Compute) -> Schedule:
    """A convolution on tensor cores: a warp has blocks of channels by rows of 8 pixels."""
    body = acc.body
    assert isinstance(body, Reduce)
    blocks, pixels, _ = out.shape
    wide, tall = _warp_tile(blocks, pixels)
    together = max(1, min(WARPS, pixels // (PIXELS * wide)))
    s = Schedule.of(out, tiled=False).set_scope(acc, Scope.FRAGMENT)
    o, p, lane = out.axes
    s, o, o_i = s.split(out, o, tall, overlap=True)
    s, p, p_i = s.split(out, p, together * wide * PIXELS, overlap=True)
    s, warp, p_i = s.split(out, p_i, wide * PIXELS)
    s, tile, p_i = s.split(out, p_i, PIXELS)
    s, x_t, x_r = s.split(out, p_i, 2)
    s, half, g = s.split(out, lane, CHANNELS // 2)
    s = s.reorder(out, o, p, warp, g, x_t, o_i, tile, half, x_r).compute_at(acc, out, warp)
    for axis, kind in ((o, LoopKind.GRID), (p, LoopKind.GRID), (warp, LoopKind.WARP),
                       (g, LoopKind.LANE), (x_t, LoopKind.LANE)):  # fmt: skip
        s = s.bind(out, axis, kind)
    for axis in (o_i, tile, half, x_r):
        s = s.unroll(out, axis)
    a_o, a_p, a_lane = acc.axes
    c, ky, kx, q, k = body.axes
    s, a_tile, a_p = s.split(acc, a_p, PIXELS)
    s = s.reorder(acc, c, ky, kx, q, a_o, a_tile, a_p, a_lane, k)
    s = s.unroll(acc, a_o).unroll(acc, a_tile)
    return _unrolled(s, acc, (kx, ky), wide * tall).tensorize(acc, a_p, mma())


def _warp_tile(blocks: int, pixels: int) -> tuple[int, int]:
    """Return rows of 8 pixels and blocks of channels of a warp: many, if there are enough warps."""
    for wide, tall in ((4, 4), (4, 2), (2, 2), (2, 1)):
        if blocks >= tall and pixels >= wide * PIXELS:
            warps = -(-blocks // tall) * -(-pixels // (wide * PIXELS))
            if warps >= ENOUGH:
                return wide, tall
    return 1, 1


def dots(out: Compute, acc: Compute) -> Schedule:
    """A convolution or dense layer thread by thread, each with one channel of a few blocks."""
    body = acc.body
    assert isinstance(body, Reduce)
    blocks, pixels, lanes = out.shape
    threads = max(1, THREADS // lanes)
    p_t = min(threads, pixels)
    o_t = min(threads // p_t, blocks)
    wide, tall = _thread_tile(blocks, pixels, o_t, p_t)
    s = Schedule.of(out, tiled=False).set_scope(acc, Scope.REGISTERS)
    o, p, lane = out.axes
    s, o, o_i = s.split(out, o, o_t * tall, overlap=True)
    s, o_t_axis, o_i = s.split(out, o_i, tall)
    s, p, p_i = s.split(out, p, p_t * wide, overlap=True)
    s, p_t_axis, p_i = s.split(out, p_i, wide)
    s = s.reorder(out, o, p, o_t_axis, p_t_axis, lane, o_i, p_i).compute_at(acc, out, lane)
    s = s.bind(out, o, LoopKind.GRID).bind(out, p, LoopKind.GRID)
    for axis in (o_t_axis, p_t_axis, lane):
        s = s.bind(out, axis, LoopKind.THREAD)
    s = s.unroll(out, o_i).unroll(out, p_i)
    a_o, a_p, a_lane = acc.axes
    c, ky, kx, q, *k = body.axes
    s = s.reorder(acc, c, ky, kx, q, a_o, a_p, a_lane, *k)
    s = s.unroll(acc, a_o).unroll(acc, a_p)
    s = _unrolled(s, acc, (q, kx), wide * tall)
    weights = next(r.tensor for r in reads(body) if len(r.tensor.shape) >= 6 + len(k))
    scope = Scope.DRAM
    whole = o_t * tall * prod(weights.shape[2:]) * BYTES[weights.element]
    if p_t > 1 and whole <= SHARED_BYTES and o_t * tall <= blocks:
        s = _shared(s, acc, c, weights)
        scope = Scope.SHARED
    return s.tensorize(acc, k[0], dp4a(scope)) if k else s


def _thread_tile(blocks: int, pixels: int, o_t: int, p_t: int) -> tuple[int, int]:
    """Return the pixels and blocks of channels of a thread."""
    for wide, tall in ((4, 4), (4, 2), (4, 1), (2, 1)):
        if blocks >= tall * o_t and pixels >= wide * p_t:
            count = -(-blocks // (tall * o_t)) * -(-pixels // (wide * p_t))
            if count * WARPS >= ENOUGH:
                return wide, tall
    return 1, 1


def _shared(s: Schedule, acc: Compute, at: Axis, weights: Tensor) -> Schedule:
    """Let the threads of a block load its weights together, for each block of channels read."""
    s, copy = s.cache_read(weights, Scope.SHARED, [acc])
    s = s.compute_at(copy, acc, at)
    flat, *rest = copy.axes
    for axis in rest:
        s, flat = s.fuse(copy, flat, axis)
    return s.bind(copy, flat, LoopKind.THREAD)


def windows(out: Compute, acc: Compute) -> Schedule:
    """Pooling and depthwise convolution: a thread for each element."""
    body = acc.body
    assert isinstance(body, Reduce)
    s, lane = _spread(Schedule.of(out, tiled=False).set_scope(acc, Scope.REGISTERS), out)
    s = s.compute_at(acc, out, lane).reorder(acc, *acc.axes, *body.axes)
    return _unrolled(s, acc, tuple(reversed(body.axes)), 1)


def elements(out: Compute) -> Schedule:
    """What is computed element by element: a thread for each."""
    return _spread(Schedule.of(out, tiled=False), out)[0]


def _spread(s: Schedule, out: Compute) -> tuple[Schedule, Axis]:
    o, p, lane = out.axes
    s, p, p_i = s.split(out, p, max(1, THREADS // lane.extent))
    s = s.bind(out, o, LoopKind.GRID).bind(out, p, LoopKind.GRID)
    return s.bind(out, p_i, LoopKind.THREAD).bind(out, lane, LoopKind.THREAD), lane


def rows(*outs: Compute) -> Schedule:
    """What lies row by row: a thread for each element of every stage, which is a kernel each."""
    s = Schedule.of(*outs, tiled=False)
    for stage in s.stages:
        tensor = stage.tensor
        if not tensor.axes:
            continue
        acc = None
        if isinstance(stage.body, Reduce):
            s, acc = s.cache_write(tensor, Scope.REGISTERS)
        flat, *rest = tensor.axes
        for axis in rest:
            s, flat = s.fuse(tensor, flat, axis)
        s, outer, inner = s.split(tensor, flat, THREADS, overlap=True)
        s = s.bind(tensor, outer, LoopKind.GRID).bind(tensor, inner, LoopKind.THREAD)
        if acc is not None:
            s = s.compute_at(acc, tensor, inner)
    return s


def _unrolled(s: Schedule, acc: Compute, axes: tuple[Axis, ...], count: int) -> Schedule:
    """Unroll loops, the first one innermost, while their bodies stay small enough."""
    for axis in axes:
        count *= axis.extent
        if count > MOST_UNROLLED:
            break
        s = s.unroll(acc, axis)
    return s
