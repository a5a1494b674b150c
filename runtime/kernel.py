"""The micro-op JIT: a loop nest over tiles becomes micro-ops under the two hardware loops."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.fields import Format, slots
from ..isa.instructions import Gemm, Load
from ..isa.stream import encode_uops


class KernelError(ValueError):
    """A loop nest that no micro-ops can express: an index outside its buffer, mostly."""


class Axis(NamedTuple):
    """One loop: `extent` iterations, and how many tiles each index moves in one of them."""

    extent: int
    dst: int = 0
    src: int = 0
    wgt: int = 0


class Nest(NamedTuple):
    """Loops over tiles, and the indices at which they start.

        for i in axes[0]: for j in axes[1]: ...
            op(dst + i*axes[0].dst + j*axes[1].dst + ..., src + ..., wgt + ...)

    GEMM takes dst from acc, src from inp and wgt from wgt; ALU takes dst and src from acc.
    Iterations run in any order: they have to be independent of each other, or reductions into dst
    of which the order does not matter (sums that wrap, maxima, minima). Strides may be negative
    or zero. The order of the axes says nothing.
    """

    axes: tuple[Axis, ...]
    dst: int = 0
    src: int = 0
    wgt: int = 0


class Operands(enum.Enum):
    """Which indices an instruction uses, and how."""

    GEMM = "acc[dst] += inp[src] * wgt[wgt]"
    RESET = "acc[dst] = 0"
    ALU = "acc[dst] = acc[dst] op acc[src]"
    IMMEDIATE = "acc[dst] = acc[dst] op imm"


@dataclass(frozen=True, eq=False)
class Kernel:
    """What one GEMM or ALU instruction needs besides the place of its micro-ops.

    Attributes
    ----------
    uops : uint32 (n)
        Micro-ops, one for each iteration of the loops that the hardware does not run.
    iter_out, iter_in : int
        Iterations of the hardware loops.
    dst_factors, src_factors, wgt_factors : (int, int)
        What an iteration of the outer and of the inner loop adds to each index.
    dst, src, wgt : slice
        The tiles touched lie in there; empty where the operand is not used.
    """

    uops: npt.NDArray[np.uint32]
    iter_out: int
    iter_in: int
    dst_factors: tuple[int, int]
    src_factors: tuple[int, int]
    wgt_factors: tuple[int, int]
    dst: slice
    src: slice
    wgt: slice

    @property
    def steps(self) -> int:
        """Micro-ops executed: those of the list times the iterations of both loops."""
        return len(self.uops) * self.iter_out * self.iter_in


NO_TILES = slice(0, 0)


def compile_nest(nest: Nest, operands: Operands, config: Config) -> tuple[Kernel, ...]:
    """Return the kernels that together run every iteration of the nest once; () when it has none.

    Axes that follow each other without a gap become one; the two hardware loops take the axes that
    leave the fewest micro-ops (for tensor operands of ALU, the fewest changes of the source tile
    count as well: the machine keeps the last one in a register); the rest is written out as
    micro-ops. There is more than one kernel when the micro-ops would not fit their buffer.

    Raises
    ------
    KernelError
        When an index leaves its buffer, naming the operand, the range and the depth.
    """
    if any(axis.extent < 0 for axis in nest.axes):
        raise KernelError(f"an axis of {nest} has a negative extent")
    if any(axis.extent == 0 for axis in nest.axes):
        return ()
    nest = _without_unused(nest, operands)
    _check(nest, operands, config)
    most = greatest(Gemm, "iter_out", config)
    return tuple(
        _build(piece, operands, config)
        for part in _bounded(nest, most)
        for piece in _fitting(_merged(part, most), operands, config)
    )


def greatest(cls: type[Format], field: str, config: Config) -> int:
    """Return the greatest value that a field of an instruction holds."""
    return next(slot.high for slot in slots(cls, config) if slot.name == field)


def _without_unused(nest: Nest, operands: Operands) -> Nest:
    """Clear the indices that are not used; drop axes that would write the same zeros again."""
    src = operands in (Operands.GEMM, Operands.ALU)
    wgt = operands is Operands.GEMM
    axes = [
        Axis(axis.extent, axis.dst, axis.src if src else 0, axis.wgt if wgt else 0)
        for axis in nest.axes
        if axis.extent > 1 and (axis.dst or operands is not Operands.RESET)
    ]
    return Nest(tuple(axes), nest.dst, nest.src if src else 0, nest.wgt if wgt else 0)


def _span(base: int, extents: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    reach = [(extent - 1) * stride for extent, stride in zip(extents, strides, strict=True)]
    return base + sum(min(r, 0) for r in reach), base + sum(max(r, 0) for r in reach)


def _spans(nest: Nest) -> dict[str, tuple[int, int]]:
    """Return the first and the last tile of each operand."""
    extents = [axis.extent for axis in nest.axes]
    return {
        "dst": _span(nest.dst, extents, [axis.dst for axis in nest.axes]),
        "src": _span(nest.src, extents, [axis.src for axis in nest.axes]),
        "wgt": _span(nest.wgt, extents, [axis.wgt for axis in nest.axes]),
    }


def _check(nest: Nest, operands: Operands, config: Config) -> None:
    source = "inp" if operands is Operands.GEMM else "acc"
    for (name, (low, high)), buffer in zip(
        _spans(nest).items(), ("acc", source, "wgt"), strict=True
    ):
        depth: int = getattr(config, f"{buffer}_depth")
        if low < 0 or high >= depth:
            raise KernelError(
                f"{name} of {operands.name} reaches from tile {low} to {high}; "
                f"the {buffer} buffer holds tiles 0 to {depth - 1}"
            )


def _bounded(nest: Nest, most: int) -> Iterator[Nest]:
    """Cut axes longer than a hardware loop: into a product, and a piece for what it leaves.

    for i in 20000  →  for i_o in 2: for i_i in 8192   and   for i in 3616
    """
    for position, axis in enumerate(nest.axes):
        if axis.extent > most:
            inner = (most + 1) // 2
            outer, rest = divmod(axis.extent, inner)
            others = nest.axes[:position] + nest.axes[position + 1 :]
            pair = (_scaled(axis, inner, outer), axis._replace(extent=inner))
            yield from _bounded(nest._replace(axes=others + pair), most)
            if rest:
                tail = _moved(nest, axis, outer * inner)
                yield from _bounded(tail._replace(axes=(*others, axis._replace(extent=rest))), most)
            return
    yield nest


def _scaled(axis: Axis, factor: int, extent: int) -> Axis:
    return Axis(extent, axis.dst * factor, axis.src * factor, axis.wgt * factor)


def _moved(nest: Nest, axis: Axis, iterations: int) -> Nest:
    return Nest(
        nest.axes,
        nest.dst + iterations * axis.dst,
        nest.src + iterations * axis.src,
        nest.wgt + iterations * axis.wgt,
    )


def _merged(nest: Nest, most: int) -> Nest:
    """Turn axes that only run backwards around, and join axes that continue each other.

    for i in 4: for j in 8: op(8*i + j)  →  for ij in 32: op(ij)
    """
    axes: list[Axis] = []
    for axis in nest.axes:
        if max(axis[1:]) <= 0 and min(axis[1:]) < 0:
            nest = _moved(nest, axis, axis.extent - 1)
            axis = Axis(axis.extent, -axis.dst, -axis.src, -axis.wgt)
        axes.append(axis)
    joined = True
    while joined:
        joined = False
        for outer, inner in permutations(axes, 2):
            extent = outer.extent * inner.extent
            if extent <= most and outer == _scaled(inner, inner.extent, outer.extent):
                axes.remove(outer)
                axes[axes.index(inner)] = inner._replace(extent=extent)
                joined = True
                break
    return nest._replace(axes=tuple(axes))


class _Order(NamedTuple):
    """Loops from the outside in: the two of the hardware (None: one iteration), the micro-ops."""

    outer: Axis | None
    inner: Axis | None
    listed: tuple[Axis, ...]

    @property
    def uop_count(self) -> int:
        return prod(axis.extent for axis in self.listed)

    def cost(self, operands: Operands, config: Config) -> tuple[int, int]:
        """Return micro-ops, plus the times that ALU must fetch another source tile; loops used."""
        loops = [axis for axis in (self.outer, self.inner) if axis is not None]
        changes = 0
        if operands is Operands.ALU and config.acc_read_ports == 1:
            loops_in = [*loops, *self.listed]
            last = max((i for i, axis in enumerate(loops_in) if axis.src), default=-1)
            changes = prod(axis.extent for axis in loops_in[: last + 1])
        return self.uop_count + changes, len(loops)


def _best_order(nest: Nest, operands: Operands, config: Config) -> _Order:
    # The hardware adds its factors, so it only counts upwards. A factor always fits its field:
    # two iterations that stay in a buffer are less than its depth apart.
    rising = [axis for axis in nest.axes if min(axis[1:]) >= 0]
    pairs: list[tuple[Axis | None, Axis | None]] = [(None, None)]
    pairs += [(None, axis) for axis in rising]
    positions = range(len(rising))
    chosen = [(rising[o], rising[i]) for o, i in permutations(positions, 2)]
    return min(
        (_order(nest, pair) for pair in [*pairs, *chosen]),
        key=lambda order: order.cost(operands, config),
    )


def _order(nest: Nest, pair: tuple[Axis | None, Axis | None]) -> _Order:
    listed = list(nest.axes)
    for axis in pair:
        if axis is not None:
            listed.remove(axis)
    # Axes that keep the source go last, so that neighbours in the list share it.
    listed.sort(key=lambda axis: (axis.src == 0, -abs(axis.src), -abs(axis.dst)))
    return _Order(*pair, tuple(listed))


def _fitting(nest: Nest, operands: Operands, config: Config) -> Iterator[Nest]:
    """Cut the nest until the micro-ops of each piece fit their buffer."""
    limit = min(config.uop_depth, greatest(Load, "x_size", config))  # what one LOAD fetches
    order = _best_order(nest, operands, config)
    if order.uop_count <= limit:
        yield nest
        return
    axis = max(order.listed, key=lambda axis: axis.extent)
    at_most = max(1, limit * axis.extent // order.uop_count)
    pieces = -(-axis.extent // at_most)
    size = -(-axis.extent // pieces)
    position = nest.axes.index(axis)
    others = nest.axes[:position] + nest.axes[position + 1 :]
    for begin in range(0, axis.extent, size):
        extent = min(size, axis.extent - begin)
        own = (axis._replace(extent=extent),) if extent > 1 else ()
        piece = _moved(nest, axis, begin)._replace(axes=others + own)
        yield from _fitting(piece, operands, config)


def _build(nest: Nest, operands: Operands, config: Config) -> Kernel:
    order = _best_order(nest, operands, config)
    outer = order.outer or Axis(1)
    inner = order.inner or Axis(1)
    uops = encode_uops(
        _indices(nest.dst, [(axis.extent, axis.dst) for axis in order.listed]),
        _indices(nest.src, [(axis.extent, axis.src) for axis in order.listed]),
        _indices(nest.wgt, [(axis.extent, axis.wgt) for axis in order.listed]),
        config,
    )
    spans = {name: slice(low, high + 1) for name, (low, high) in _spans(nest).items()}
    used_src = operands in (Operands.GEMM, Operands.ALU)
    return Kernel(
        uops=uops,
        iter_out=outer.extent,
        iter_in=inner.extent,
        dst_factors=(outer.dst, inner.dst),
        src_factors=(outer.src, inner.src),
        wgt_factors=(outer.wgt, inner.wgt),
        dst=spans["dst"],
        src=spans["src"] if used_src else NO_TILES,
        wgt=spans["wgt"] if operands is Operands.GEMM else NO_TILES,
    )


def _indices(base: int, loops: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    index = np.array([base], np.int64)
    for extent, stride in loops:
        index = (index[:, None] + np.arange(extent) * stride).ravel()
    return index
